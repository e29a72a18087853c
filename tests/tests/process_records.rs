//! Every process of a workload is on record: what it ran, with which arguments, for whom.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{Daemon, Record};
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Route, Step};
use hoop_tests::prober::Prober;

const OPEN: &str = "mode: enforce\negress: { default: allow }";

#[test]
fn a_program_is_told_from_fork_to_exit() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let mut agent = workload.probe();
    let done = agent
        .act(&Act::Run {
            program: "/bin/sh".into(),
            argv: ["sh", "-c", "exit 3"]
                .map(|argument| argument.as_bytes().to_vec())
                .to_vec(),
            directory: Some("/usr".into()),
            user: Some(65534),
        })
        .expect("run");
    let records = daemon.settled();
    let of_child = |kind: &str| {
        let mut found = records
            .iter()
            .filter(|record| record.is(kind) && record.pid() == done.pid);
        let record = found
            .next()
            .unwrap_or_else(|| panic!("no {kind} of {}", done.pid));
        assert!(found.next().is_none(), "one {kind}");
        record
    };
    let (fork, exec, exit) = (of_child("fork"), of_child("exec"), of_child("exit"));
    let process = "actor.process";
    for record in [fork, exec, exit] {
        assert_eq!(record.text("attribution"), "", "{record:?}");
        assert_eq!(record.number("class_uid"), 1007, "{record:?}");
        assert_eq!(
            record.text("workload.cgroup"),
            workload.cgroup.path(),
            "{record:?}"
        );
        assert_eq!(record.at("actor.process.uid"), fork.at("actor.process.uid"));
        assert_eq!(record.at("actor.session.uid"), fork.at("actor.session.uid"));
        assert_eq!(
            record.number("actor.process.parent_process.pid"),
            u64::from(agent.pid())
        );
        assert_eq!(record.text("actor.process.parent_process.name"), "prober");
    }
    assert_eq!(exec.text(&format!("{process}.file.path")), real("/bin/sh"));
    assert_eq!(exec.text(&format!("{process}.cmd_line")), "sh -c 'exit 3'");
    assert!(exec.at("actor.process.cmd_line_truncated").is_null());
    assert_eq!(exec.text(&format!("{process}.working_directory")), "/usr");
    for id in ["uid", "gid", "euid", "egid"] {
        assert_eq!(exec.number(&format!("{process}.user.{id}")), 65534, "{id}");
    }
    for namespace in ["pid", "net", "mnt", "user", "uts", "ipc", "cgroup"] {
        let link = fs::read_link(format!("/proc/{}/ns/{namespace}", agent.pid())).expect("a link");
        let number = exec.number(&format!("{process}.namespaces.{namespace}"));
        assert_eq!(link, PathBuf::from(format!("{namespace}:[{number}]")));
    }
    assert_eq!(exit.number("process.exit_code"), 3);
    assert!(exit.at("process.signal").is_null());
}

#[test]
fn a_death_by_signal_says_which() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let done = workload
        .probe()
        .run("/bin/sh", &["-c", "kill -9 $$"])
        .expect("run");
    let exit = exit_of(&daemon, done.pid);
    assert_eq!(exit.number("process.signal"), 9);
    assert!(exit.at("process.exit_code").is_null());
}

#[test]
fn arguments_are_told_whole_up_to_128_kib() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let mut agent = workload.probe();
    let text = |size: usize| {
        (0..size)
            .map(|at| char::from(b'a' + (at % 26) as u8))
            .collect()
    };
    for (count, size) in [
        (1, 5_000),
        (1, 100_000),
        (1_000, 100),
        (20_000, 4),
        (127, 1_023),
    ] {
        let arguments: Vec<String> = vec![text(size); count];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = agent.run("/bin/true", &arguments).expect("run");
        let exec = exec_of(&daemon, done.pid);
        let told = exec.text("actor.process.cmd_line");
        let expected = format!("/bin/true {}", arguments.join(" "));
        assert!(
            told == expected,
            "{count} of {size}: {} bytes, not {}",
            told.len(),
            expected.len()
        );
        assert!(exec.at("actor.process.cmd_line_truncated").is_null());
    }
    let arguments: Vec<String> = vec![text(100_000); 5];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = agent.run("/bin/true", &arguments).expect("run");
    let exec = exec_of(&daemon, done.pid);
    let told = exec.text("actor.process.cmd_line");
    assert_eq!(exec.at("actor.process.cmd_line_truncated"), true);
    // Of the argument that is cut, what may be the first half of a secret is left out.
    assert!(told.len() >= 100_000, "{} bytes", told.len());
    assert!(told.starts_with(&format!("/bin/true {}", arguments[0])));
}

#[test]
fn arguments_can_be_pasted_into_a_shell() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let mut agent = workload.probe();
    for argv in [
        vec![
            &b"a b"[..],
            b"two\nlines",
            b"",
            b"it's",
            b"$HOME `id` \"x\" \\ * ~ #",
        ],
        vec![
            b"\xff\xfe not UTF-8",
            "grün, 火, 🔥".as_bytes(),
            b"\x1b[31mred",
            b"\t\r",
        ],
        vec![b"a zeroth that lies"],
        vec![b"-", b"--", b"a=b", b"!history"],
    ] {
        let done = agent
            .act(&Act::Run {
                program: "/bin/true".into(),
                argv: argv.iter().map(|argument| argument.to_vec()).collect(),
                directory: None,
                user: None,
            })
            .expect("run");
        let exec = exec_of(&daemon, done.pid);
        assert_eq!(exec.text("actor.process.file.path"), real("/bin/true"));
        let script = format!("printf '%s\\0' {}", exec.text("actor.process.cmd_line"));
        let pasted = Command::new("bash")
            .args(["-c", &script])
            .output()
            .expect("bash");
        let expected: Vec<u8> = argv
            .iter()
            .flat_map(|argument| [*argument, b"\0"].concat())
            .collect();
        assert_eq!(pasted.stdout, expected, "{script}");
    }
}

#[test]
fn a_script_is_told_with_its_interpreter() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let script = executable(lab.directory(), "tool.sh", b"#!/bin/sh -e\nexit 4\n");
    let script = script.to_str().expect("UTF-8");
    let done = workload.probe().run(script, &["argument"]).expect("run");
    let exec = exec_of(&daemon, done.pid);
    assert_eq!(exec.text("actor.process.file.path"), real("/bin/sh"));
    let told = exec.text("actor.process.cmd_line");
    assert_eq!(told, format!("/bin/sh -e {script} argument"));
    assert_eq!(exit_of(&daemon, done.pid).number("process.exit_code"), 4);
}

#[test]
fn a_relative_path_is_told_in_full() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let tool = copy_of_true(lab.directory(), "tool");
    let done = workload
        .probe()
        .act(&Act::Run {
            program: "./tool".into(),
            argv: vec![b"./tool".to_vec()],
            directory: Some(lab.directory().to_owned()),
            user: None,
        })
        .expect("run");
    let exec = exec_of(&daemon, done.pid);
    assert_eq!(Path::new(exec.text("actor.process.file.path")), tool);
    assert_eq!(
        Path::new(exec.text("actor.process.working_directory")),
        lab.directory()
    );
    assert_eq!(exec.text("actor.process.cmd_line"), "./tool");
}

#[test]
fn a_program_that_is_deleted_while_it_runs_is_told_by_its_name() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let shell = lab.directory().join("shell");
    fs::copy(real("/bin/sh"), &shell).expect("copy a shell");
    let shell = shell.to_str().expect("UTF-8");
    let act = format!("rm {shell}; (exit 5)");
    let done = workload.probe().run(shell, &["-c", &act]).expect("run");
    for record in [exec_of(&daemon, done.pid), exit_of(&daemon, done.pid)] {
        assert_eq!(record.text("actor.process.file.path"), shell);
        assert_eq!(record.text("actor.process.name"), "shell");
    }
}

#[test]
fn a_program_that_is_replaced_while_it_runs_is_told_by_its_name() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let shell = lab.directory().join("shell");
    fs::copy(real("/bin/sh"), &shell).expect("copy a shell");
    let other = copy_of_true(lab.directory(), "other");
    let shell = shell.to_str().expect("UTF-8");
    let act = format!("mv {} {shell}; (exit 5)", other.display());
    let mut agent = workload.probe();
    let done = agent.run(shell, &["-c", &act]).expect("run");
    assert!(!other.exists(), "it was put in the shell's place");
    for record in [exec_of(&daemon, done.pid), exit_of(&daemon, done.pid)] {
        assert_eq!(record.text("actor.process.file.path"), shell);
        let line = record.text("actor.process.cmd_line");
        assert!(line.contains("(exit 5)"), "{record:?}");
    }
    // Who runs the file now is told apart.
    let done = agent.run(shell, &["again"]).expect("run");
    assert_eq!(done.value, 0, "it is `true` now");
    let exec = exec_of(&daemon, done.pid);
    assert_eq!(
        exec.text("actor.process.cmd_line"),
        format!("{shell} again")
    );
}

#[test]
fn a_long_path_is_told_whole() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let mut directory = lab.directory().to_owned();
    for _ in 0..14 {
        directory.push("d".repeat(250));
    }
    fs::create_dir_all(&directory).expect("directories");
    let tool = copy_of_true(&directory, "tool");
    let done = workload
        .probe()
        .run(tool.to_str().expect("UTF-8"), &[])
        .expect("run");
    let exec = exec_of(&daemon, done.pid);
    assert_eq!(Path::new(exec.text("actor.process.file.path")), tool);
    assert!(exec.at("actor.process.file.truncated").is_null());
}

#[test]
fn the_shortest_life_is_on_record() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let mut agent = workload.probe();
    agent.act(&Act::Spawn { count: 1_000 }).expect("spawn");
    let records = daemon.settled();
    let children = |kind: &str| {
        let parent = |record: &Record| record.number("actor.process.parent_process.pid");
        let found = records
            .iter()
            .filter(|record| record.is(kind) && parent(record) == u64::from(agent.pid()));
        let mut uids: Vec<_> = found
            .map(|record| record.text("actor.process.uid"))
            .collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    };
    assert_eq!(children("fork").len(), 1_000);
    assert_eq!(children("fork"), children("exit"));
}

#[test]
fn a_process_that_was_there_before_the_tag_is_known() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut agent = workload.probe();
    let daemon = lab.daemon(&lab.policy("agent", "mode: enforce\negress: { default: deny }"));
    let to = "198.51.100.66:443".parse().expect("an address");
    Attempt::by(Route::UdpConnect, to).is_denied(&lab, &mut agent);
    let record = daemon.wait_for("the denial", |record| record.verdict() == "deny");
    assert_eq!(record.pid(), agent.pid());
    let program = hoop_tests::prober::program();
    assert_eq!(Path::new(record.text("actor.process.file.path")), program);
    assert_eq!(
        record.text("actor.process.cmd_line"),
        program.to_str().expect("UTF-8")
    );

    // So are its children, and both are one session.
    let done = agent.run("/bin/true", &[]).expect("run");
    let exec = exec_of(&daemon, done.pid);
    assert_eq!(exec.at("actor.session.uid"), record.at("actor.session.uid"));
    let ancestors = exec
        .at("actor.ancestry")
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(
        ancestors
            .iter()
            .any(|ancestor| ancestor["pid"] == agent.pid()),
        "{exec:?}"
    );
}

#[test]
fn who_leaves_the_workload_stays_on_record() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", "mode: observe"));
    let mut agent = workload.probe();
    let elsewhere = lab.root.child("elsewhere");
    let act = Act::Run {
        program: "/bin/true".into(),
        argv: vec![b"true".to_vec()],
        directory: None,
        user: None,
    };
    let steps = [Step::MoveTo(elsewhere.directory().to_owned())];
    let done = agent.after(&steps, act).expect("run");
    let left = daemon.wait_for("the escape", |record| {
        record.is("move") && record.at("process.escaped") == true
    });
    assert_eq!(left.text("process.cgroup"), elsewhere.path());
    assert_eq!(left.text("workload.cgroup"), workload.cgroup.path());
    let exec = exec_of(&daemon, done.pid);
    assert_eq!(
        exec.text("workload.cgroup"),
        workload.cgroup.path(),
        "identity sticks"
    );
}

#[test]
fn who_is_moved_into_the_workload_is_on_record_from_then_on() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let mut outsider: Prober = lab.outsider();
    workload.cgroup.adopt(outsider.pid());
    let entered = daemon.wait_for("the entry", |record| record.is("move"));
    assert_eq!(entered.pid(), outsider.pid());
    assert!(entered.at("process.escaped").is_null());
    let done = outsider.run("/bin/true", &[]).expect("run");
    let exec = exec_of(&daemon, done.pid);
    assert_eq!(exec.text("workload.cgroup"), workload.cgroup.path());
}

fn exec_of(daemon: &Daemon<'_>, pid: u32) -> Record {
    daemon.wait_for("an exec", |record| record.is("exec") && record.pid() == pid)
}

fn exit_of(daemon: &Daemon<'_>, pid: u32) -> Record {
    daemon.wait_for("an exit", |record| record.is("exit") && record.pid() == pid)
}

fn real(path: &str) -> String {
    let path = fs::canonicalize(path).expect("it is on every system");
    path.to_str().expect("UTF-8").to_owned()
}

fn executable(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).expect("write a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    path
}

fn copy_of_true(directory: &Path, name: &str) -> PathBuf {
    executable(
        directory,
        name,
        &fs::read(real("/bin/true")).expect("read a program"),
    )
}
