//! One boot of one kernel under QEMU, and what its first process said (`tests/src/bin/vm-init.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::kernels::Kernel;
use crate::libtest::Tally;
use crate::run;

/// What the first process is told, as `/hoop-vm.json`.
#[derive(Serialize)]
pub(crate) struct Job {
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) agent: PathBuf,
    pub(crate) steps: Vec<Step>,
    pub(crate) deadline_s: u64,
}

/// One program to run in the guest.
#[derive(Clone, Serialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) directory: PathBuf,
    /// Whether it has a meaning only where Hoop works.
    pub(crate) needs_daemon: bool,
}

/// How a guest went.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// By name of the step.
    pub(crate) steps: BTreeMap<String, Ended>,
    /// Steps that have no meaning on this kernel, for what it lacks.
    pub(crate) skipped: BTreeSet<String>,
    /// What Hoop needs and this kernel does not have, as `doctor` says it.
    pub(crate) lacks: Vec<String>,
    /// What the first process said besides: what did not work, and which LSMs there are.
    pub(crate) remarks: Vec<String>,
    /// Why the guest did not come to its end.
    pub(crate) cut_off: Option<String>,
}

/// How a step went.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// `ok`, or what went wrong; `None` if the guest ended before it.
    pub(crate) status: Option<String>,
    pub(crate) output: String,
}

impl Ended {
    /// What its tests gave. A step that ended badly without a failed test to show for it is itself
    /// a failure.
    pub(crate) fn tally(&self, name: &str) -> Tally {
        let mut tally = Tally::read(&self.output);
        if self.status.as_deref() != Some("ok") && tally.failed == 0 {
            let why = self.status.as_deref().unwrap_or("cut off");
            tally.add(Tally::failure(format!("{name} ({why})")));
        }
        tally
    }

    /// Every program that a kernel refused to this step, with what the verifier said last.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let mut refusals: Vec<String> = Vec::new();
        let mut lines = self.output.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(at) = line.find("the kernel refused the program ") else {
                continue;
            };
            let mut refusal = line[at..].to_owned();
            while let Some(more) = lines.next_if(|it| it.starts_with("  ")) {
                refusal.push('\n');
                refusal.push_str(more);
            }
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        }
        refusals
    }
}

/// Boots `kernel` on `initramfs`, passes on what tests print, and says how it went. A guest that
/// says nothing for `silence`, or runs for `deadline`, is ended.
///
/// # Errors
///
/// QEMU cannot be started or waited for.
pub(crate) fn boot(
    qemu: &Path,
    kernel: &Kernel,
    initramfs: &Path,
    console: &Path,
    silence: Duration,
    deadline: Duration,
) -> Result<Outcome> {
    let mut command = Command::new("setpriv");
    command
        // A guest does not outlive this process.
        .args(["--pdeathsig", "KILL"])
        .arg(qemu)
        // KVM may be there and hang.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", "2", "-m", "2048"])
        .args(["-nodefaults", "-no-reboot", "-display", "none"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        // A panic ends the guest at once. Mitigations cost much under emulation, and guard nothing.
        .args([
            "-append",
            "console=ttyS0 panic=-1 loglevel=5 mitigations=off lsm=lockdown,yama,bpf",
        ])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = Ending(
        command
            .spawn()
            .with_context(|| format!("cannot start {}", run::show(&command)))?,
    );
    let (said, lines) = mpsc::sync_channel(1024);
    if let Some(stdout) = child.0.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout)
                .split(b'\n')
                .map_while(io::Result::ok)
            {
                let line = String::from_utf8_lossy(&line).replace('\r', "");
                if said.send(line).is_err() {
                    return;
                }
            }
        });
    }
    let mut transcript = Transcript::default();
    let end = Instant::now() + deadline;
    let cut_off = loop {
        let left = end.saturating_duration_since(Instant::now());
        match lines.recv_timeout(silence.min(left)) {
            Ok(line) => transcript.read(&line),
            Err(RecvTimeoutError::Disconnected) if transcript.done => break None,
            Err(RecvTimeoutError::Disconnected) => break Some("the guest stopped".to_owned()),
            Err(RecvTimeoutError::Timeout) if left <= silence => {
                break Some(format!("ended after {} s", deadline.as_secs()));
            }
            Err(RecvTimeoutError::Timeout) => {
                break Some(format!("ended after {} s of silence", silence.as_secs()));
            }
        }
    };
    drop(child);
    let cut_off = cut_off.map(|why| format!("{why}; its kernel's last words:\n{}", tail(console)));
    Ok(Outcome {
        cut_off,
        ..transcript.outcome
    })
}

/// A process that is killed when it is dropped.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[derive(Default)]
struct Transcript {
    outcome: Outcome,
    running: Option<String>,
    done: bool,
}

impl Transcript {
    fn read(&mut self, line: &str) {
        let Some(word) = line.strip_prefix("hoop-vm: ") else {
            println!("{line}");
            if let Some(step) = self.current() {
                step.output.push_str(line);
                step.output.push('\n');
            }
            return;
        };
        if let Some(name) = word.strip_prefix("start ") {
            self.running = Some(name.to_owned());
            self.outcome.steps.entry(name.to_owned()).or_default();
        } else if let Some(end) = word.strip_prefix("end ") {
            let status = end.split_once(' ').map_or("", |(_, status)| status);
            if let Some(step) = self.current() {
                step.status = Some(status.to_owned());
            }
            self.running = None;
        } else if let Some(what) = word.strip_prefix("lacks ") {
            self.outcome.lacks.push(what.to_owned());
        } else if let Some(name) = word.strip_prefix("skip ") {
            self.outcome.skipped.insert(name.to_owned());
        } else if word == "done" {
            self.done = true;
        } else {
            self.outcome.remarks.push(word.to_owned());
        }
    }

    fn current(&mut self) -> Option<&mut Ended> {
        self.outcome.steps.get_mut(self.running.as_deref()?)
    }
}

fn tail(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_split_by_step() {
        let mut transcript = Transcript::default();
        for line in [
            "hoop-vm: lsm lockdown,bpf",
            "hoop-vm: lacks loops: the kernel refuses it",
            "hoop-vm: skip flood",
            "hoop-vm: start egress",
            "test a ... ok",
            "test result: ok. 1 passed; 0 failed",
            "hoop-vm: end egress ok",
            "hoop-vm: start nested",
            "Error: the kernel refused the program hoop_exec: Invalid argument",
            "  12: (db) r0 = atomic64_fetch_add",
            "  BPF_ATOMIC uses reserved fields",
            "more",
            "hoop-vm: end nested failed: exit code 101",
            "hoop-vm: start shadow",
            "hoop-vm: done",
        ] {
            transcript.read(line);
        }
        assert!(transcript.done);
        let Outcome {
            steps,
            skipped,
            lacks,
            remarks,
            ..
        } = transcript.outcome;
        assert_eq!(remarks, ["lsm lockdown,bpf"]);
        assert_eq!(lacks, ["loops: the kernel refuses it"]);
        assert!(skipped.contains("flood"));
        assert_eq!(steps["egress"].tally("egress").passed, 1);
        let nested = steps["nested"].tally("nested");
        assert_eq!(nested.failures, ["nested (failed: exit code 101)"]);
        let refusals = steps["nested"].refusals();
        assert_eq!(refusals.len(), 1);
        assert!(refusals[0].starts_with("the kernel refused the program hoop_exec"));
        assert!(refusals[0].ends_with("reserved fields"));
        assert_eq!(
            steps["shadow"].tally("shadow").failures,
            ["shadow (cut off)"]
        );
    }
}
