//! The daemon and its command line, as a test sees them: from outside.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hoop_agent::audit::read;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::{Lab, Workload};
use crate::{prober, wait};

/// A running daemon. Dropping it ends it; what it enforces stands until the lab is dropped.
#[derive(Debug)]
pub struct Daemon<'lab> {
    lab: &'lab Lab,
    child: Option<Child>,
    /// Which start of a daemon in this lab this is: every start has its own output.
    start: usize,
}

/// A record, as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(pub Value);

impl<'lab> Daemon<'lab> {
    /// Starts the daemon on a policy text, and waits until it enforces.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start(lab: &'lab Lab, policy: &str) -> Self {
        write_policy(lab, policy);
        Self::start_again(lab)
    }

    /// Starts the daemon on the policy that the lab already holds.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_again(lab: &'lab Lab) -> Self {
        Self::start_with(lab, "info")
    }

    /// Like [`Daemon::start_again`], with diagnostics of this level.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_with(lab: &'lab Lab, log_level: &str) -> Self {
        Self::launch(lab, &program(), log_level, &[])
    }

    /// Like [`Daemon::start`], with a configuration file, and nothing on standard output.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_configured(lab: &'lab Lab, policy: &str, config: &str) -> Self {
        write_policy(lab, policy);
        write_config(lab, config);
        Self::launch(lab, &program(), "info", &["--quiet"])
    }

    /// Like [`Daemon::start_again`], with another build of the daemon.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_build(lab: &'lab Lab, program: &Path) -> Self {
        Self::launch(lab, program, "info", &[])
    }

    fn launch(lab: &'lab Lab, program: &Path, log_level: &str, more: &[&str]) -> Self {
        let start = (0..)
            .find(|&start| !output(lab, start).0.exists())
            .expect("a free name");
        let notify = lab.directory().join(format!("notify.{start}"));
        let ready = UnixDatagram::bind(&notify).expect("bind a notify socket");
        // Short, so that the death of the daemon is noticed soon.
        ready
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a time limit");

        let (stdout, stderr) = output(lab, start);
        let child = run_command_of(lab, program)
            .env("NOTIFY_SOCKET", &notify)
            .args(["--log-level", log_level])
            .args(more)
            .stdin(Stdio::null())
            .stdout(File::create(stdout).expect("a file for records"))
            .stderr(File::create(stderr).expect("a file for diagnostics"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut daemon = Self {
            lab,
            child: Some(child),
            start,
        };
        wait::until("the daemon to be ready", || {
            let mut message = [0; 256];
            if let Ok(size) = ready.recv(&mut message) {
                return String::from_utf8_lossy(&message[..size])
                    .contains("READY=1")
                    .then_some(());
            }
            let child = daemon.child.as_mut().expect("it was just started");
            let ended = child.try_wait().expect("wait for the daemon");
            assert!(
                ended.is_none(),
                "the daemon did not come up: {}",
                ended.expect("just seen")
            );
            None
        });
        daemon
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// When it was stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// Asks the daemon to stop, and waits until it has.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn stop(&mut self) -> ExitStatus {
        self.end(Signal::SIGTERM)
    }

    /// Kills the daemon: no last word.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> ExitStatus {
        self.end(Signal::SIGKILL)
    }

    /// Stops the daemon with SIGSTOP: it lives, and does nothing.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn pause(&self) {
        signal(self.pid(), Signal::SIGSTOP);
    }

    /// Lets a paused daemon go on.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn resume(&self) {
        signal(self.pid(), Signal::SIGCONT);
    }

    /// The most memory that it has had resident, in KiB.
    ///
    /// # Panics
    ///
    /// When it does not run.
    #[must_use]
    pub fn peak_resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the daemon runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        number
            .expect("VmHWM in kB")
            .trim()
            .parse()
            .expect("a number")
    }

    /// Crashes the daemon, as a bug of its own would: SIGABRT.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn crash(&mut self) -> ExitStatus {
        self.end(Signal::SIGABRT)
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        state(self.lab)
    }

    /// Sends SIGHUP: read the policy again.
    ///
    /// # Panics
    ///
    /// When the daemon does not run.
    pub fn hang_up(&self) {
        signal(self.pid(), Signal::SIGHUP);
    }

    /// Replaces the policy, and waits until the daemon says that the new one is in force.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn change_policy(&self, policy: &str) {
        self.rewrite_policy(policy, "loaded");
    }

    /// Replaces the policy by one that the daemon must refuse, and waits until it has. Answers with
    /// the record.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn change_policy_in_vain(&self, policy: &str) -> Record {
        self.rewrite_policy(policy, "refused")
    }

    /// Every record so far, in order.
    ///
    /// # Panics
    ///
    /// When a line is no JSON.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        read_records(&output(self.lab, self.start).0)
    }

    /// What it said on standard error so far.
    ///
    /// # Panics
    ///
    /// When that cannot be read.
    #[must_use]
    pub fn diagnostics(&self) -> String {
        let text = fs::read(output(self.lab, self.start).1).expect("diagnostics");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Every record on disk, in order. Standard output may leave lines out under a flood, and says
    /// so; the log does not.
    ///
    /// # Panics
    ///
    /// When the log cannot be read, or a line is no JSON.
    #[must_use]
    pub fn kept(&self) -> Vec<Record> {
        kept(&state(self.lab))
    }

    /// Waits for a record.
    ///
    /// # Panics
    ///
    /// When none comes.
    #[track_caller]
    pub fn wait_for(&self, what: &str, like: impl Fn(&Record) -> bool) -> Record {
        wait::until(&format!("a record of {what}"), || {
            self.records().into_iter().find(&like)
        })
    }

    /// Everything that happened before this call and was recorded.
    ///
    /// The daemon reads what the kernel wrote in order, CPU by CPU; a command that it answers after
    /// it has caught up is the fence.
    ///
    /// # Panics
    ///
    /// When the daemon does not catch up.
    #[track_caller]
    #[must_use]
    pub fn settled(&self) -> Vec<Record> {
        wait::until("the records to catch up", || {
            let status = self.status();
            let count = |name: &str| status["events"][name].as_u64();
            let accounted = count("recorded")? + count("lost")?;
            if accounted < count("numbered")? {
                return None;
            }
            // Standard output is written by a thread of its own.
            let last = status["records"]["last"].as_u64()?;
            let records = self.records();
            let shown = records.last().map(|record| record.number("number"));
            (shown >= Some(last)).then_some(records)
        })
    }

    /// What `status` says.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// The state of a hook: `attached`, `observe-only`, `spare` or `refused`.
    ///
    /// # Panics
    ///
    /// When there is no such hook.
    #[track_caller]
    #[must_use]
    pub fn hook(&self, name: &str) -> String {
        let status = self.status();
        let mut hooks = status["hooks"].as_array().into_iter().flatten();
        let hook = hooks.find(|hook| hook["name"] == name);
        let state = hook.and_then(|hook| hook["state"].as_str());
        state
            .unwrap_or_else(|| panic!("no hook {name} in {status}"))
            .to_owned()
    }

    /// What a command answers in JSON.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut command = self.cli();
        let output = run(command.args(arguments).args(["--output", "json"]));
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", text(&output)))
    }

    /// What the policy says about a destination such as `tcp/192.0.2.1:443`.
    #[track_caller]
    #[must_use]
    pub fn explain(&self, policy: &str, destination: &str) -> Value {
        self.json(&["policy", "explain", policy, destination])
    }

    /// Tags a workload by hand.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    #[track_caller]
    pub fn tag(&self, workload: &Workload<'_>, policy: &str) {
        self.succeed(&[
            "workload",
            "tag",
            "--policy",
            policy,
            workload.cgroup.path(),
        ]);
    }

    /// Waits until the daemon has tagged a workload that one of its patterns matches.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn wait_for_tag(&self, workload: &Workload<'_>) {
        wait::until("the tag", || {
            let listed = self.json(&["workload", "list"]).to_string();
            listed.contains(workload.cgroup.path()).then_some(())
        });
    }

    /// Takes a workload's tag away.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    #[track_caller]
    pub fn untag(&self, workload: &Workload<'_>) {
        self.succeed(&["workload", "untag", workload.cgroup.path()]);
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn succeed(&self, arguments: &[&str]) -> Output {
        let output = run(self.cli().args(arguments));
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        output
    }

    /// The command line, pointed at this daemon.
    #[must_use]
    pub fn cli(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--socket").arg(socket(self.lab));
        command
    }

    fn rewrite_policy(&self, policy: &str, activity: &str) -> Record {
        let before = self.records().len();
        write_policy(self.lab, policy);
        wait::until(&format!("the policy to be {activity}"), || {
            let records = self.records().into_iter().skip(before);
            records
                .into_iter()
                .find(|record| record.is("policy") && record.activity() == activity)
        })
    }

    fn end(&mut self, by: Signal) -> ExitStatus {
        signal(self.pid(), by);
        let child = self.child.as_mut().expect("the daemon runs");
        let ended = wait::within(wait::patience(), || {
            child.try_wait().expect("wait for the daemon")
        });
        let status = ended.unwrap_or_else(|| {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the daemon does not end by {by}");
        });
        self.child = None;
        status
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (stdout, stderr) = output(self.lab, self.start);
            eprintln!("--- last records ---\n{}", tail(&stdout, 20));
            eprintln!("--- the daemon's diagnostics ---\n{}", tail(&stderr, 40));
            if let Some(mut child) = self.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        } else if self.child.is_some() {
            let status = self.stop();
            assert!(status.success(), "the daemon ended with {status}");
        }
    }
}

impl Record {
    /// Whether the record is of this kind.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.0["kind"] == kind
    }

    /// The value at a path such as `actor.process.pid`; null where there is none.
    #[must_use]
    pub fn at(&self, path: &str) -> &Value {
        path.split('.').fold(&self.0, |value, name| &value[name])
    }

    /// The text at a path; empty where there is none.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    /// The number at a path, which 64-bit JSON may quote; 0 where there is none.
    #[must_use]
    pub fn number(&self, path: &str) -> u64 {
        let value = self.at(path);
        let quoted = || value.as_str().and_then(|text| text.parse().ok());
        value.as_u64().or_else(quoted).unwrap_or(0)
    }

    /// The process that did it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        u32::try_from(self.number("actor.process.pid")).unwrap_or(0)
    }

    /// `allow`, `deny`, `shadow`, or empty.
    #[must_use]
    pub fn verdict(&self) -> &str {
        self.text("verdict.result")
    }

    /// What happened to Hoop itself: `loaded`, `tagged` and so on.
    #[must_use]
    pub fn activity(&self) -> &str {
        self.text("lifecycle.activity")
    }

    /// Whether it is about this destination address.
    #[must_use]
    pub fn is_about(&self, address: std::net::IpAddr) -> bool {
        self.text("network.dst_endpoint.ip") == address.to_string()
    }
}

/// The daemon's program: `$HOOP_AGENT_BIN`, or the newest that the workspace has built.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("HOOP_AGENT_BIN") {
        return program.into();
    }
    let prober = prober::program();
    let target = prober.ancestors().nth(2).expect("target/PROFILE/prober");
    ["release", "debug"]
        .map(|profile| target.join(profile).join("hoop-agent"))
        .into_iter()
        .find(|program| program.is_file())
        .expect("build hoop-agent first, or set HOOP_AGENT_BIN: cargo xtask test does")
}

/// Every record in the log of a state directory, in order, whether a daemon runs or not.
///
/// # Panics
///
/// When the log cannot be read.
#[must_use]
pub fn kept(state: &Path) -> Vec<Record> {
    let mut reader = read::open(state, None).expect("a log");
    let mut text = Vec::new();
    while let Some(entry) = reader.read().expect("the log can be read") {
        read::line(entry.bytes, &mut text);
    }
    parse_records(str::from_utf8(&text).expect("JSON is UTF-8"))
}

/// Reads a file of records, leaving out a last line that is still being written.
///
/// # Panics
///
/// When a line is no JSON.
#[must_use]
pub fn read_records(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).expect("records are UTF-8");
    parse_records(text.rfind('\n').map_or("", |end| &text[..end]))
}

fn parse_records(lines: &str) -> Vec<Record> {
    lines
        .lines()
        .map(|line| match serde_json::from_str(line) {
            Ok(record) => Record(record),
            Err(error) => panic!("{error} in record {line}"),
        })
        .collect()
}

/// A build of the daemon whose layout of maps and events has another name than that of
/// [`program`]: neither adopts the pins of the other.
///
/// # Panics
///
/// When the program does not hold its layout's name in one place.
#[must_use]
pub fn other_layout(lab: &Lab) -> PathBuf {
    let mut bytes = fs::read(program()).expect("the daemon's program");
    let layout = hoop_agent::kernel::pins::LAYOUT.as_bytes();
    let mut found = 0;
    let mut at = 0;
    while let Some(offset) = bytes[at..]
        .windows(layout.len())
        .position(|window| window == layout)
    {
        bytes[at + offset..][..layout.len()].reverse();
        at += offset + layout.len();
        found += 1;
    }
    assert!(found > 0, "the program and the tests are of one source");
    let other = lab.directory().join("hoop-agent-of-another-layout");
    fs::write(&other, bytes).expect("write a program");
    let permissions = fs::metadata(program()).expect("the program").permissions();
    fs::set_permissions(&other, permissions).expect("let it be run");
    other
}

/// Starts a build of the daemon, and kills it so long afterwards.
///
/// # Panics
///
/// When it does not start, or has ended before.
pub fn start_and_kill(lab: &Lab, program: &Path, after: Duration) {
    let mut child = run_command_of(lab, program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    // The moment is what the test is about.
    std::thread::sleep(after);
    let ended = child.try_wait();
    child.kill().expect("kill the daemon");
    child.wait().expect("wait for the daemon");
    assert_eq!(ended.expect("wait for the daemon"), None, "it ended itself");
}

/// `hoop-agent run` for this lab, to be started by hand.
#[must_use]
pub fn run_command(lab: &Lab) -> Command {
    run_command_of(lab, &program())
}

fn run_command_of(lab: &Lab, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg("--policy")
        .arg(policy_file(lab))
        .arg("--state-dir")
        .arg(state(lab))
        .arg("--socket")
        .arg(socket(lab))
        .arg("--pin-dir")
        .arg(lab.pins());
    if config_file(lab).exists() {
        command.arg("--config").arg(config_file(lab));
    }
    command
}

fn config_file(lab: &Lab) -> PathBuf {
    lab.directory().join("config.yaml")
}

/// Gives the lab's daemons a configuration, from their next start on.
///
/// # Panics
///
/// When the file cannot be written.
pub fn write_config(lab: &Lab, config: &str) {
    fs::write(config_file(lab), config).expect("write a configuration");
}

/// Where the lab's policy is.
#[must_use]
pub fn policy_file(lab: &Lab) -> PathBuf {
    lab.directory().join("policy.yaml")
}

/// Where the lab's daemons keep state.
#[must_use]
pub fn state(lab: &Lab) -> PathBuf {
    lab.directory().join("state")
}

/// Where the lab's daemon listens.
#[must_use]
pub fn socket(lab: &Lab) -> PathBuf {
    lab.directory().join("hoop.sock")
}

/// Puts a policy where the daemon looks, in one step.
///
/// # Panics
///
/// When it cannot be written.
pub fn write_policy(lab: &Lab, policy: &str) {
    let new = lab.directory().join("policy.new");
    fs::write(&new, policy).expect("write a policy");
    fs::rename(&new, policy_file(lab)).expect("replace the policy");
}

/// Removes what daemons have left enforced in this lab, if one ever ran.
///
/// # Errors
///
/// When `hoop-agent uninstall` fails, or leaves a pin.
pub fn uninstall(lab: &Lab) -> Result<()> {
    if !lab.pins().exists() {
        return Ok(());
    }
    let mut command = Command::new(program());
    command.arg("uninstall").arg("--pin-dir").arg(lab.pins());
    let output = command.arg("--state-dir").arg(state(lab)).output()?;
    ensure!(output.status.success(), "{}", text(&output));
    let left = fs::read_dir(lab.pins()).map_or(0, Iterator::count);
    ensure!(left == 0, "{left} entries left in {}", lab.pins().display());
    Ok(())
}

/// Runs a command to its end.
///
/// # Panics
///
/// When it does not start.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))
        .expect("a command that starts")
}

/// Exit status and both outputs, for messages.
#[must_use]
pub fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn output(lab: &Lab, start: usize) -> (PathBuf, PathBuf) {
    let path = |name| lab.directory().join(format!("{name}.{start}"));
    (path("stdout"), path("stderr"))
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("the daemon runs");
}

fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let skipped = text.lines().count().saturating_sub(lines);
    text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}
