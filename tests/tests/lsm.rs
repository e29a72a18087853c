//! What only the LSM can refuse: judged by what is still there, and by who still lives.
//!
//! These tests pass without a look where the kernel has no BPF LSM, and say so.

use std::fs;
use std::path::Path;

use hoop_tests::daemon::Daemon;
use hoop_tests::lab::Lab;

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
