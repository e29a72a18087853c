//! The command line: a workload's command is the caller's own, and every list is right.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{Daemon, Record, run, text};
use hoop_tests::lab::{Lab, policy};
use hoop_tests::probe::Route;
use hoop_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SPEC: &str = r"
mode: enforce
egress:
  default: deny
  allow:
    - { name: api, cidrs: [203.0.113.0/24], ports: [443] }
";

#[test]
fn exec_hands_over_exit_code_signal_and_streams() {
    let lab = Lab::new();
    let daemon = lab.daemon(&by_hand());
    let exit = run(exec(&daemon).args(["/bin/sh", "-c", "exit 42"]));
    assert_eq!(exit.status.code(), Some(42), "{}", text(&exit));
    let killed = run(exec(&daemon).args(["/bin/sh", "-c", "kill -9 $$"]));
    assert_eq!(killed.status.signal(), Some(9), "{}", text(&killed));

    let mut cat = exec(&daemon)
        .arg("/bin/cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    cat.stdin
        .take()
        .expect("piped")
        .write_all(b"through\0and out")
        .expect("write");
    let output = cat.wait_with_output().expect("wait");
    assert_eq!(output.stdout, b"through\0and out");

    let streams = run(exec(&daemon).args(["/bin/sh", "-c", "echo out; echo err >&2"]));
    assert_eq!(
        (&streams.stdout[..], &streams.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
}

#[test]
fn exec_is_the_same_process_and_gets_its_signals() {
    let lab = Lab::new();
    let daemon = lab.daemon(&by_hand());
    let script = "trap 'kill $!; exit 7' TERM; echo $$; while :; do sleep 1 & wait $!; done";
    let mut child = exec(&daemon)
        .args(["/bin/sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let first = first_line(&mut child);
    assert_eq!(first.trim(), child.id().to_string());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    let ended = wait::until("the command's end", || child.try_wait().expect("wait"));
    assert_eq!(ended.code(), Some(7));
}

#[test]
fn exec_keeps_the_terminal() {
    let lab = Lab::new();
    let daemon = lab.daemon(&by_hand());
    let (master, terminal) = terminal();
    let mut command = exec(&daemon);
    command.args(["/bin/sh", "-c", "test -t 0 && test -t 1 && tty"]);
    let stream = || Stdio::from(terminal.try_clone().expect("dup"));
    let status = command
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .status()
        .expect("start");
    assert!(status.success(), "{status}");
    let mut said = [0; 256];
    let count = File::from(master)
        .read(&mut said)
        .expect("read the terminal");
    assert!(String::from_utf8_lossy(&said[..count]).contains("/dev/pts/"));
}

#[test]
fn exec_is_governed_from_the_first_instruction() {
    let lab = Lab::new();
    let daemon = lab.daemon(&by_hand());
    let mut child = exec(&daemon)
        .args(["/bin/sh", "-c", "cat /proc/self/cgroup; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let cgroups = wait::until("the cgroup", || {
        let line = first_line(&mut child);
        line.strip_prefix("0::").map(|path| path.trim().to_owned())
    });
    assert_ne!(cgroups, "/");
    let listed = || {
        daemon
            .json(&["workload", "list"])
            .to_string()
            .contains(&cgroups)
    };
    assert!(listed(), "{cgroups}");
    let pid = child.id();
    drop(child.stdin.take());
    child.wait().expect("wait");

    let records = daemon.settled();
    let exec = records
        .iter()
        .find(|record| record.is("exec") && record.pid() == pid);
    let exec = exec.expect("a record of the exec");
    assert_eq!(exec.text("workload.cgroup"), cgroups);
    assert_eq!(exec.text("workload.policy"), "agent");
    assert!(
        exec.text("actor.process.cmd_line")
            .starts_with("/bin/sh -c ")
    );
    // Its cgroup goes with it.
    wait::until("the workload's end", || (!listed()).then_some(()));
}

#[test]
fn exec_says_what_is_wrong() {
    let lab = Lab::new();
    let daemon = lab.daemon(&by_hand());
    let unknown = run(daemon
        .cli()
        .args(["exec", "--policy", "nobody", "--", "/bin/true"]));
    assert!(
        matches!(unknown.status.code(), Some(1 | 2)),
        "{}",
        text(&unknown)
    );
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(
        said.contains("nobody") && said.contains("agent"),
        "which there are, in {said}"
    );
    let missing = run(exec(&daemon).arg("/no/such/program"));
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/program"));
}

#[test]
fn workloads_are_listed_while_they_are_tagged() {
    let lab = Lab::new();
    let (tagged, other) = (lab.workload("agent"), lab.workload("other"));
    let daemon = lab.daemon(&lab.policy("agent", SPEC));
    let listed = |path: &str| {
        daemon
            .json(&["workload", "list"])
            .to_string()
            .contains(path)
    };
    assert!(listed(tagged.cgroup.path()) && !listed(other.cgroup.path()));
    daemon.tag(&other, "agent");
    assert!(listed(other.cgroup.path()));
    daemon.untag(&other);
    assert!(!listed(other.cgroup.path()));

    let table = run(daemon.cli().args(["workload", "list"]));
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains(tagged.cgroup.path()), "{table}");
    assert!(!table.contains('\x1b'), "no colour without a terminal");
}

#[test]
fn a_cgroup_that_comes_later_is_tagged_by_its_name_and_forgotten_with_it() {
    let lab = Lab::new();
    let glob = format!("{}/late-*", lab.root.path());
    let daemon = lab.daemon(&policy("agent", &glob, SPEC));
    let listed = |path: &str| {
        daemon
            .json(&["workload", "list"])
            .to_string()
            .contains(path)
    };
    let workload = lab.workload("late-1");
    let path = workload.cgroup.path().to_owned();
    wait::until("the tag", || listed(&path).then_some(()));
    let to = "198.51.100.66:443".parse().expect("an address");
    Attempt::by(Route::UdpSendto, to).is_denied(&lab, &mut workload.probe());
    drop(workload);
    wait::until("the tag's end", || (!listed(&path)).then_some(()));
}

#[test]
fn events_are_followed_as_they_happen() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut follower = daemon
        .cli()
        .args(["events", "--follow", "--output", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let lines = BufReader::new(follower.stdout.take().expect("piped"));
    let (sender, records) = std::sync::mpsc::sync_channel(64);
    let reader = std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let record = serde_json::from_str(&line).map(Record);
            if sender.send(record.expect("a record is JSON")).is_err() {
                return;
            }
        }
    });
    let mut agent = workload.probe();
    let to = "198.51.100.66:443".parse().expect("an address");
    // The follower may start a moment late: it is shown new denials until it shows one.
    let seen = wait::until("a denial", || {
        Attempt::by(Route::UdpConnect, to).is_denied(&lab, &mut agent);
        records
            .try_iter()
            .find(|record: &Record| record.verdict() == "deny")
    });
    assert_eq!(seen.pid(), agent.pid());
    assert!(
        daemon.records().contains(&seen),
        "what is shown is what is kept"
    );
    follower.kill().expect("kill");
    follower.wait().expect("wait");
    // Or the reader may wait for room.
    drop(records);
    reader.join().expect("the reader ends with the follower");
}

#[test]
fn status_says_what_is_enforced() {
    let lab = Lab::new();
    let _workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", SPEC));
    let status = daemon.status();
    assert_eq!(status["state"], "enforcing");
    for count in ["numbered", "recorded", "lost"] {
        assert!(status["events"][count].is_u64(), "{count} in {status}");
    }
    for command in [
        &["status"][..],
        &["doctor"],
        &["policy", "show"],
        &["policy", "show", "agent"],
    ] {
        daemon.succeed(command);
    }
    let shown = daemon.succeed(&["policy", "show", "agent"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("203.0.113.0/24"));
}

fn exec(daemon: &Daemon<'_>) -> Command {
    let mut command = daemon.cli();
    command.args(["exec", "--policy", "agent", "--"]);
    command
}

/// A policy that tags nothing by itself.
fn by_hand() -> String {
    policy("agent", "/hoop-test-nothing", SPEC)
}

fn first_line(child: &mut Child) -> String {
    // Byte by byte: what follows the line stays in the pipe.
    let stdout = child.stdout.as_mut().expect("piped");
    let (mut line, mut byte) = (Vec::new(), [0]);
    while stdout.read(&mut byte).expect("read") == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    String::from_utf8_lossy(&line).into_owned()
}

fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut master, mut terminal) = (0, 0);
    let null = std::ptr::null_mut;
    // SAFETY: the two descriptors are the call's to fill in; the rest may be null.
    let result = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut terminal,
            null(),
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    assert_eq!(result, 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: both descriptors are new and nobody else's.
    unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(terminal)) }
}
