//! What only the LSM can refuse: judged by what is still there, and by who still lives.
//!
//! These tests pass without a look where the kernel has no BPF LSM, and say so.

use std::fs;
use std::path::{Path, PathBuf};

use hoop_tests::daemon::{Daemon, Record};
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Outcome, Tamper};
use hoop_tests::prober::Prober;

const COMMANDS: &str = r#"
mode: enforce
egress: { default: allow }
exec:
  deny:
    - { name: no-copies, path: "**/cp", because: files are made by people }
    - { name: no-deletes, args: '\bdelete\b', because: ask the on-call }
"#;

#[test]
fn a_denied_command_fails_with_eperm_and_the_process_goes_on() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", COMMANDS));
    if !has_lsm(&daemon, &["exec_check"]) {
        return;
    }
    let mut agent = workload.probe();
    let made = lab.directory().join("made");
    let failure = agent
        .run("/usr/bin/cp", &["/etc/passwd", text(&made)])
        .expect_err("it is denied");
    assert_eq!(failure.errno, libc::EPERM, "{failure:?}");
    assert!(!made.exists(), "a denied command wrote a file");

    let record = daemon.wait_for("a refusal", |record| {
        record.is("exec") && record.text("verdict.rule") == "no-copies"
    });
    assert_eq!(record.verdict(), "deny", "{record:?}");
    assert_eq!(record.text("verdict.because"), "files are made by people");
    assert_eq!(record.text("verdict.hook"), "exec_check");
    assert_eq!(record.text("verdict.enforcement"), "refused");
    assert_eq!(record.text("process.program.path"), "/usr/bin/cp");
    assert_eq!(record.text("attribution"), "");
    // It is still what it was.
    let prober = record.text("actor.process.file.path").to_owned();
    assert!(prober.ends_with("/prober"), "{record:?}");
    let exit = daemon.wait_for("its end", |other| {
        other.is("exit") && other.pid() == record.pid()
    });
    assert_eq!(exit.text("actor.process.file.path"), prober, "{exit:?}");

    // A shell is told, and goes on.
    let script = format!(
        "/usr/bin/cp /etc/passwd {0}; echo > {0}.by-shell",
        text(&made)
    );
    let done = agent.run("/bin/sh", &["-c", &script]).expect("a shell");
    assert_eq!(done.value, 0, "{done:?}");
    assert!(!made.exists(), "a denied command wrote a file");
    assert!(made.with_extension("by-shell").exists(), "the shell ended");

    // What its arguments decide is for the tracepoint.
    let done = agent.run("/bin/true", &["delete"]).expect("it starts");
    assert_eq!(done.value & 0x7f, 9, "{done:?}");
    let record = daemon.wait_for("a kill", |record| {
        record.text("verdict.rule") == "no-deletes"
    });
    assert_eq!(record.text("verdict.enforcement"), "killed", "{record:?}");

    // Others may, and so may the workload where the policy only looks.
    let outside = lab
        .outsider()
        .run("/usr/bin/cp", &["/etc/passwd", text(&made)]);
    assert_eq!(outside.expect("an outsider").value, 0);
    assert!(made.exists());
    fs::remove_file(&made).expect("remove");
    daemon.change_policy(&lab.policy("agent", &COMMANDS.replacen("enforce", "shadow", 1)));
    let done = agent.run("/usr/bin/cp", &["/etc/passwd", text(&made)]);
    let done = done.expect("shadow denies nothing");
    assert!(made.exists());
    let record = daemon.wait_for("a shadow", |record| {
        record.is("exec") && record.pid() == done.pid
    });
    assert_eq!(record.verdict(), "shadow", "{record:?}");
    assert_eq!(record.text("verdict.hook"), "exec");
}

#[test]
fn no_process_outside_is_reached_into() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", "mode: shadow"));
    if !has_lsm(&daemon, &["ptrace"]) {
        return;
    }
    // The tracer goes first: else nobody could wait for whom it traces.
    let sibling = workload.probe();
    let mut agent = workload.probe();
    let mut outside = lab.outsider();
    let file = |pid: u32, name: &str| format!("/proc/{pid}/{name}").into();
    let memory = |pid| Tamper::Open {
        path: file(pid, "mem"),
    };
    let of_agent = |records: &[Record], result: &str| {
        let found = records.iter().filter(|record| {
            record.text("process.operation") == "ptrace"
                && record.verdict() == result
                && record.text("verdict.rule") == "builtin/ptrace"
        });
        found
            .map(|record| record.number("process.target.pid") as u32)
            .collect::<Vec<_>>()
    };

    // Shadow says what it would have denied.
    tampers(&mut agent, memory(outside.pid())).expect("shadow denies nothing");
    assert_eq!(of_agent(&daemon.settled(), "shadow"), [outside.pid()]);

    daemon.change_policy(&lab.policy("agent", "mode: enforce"));
    for pid in [outside.pid(), daemon.pid()] {
        // The file system makes this of it.
        is_refused(&tampers(&mut agent, memory(pid)), libc::EACCES);
        is_refused(&tampers(&mut agent, Tamper::Seize { pid }), libc::EPERM);
        // Looking is no reach: `ps` does it.
        let environment = file(pid, "environ");
        tampers(&mut agent, Tamper::Open { path: environment }).expect("to look");
    }
    let targets = [outside.pid(), outside.pid(), daemon.pid(), daemon.pid()];
    let records = daemon.settled();
    assert_eq!(of_agent(&records, "deny"), targets);
    let record = records.iter().find(|record| record.verdict() == "deny");
    let record = record.expect("a denial");
    assert!(record.is("tamper"), "{record:?}");
    assert_eq!(record.pid(), agent.pid());
    assert_eq!(record.text("verdict.enforcement"), "refused");
    assert_eq!(record.text("verdict.hook"), "ptrace");
    assert!(record.text("verdict.because").contains("outside"));

    // Its own it may debug, and others may debug it.
    let pid = sibling.pid();
    tampers(&mut agent, memory(pid)).expect("one of the same workload");
    tampers(&mut agent, Tamper::Seize { pid }).expect("one of the same workload");
    tampers(&mut outside, memory(agent.pid())).expect("an outsider");
}

#[test]
fn what_keeps_the_daemon_in_force_is_out_of_reach() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", "mode: enforce"));
    let hooks = ["signal", "bpf", "unlink", "rmdir", "rename", "umount"];
    if !has_lsm(&daemon, &hooks) {
        return;
    }
    let mut agent = workload.probe();
    let pin = any_file(&lab.pins());
    let (bpffs, parent) = (lab.pins(), pin.parent().expect("a directory"));
    let bpffs = bpffs.parent().expect("a mount");
    let empty = bpffs.join("empty");
    fs::create_dir(&empty).expect("a directory");
    let pid = daemon.pid();
    for tamper in [
        Tamper::Signal {
            pid,
            signal: libc::SIGKILL,
        },
        Tamper::Signal {
            pid,
            signal: libc::SIGSTOP,
        },
        Tamper::GetPin { path: pin.clone() },
        Tamper::Remove { path: pin.clone() },
        Tamper::RemoveDirectory {
            path: empty.clone(),
        },
        Tamper::Rename {
            from: parent.to_owned(),
            to: bpffs.join("elsewhere"),
        },
        Tamper::Unmount {
            path: bpffs.to_owned(),
        },
    ] {
        let outcome = tampers(&mut agent, tamper);
        is_refused(&outcome, libc::EPERM);
    }
    tampers(&mut agent, Tamper::Signal { pid, signal: 0 }).expect("to ask is no reach");
    assert!(pin.exists() && empty.exists(), "a pin is gone");
    let records = daemon.settled();
    let denied: Vec<_> = records
        .iter()
        .filter(|record| record.is("tamper"))
        .map(|record| {
            assert_eq!(record.verdict(), "deny", "{record:?}");
            assert_eq!(record.text("verdict.enforcement"), "refused");
            assert_eq!(record.pid(), agent.pid());
            (
                record.text("process.operation"),
                record.text("verdict.rule"),
            )
        })
        .collect();
    let tamper = "builtin/tamper";
    assert_eq!(
        denied,
        [
            ("signal", tamper),
            ("signal", tamper),
            ("bpf", "builtin/bpf"),
            ("unlink", tamper),
            ("rmdir", tamper),
            ("rename", tamper),
            ("umount", tamper),
        ]
    );

    // Without a daemon it is the same: the programs are pinned.
    daemon.kill();
    let remove = Tamper::Remove { path: pin.clone() };
    is_refused(&tampers(&mut agent, remove), libc::EPERM);
    let get = Tamper::GetPin { path: pin.clone() };
    is_refused(&tampers(&mut agent, get), libc::EPERM);
    assert!(pin.exists(), "a pin is gone");

    // Elsewhere the workload removes what it likes, and an outsider does so here.
    let own = lab.directory().join("own");
    fs::write(&own, "").expect("a file");
    tampers(&mut agent, Tamper::Remove { path: own }).expect("no file of Hoop");
    let mut outside = lab.outsider();
    tampers(&mut outside, Tamper::RemoveDirectory { path: empty }).expect("an outsider");
}

fn tampers(prober: &mut Prober, tamper: Tamper) -> Outcome {
    prober.act(&Act::Tamper(tamper))
}

#[track_caller]
fn is_refused(outcome: &Outcome, errno: i32) {
    let refused = matches!(outcome, Err(failure) if failure.errno == errno);
    assert!(refused, "{outcome:?}");
}

/// The first file below a directory.
fn any_file(directory: &Path) -> PathBuf {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            if entry.path().is_dir() {
                directories.push(entry.path());
            } else {
                return entry.path();
            }
        }
    }
    panic!("no pin");
}

/// Whether the hooks are attached. They must be, where the kernel calls programs of the BPF LSM.
#[track_caller]
fn has_lsm(daemon: &Daemon<'_>, hooks: &[&str]) -> bool {
    let active = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let calls_bpf = active.trim().split(',').any(|name| name == "bpf");
    for hook in hooks {
        let state = daemon.hook(hook);
        if state != "attached" {
            assert!(
                !calls_bpf,
                "{hook} is {state}: {}",
                daemon.status()["hooks"]
            );
            println!("skipped: {hook} is {state}; active LSMs: {active:?}");
            return false;
        }
    }
    true
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
