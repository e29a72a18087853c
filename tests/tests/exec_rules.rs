//! A denied command does not run: judged by the file that it would have written.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use hoop_tests::daemon::{Daemon, Record};
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Outcome};
use serde_json::Value;

/// Rules by which everything runs but what they deny.
const DENY: &str = r#"
mode: enforce
egress: { default: allow }
exec:
  deny:
    - { name: no-touch, path: "**/touch", because: files are made by people }
    - { name: no-deletes, args: '\bdelete\b', because: ask the on-call }
    - { name: no-end, args: 'the end$', because: it is not over }
    - { name: no-nobody, uid: [65534], path: "**/cp", because: nobody copies }
    - { name: no-shell-dd, path: "**/dd", parent: "**/dash", because: not from a shell }
"#;

/// Only what is listed runs.
const STRICT: &str = r#"
mode: enforce
egress: { default: allow }
exec:
  default: deny
  allow:
    - { name: the-prober, path: "**/prober" }
    - { name: shell, path: "/usr/bin/dash" }
    - { name: copies, path: "/usr/bin/cp" }
"#;

#[test]
fn a_path_is_denied_and_its_neighbour_is_not() {
    let (lab, file) = (Lab::new(), "made");
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    let made = lab.directory().join(file);

    let killed = denied(agent.run("/usr/bin/touch", &[text(&made)]));
    assert!(!made.exists(), "a denied command wrote a file");
    let record = judged(&daemon, killed);
    assert_eq!(record.verdict(), "deny", "{record:?}");
    assert_eq!(record.text("verdict.rule"), "no-touch");
    assert_eq!(record.text("verdict.because"), "files are made by people");
    assert_eq!(record.text("verdict.mode"), "enforce");
    // `lsm.rs` says what a refusal looks like.
    if record.text("verdict.hook") == "exec" {
        assert_eq!(record.text("verdict.enforcement"), "killed");
        let line = record.text("actor.process.cmd_line");
        assert_eq!(line, format!("/usr/bin/touch {}", made.display()));
    }

    let ran = allowed(agent.run("/usr/bin/cp", &["/etc/passwd", text(&made)]));
    assert!(made.exists(), "an allowed command wrote nothing");
    let record = judged(&daemon, ran);
    assert_eq!(record.verdict(), "allow");
    assert_eq!(record.text("verdict.rule"), "default");
    assert_eq!(record.text("verdict.enforcement"), "");
}

#[test]
fn arguments_are_judged_to_their_end() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    let made = lab.directory().join("made");
    // `cp -t DIRECTORY -T` would not do: any number of arguments, and then a file is made.
    let script = format!("exec /usr/bin/cp /etc/passwd {}", made.display());

    let mut run = |filler: &[String], last: &str| {
        let mut arguments = vec!["-c", &script, "sh"];
        arguments.extend(filler.iter().map(String::as_str));
        arguments.push(last);
        let _ = fs::remove_file(&made);
        (agent.run("/bin/sh", &arguments), made.exists())
    };
    let fillers: [Vec<String>; 6] = [
        vec![],
        vec!["x".repeat(4_000)],
        vec!["x".repeat(4_082 - script.len())],
        vec!["x".repeat(100_000)],
        // Beyond what is recorded, and near what the kernel takes.
        vec!["x".repeat(100_000); 19],
        vec!["y".to_owned(); 60_000],
    ];
    for filler in &fillers {
        let len: usize = filler.iter().map(String::len).sum();
        // At every place around the border of a chunk.
        for padding in 0..if len == 0 { 20 } else { 3 } {
            let padding = " ".repeat(padding);
            let (outcome, exists) = run(filler, &format!("{padding}delete"));
            denied(outcome);
            assert!(!exists, "{len} bytes before `delete`");
            let (outcome, exists) = run(filler, &format!("{padding}the end"));
            denied(outcome);
            assert!(!exists, "{len} bytes before `the end`");
        }
        let (outcome, exists) = run(filler, "deleted the ends");
        allowed(outcome);
        assert!(exists, "{len} bytes and nothing that is denied");
    }
    let records = daemon.settled();
    let by = |rule: &str| {
        records
            .iter()
            .filter(|record| record.text("verdict.rule") == rule)
            .count()
    };
    assert_eq!((by("no-deletes"), by("no-end")), (20 + 5 * 3, 20 + 5 * 3));
}

#[test]
fn every_length_of_arguments_up_to_two_chunks_is_judged() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    for len in (0..40).chain(4_050..4_110).chain(8_150..8_200) {
        let filler = "x".repeat(len);
        denied(agent.run("/bin/true", &[&filler, "delete"]));
        allowed(agent.run("/bin/true", &[&filler, "delet"]));
    }
}

#[test]
fn a_second_thread_cannot_change_what_was_judged() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    let told = lab.directory().join("told");
    let script = format!("printf '%s\\n' \"$1\" >> {}", told.display());
    let done = agent
        .act(&Act::RunRacing {
            program: "/bin/sh".into(),
            argv: ["sh", "-c", &script, "sh"].map(Into::into).to_vec(),
            texts: [" delete ".into(), " harmles".into()],
            times: 400,
        })
        .expect("run");
    let told = fs::read_to_string(&told).unwrap_or_default();
    let denied = told.split_whitespace().find(|&word| word == "delete");
    assert_eq!(denied, None, "a denied command ran");
    let (well, all) = (done.value, 400);
    assert!(
        well > 0 && well < all,
        "{well} of {all} ran: it was no race"
    );
}

#[test]
fn users_and_parents_are_judged() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    let open = lab.directory().join("open");
    fs::create_dir(&open).expect("a directory");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("chmod");
    let made = open.join("made");

    let as_user = |user| Act::Run {
        program: "/usr/bin/cp".into(),
        argv: ["cp", "/etc/passwd", text(&made)].map(Into::into).to_vec(),
        directory: None,
        user: Some(user),
    };
    let killed = denied(agent.act(&as_user(65534)));
    assert_eq!(judged(&daemon, killed).text("verdict.rule"), "no-nobody");
    assert!(!made.exists());
    allowed(agent.act(&as_user(0)));
    assert!(made.exists());

    let copy = [
        "if=/etc/passwd".to_owned(),
        format!("of={}.dd", made.display()),
    ];
    let by_shell = format!("/usr/bin/dd {} {} 2>/dev/null; true", copy[0], copy[1]);
    let made = made.with_extension("dd");
    allowed(agent.run("/bin/sh", &["-c", &by_shell]));
    assert!(!made.exists(), "dd ran from a shell");
    let record = daemon.wait_for("dd denied", |record| {
        record.text("verdict.rule") == "no-shell-dd"
    });
    assert_eq!(record.verdict(), "deny");
    allowed(agent.run("/usr/bin/dd", &[&copy[0], &copy[1]]));
    assert!(made.exists(), "dd did not run by itself");
}

#[test]
fn the_strict_profile_lets_no_copy_pass() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", STRICT));
    let mut agent = workload.probe();
    let at = |name: &str| text(&lab.directory().join(name)).to_owned();
    let file = &*at("made");
    let made = Path::new(file);
    let touch = "/usr/bin/touch";

    // The list works, also by another name for what is on it.
    allowed(agent.run("/usr/bin/cp", &[touch, &at("cp")]));
    allowed(agent.run("/usr/bin/cp", &[touch, &at("dash")]));
    symlink("/usr/bin/cp", at("link-to-cp")).expect("a link");
    allowed(agent.run(&at("link-to-cp"), &[touch, &at("renamed")]));

    fs::rename(at("renamed"), at("sh")).expect("rename");
    fs::hard_link(at("sh"), at("prober-2")).expect("a hard link");
    symlink(touch, at("true")).expect("a link");
    let script = |name: &str, interpreter: &str, line: &str| {
        fs::write(at(name), format!("#!{interpreter}\n{line}\n")).expect("a script");
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).expect("chmod");
    };
    let python = format!("open('{file}', 'w')");
    script("python-script", "/usr/bin/python3", &python);
    script("shell-script", "/bin/sh", &format!("{touch} {file}"));

    let loader = "/lib64/ld-linux-x86-64.so.2";
    let commands: [(String, &[&str]); 13] = [
        (touch.into(), &[file]),
        ("/bin/touch".into(), &[file]),
        (at("cp"), &[file]),
        (at("dash"), &[file]),
        (at("sh"), &[file]),
        (at("prober-2"), &[file]),
        (at("true"), &[file]),
        (loader.into(), &[touch, file]),
        ("/usr/bin/env".into(), &[touch, file]),
        (
            "/usr/bin/find".into(),
            &["/etc/passwd", "-exec", touch, file, ";"],
        ),
        ("/usr/bin/xargs".into(), &["-a", "/etc/passwd", touch, file]),
        ("/usr/bin/python3".into(), &["-c", &python]),
        (at("python-script"), &[]),
    ];
    for (program, arguments) in commands {
        denied(agent.run(&program, arguments));
        assert!(!made.exists(), "{program} {arguments:?} ran");
    }
    // A shell is on the list. What it starts is judged anew.
    for line in [
        format!("exec {touch} {file}"),
        format!("cd /usr/bin && ./touch {file}"),
        format!("exec 9<{touch}; /proc/self/fd/9 {file}"),
        format!("({touch} {file} &) ; wait"),
        at("shell-script"),
    ] {
        agent.run("/bin/sh", &["-c", &line]).expect("a shell runs");
        assert!(!made.exists(), "{line}: it ran");
    }
    allowed(agent.run("/bin/sh", &["-c", &format!("echo > {file}")]));
    assert!(made.exists(), "the shell itself may write");
    fs::remove_file(made).expect("remove");

    let from_memory = Act::RunFromMemory {
        program: "/usr/bin/cp".into(),
        argv: ["cp", "/etc/passwd", file].map(Into::into).to_vec(),
    };
    let killed = denied(agent.act(&from_memory));
    assert!(!made.exists(), "a program ran from memory");
    let record = judged(&daemon, killed);
    assert_eq!(path_in(&record), "/memfd:program");
    assert_eq!(record.text("verdict.rule"), "default");
    assert_eq!(record.text("verdict.because"), "no rule allows it");
}

#[test]
fn no_user_namespace_puts_a_program_in_the_place_of_another() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", STRICT));
    let mut agent = workload.probe();
    let made = lab.directory().join("made");
    let mut mounted = |user_namespace| {
        agent.act(&Act::RunMounted {
            program: "/usr/bin/touch".into(),
            over: "/usr/bin/cp".into(),
            argv: ["cp", text(&made)].map(Into::into).to_vec(),
            user_namespace,
        })
    };
    let killed = denied(mounted(true));
    assert!(!made.exists(), "touch ran as cp");
    let record = judged(&daemon, killed);
    assert_eq!(path_in(&record), "/usr/bin/cp");
    assert_eq!(record.text("verdict.rule"), "builtin/user-mounts");

    // Who may mount for the whole host decides what a path is. README says so.
    allowed(mounted(false));
    assert!(made.exists());
}

#[test]
fn shadow_runs_what_it_would_have_denied() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let shadow = DENY.replacen("enforce", "shadow", 1);
    let daemon = lab.daemon(&lab.policy("agent", &shadow));
    let mut agent = workload.probe();
    let made = lab.directory().join("made");
    let ran = allowed(agent.run("/usr/bin/touch", &[text(&made)]));
    assert!(made.exists());
    let record = judged(&daemon, ran);
    assert_eq!(record.verdict(), "shadow");
    assert_eq!(record.text("verdict.rule"), "no-touch");
    assert_eq!(record.text("verdict.enforcement"), "");

    // The same workload, told to enforce, does not.
    daemon.change_policy(&lab.policy("agent", DENY));
    fs::remove_file(&made).expect("remove");
    denied(agent.run("/usr/bin/touch", &[text(&made)]));
    assert!(!made.exists());

    daemon.change_policy(&lab.policy("agent", &DENY.replacen("enforce", "observe", 1)));
    let ran = allowed(agent.run("/usr/bin/touch", &[text(&made)]));
    let record = judged(&daemon, ran);
    assert_eq!(record.verdict(), "allow");
    assert_eq!(record.text("verdict.mode"), "observe");
}

#[test]
fn outside_the_workload_nothing_is_denied() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    let made = lab.directory().join("made");
    denied(agent.run("/usr/bin/touch", &[text(&made)]));
    allowed(lab.outsider().run("/usr/bin/touch", &[text(&made)]));
    assert!(made.exists());
}

#[test]
fn explain_says_what_the_kernel_does() {
    let lab = Lab::new();
    let daemon = lab.daemon(&lab.policy("agent", DENY));
    let explain = |command: &[&str]| {
        let options = ["policy", "explain", "agent", "--output", "json", "--"];
        let answer = daemon.succeed(&[&options, command].concat());
        serde_json::from_slice::<Value>(&answer.stdout).expect("JSON")
    };
    let said = explain(&["touch", "made"]);
    assert_eq!(
        (&said["verdict"], &said["rule"]),
        (&"deny".into(), &"no-touch".into())
    );
    assert_eq!(said["because"], "files are made by people");
    let said = explain(&["kubectl", "delete", "pod"]);
    assert_eq!(
        (&said["verdict"], &said["rule"]),
        (&"deny".into(), &"no-deletes".into())
    );
    let said = explain(&["true"]);
    assert_eq!(
        (&said["verdict"], &said["rule"]),
        (&"allow".into(), &"default".into())
    );
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The command was killed or refused; its pid, 0 if there was none.
#[track_caller]
fn denied(outcome: Outcome) -> u32 {
    match outcome {
        Ok(done) => {
            assert_eq!(done.value & 0x7f, 9, "it ran: {done:?}");
            done.pid
        }
        Err(failure) => {
            assert_eq!(failure.errno, libc::EPERM, "{failure:?}");
            0
        }
    }
}

/// The command ran and ended well; its pid.
#[track_caller]
fn allowed(outcome: Outcome) -> u32 {
    let done = outcome.expect("it runs");
    assert_eq!(done.value, 0, "a wait status of {:#x}", done.value);
    done.pid
}

/// The record of this process's exec; for 0, of one that was refused.
fn judged(daemon: &Daemon<'_>, pid: u32) -> Record {
    daemon.wait_for("the exec", |record| {
        let refused = record.text("verdict.enforcement") == "refused";
        record.is("exec") && (record.pid() == pid || pid == 0 && refused)
    })
}

/// The path of the program that was denied.
fn path_in(record: &Record) -> &str {
    match record.text("process.program.path") {
        "" => record.text("actor.process.file.path"),
        refused => refused,
    }
}
