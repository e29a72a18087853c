//! A Unix socket that the policy denies by its path is out of reach, whatever name leads to it.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use hoop_tests::daemon::{self, Daemon};
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Outcome};
use hoop_tests::prober::Prober;

fn policy(lab: &Lab, paths: &[&Path], rest: &str) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let spec = format!(
        "mode: enforce\nsockets: {{ unix: {{ deny: [\"{}\"] }} }}{rest}",
        paths.join("\", \"")
    );
    lab.policy("agent", &spec)
}

#[test]
fn a_kernel_that_cannot_keep_it_refuses_the_policy_unless_that_is_allowed() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let path = lab.directory().join("engine.sock");
    let _engine = UnixListener::bind(&path).expect("a socket");
    let daemon = lab.daemon(&lab.policy("agent", "mode: enforce"));
    if daemon.hook("unix_connect") == "attached" {
        daemon.change_policy(&policy(&lab, &[&path], ""));
        return;
    }
    let refused = daemon.change_policy_in_vain(&policy(&lab, &[&path], ""));
    let detail = refused.text("lifecycle.detail").to_owned();
    for words in [
        "policy.yaml:",
        "sockets.unix.deny",
        "unix_connect: ",
        "allowDegraded: true",
    ] {
        assert!(detail.contains(words), "{words} in {detail}");
    }
    assert_eq!(daemon.status()["epoch"], 1);

    daemon.change_policy(&policy(&lab, &[&path], "\nallowDegraded: true"));
    let degraded = daemon.wait_for("a degraded policy", |record| {
        record.activity() == "degraded"
    });
    assert_eq!(degraded.text("lifecycle.subject"), "agent");
    assert_eq!(daemon.status()["degraded"][0]["policy"], "agent");
    // In truth: nothing stops it here.
    connect(&mut workload.probe(), &path).expect("it is not denied");
    drop(daemon);

    // At the start it is the same, and what was in force stays in force.
    daemon::write_policy(&lab, &policy(&lab, &[&path], ""));
    let output = daemon::run(&mut daemon::run_command(&lab));
    assert_eq!(output.status.code(), Some(2), "{}", daemon::text(&output));
    let said = daemon::text(&output);
    assert!(said.contains("sockets.unix.deny"), "{said}");
}

#[test]
fn every_hook_is_in_a_record_and_in_status_with_its_state() {
    let lab = Lab::new();
    let daemon = lab.daemon(&lab.policy("agent", "mode: enforce"));
    let record = daemon.wait_for("hooks", |record| record.activity() == "hooks");
    let status = daemon.status();
    assert_eq!(record.at("lifecycle.hooks"), &status["hooks"]);
    let hooks = status["hooks"].as_array().expect("a list");
    assert!(hooks.len() > 10, "{hooks:?}");
    for hook in hooks {
        let state = hook["state"].as_str().expect("a state");
        let why = ["spare", "refused"].contains(&state);
        assert_eq!(hook["reason"].is_string(), why, "{hook}");
        assert_eq!(hook["lost"].is_string(), state == "refused", "{hook}");
    }
    assert_eq!(daemon.hook("connect4"), "attached");
    assert_eq!(daemon.hook("exit"), "observe-only");
}

#[test]
fn a_denied_socket_is_out_of_reach_by_every_name() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let directory = lab.directory();
    let (denied, other) = (directory.join("engine.sock"), directory.join("other.sock"));
    let engine = UnixListener::bind(&denied).expect("a socket");
    let _other = UnixListener::bind(&other).expect("a socket");
    let daemon = lab.daemon(&lab.policy("agent", "mode: enforce"));
    if !has_lsm(&daemon) {
        return;
    }
    let names = ["symlink.sock", "hardlink.sock"].map(|name| directory.join(name));
    std::os::unix::fs::symlink(&denied, &names[0]).expect("a symbolic link");
    fs::hard_link(&denied, &names[1]).expect("a hard link");
    let mut agent = workload.probe();
    for path in names.iter().chain([&denied, &other]) {
        connect(&mut agent, path).expect("nothing denies it yet");
    }

    daemon.change_policy(&policy(&lab, &[&denied], ""));
    for path in names.iter().chain([&denied]) {
        let outcome = connect(&mut agent, path);
        assert!(
            outcome
                .as_ref()
                .is_err_and(hoop_tests::probe::Failure::is_denial),
            "{}: {outcome:?}",
            path.display()
        );
    }
    connect(&mut agent, &other).expect("it is not denied");
    connect(&mut lab.outsider(), &denied).expect("an outsider is not governed");

    // One that is made anew at the same path is denied from the first moment.
    drop(engine);
    fs::remove_file(&denied).expect("remove the socket");
    let _engine = UnixListener::bind(&denied).expect("a socket");
    connect(&mut agent, &denied).expect_err("still denied");
    let datagrams = directory.join("log.sock");
    let _log = UnixDatagram::bind(&datagrams).expect("a socket");
    send(&mut agent, &datagrams).expect("it is not denied");
    daemon.change_policy(&policy(&lab, &[&datagrams], ""));
    send(&mut agent, &datagrams).expect_err("denied");
    connect(&mut agent, &denied).expect("not denied any more");

    let records = daemon.settled();
    let denials: Vec<_> = records
        .iter()
        .filter(|record| record.verdict() == "deny")
        .collect();
    assert_eq!(denials.len(), 5, "{denials:#?}");
    for denial in denials {
        assert_eq!(denial.text("verdict.rule"), "builtin/unix", "{denial:?}");
        assert_eq!(denial.text("verdict.enforcement"), "refused", "{denial:?}");
        assert!(
            denial.text("verdict.because").contains(".sock"),
            "{denial:?}"
        );
    }
}

fn has_lsm(daemon: &Daemon<'_>) -> bool {
    daemon.hook("unix_connect") == "attached" && daemon.hook("unix_send") == "attached"
}

fn connect(prober: &mut Prober, path: &Path) -> Outcome {
    prober.act(&Act::ConnectUnix {
        path: path.to_owned(),
    })
}

fn send(prober: &mut Prober, path: &Path) -> Outcome {
    prober.act(&Act::SendUnix {
        path: path.to_owned(),
    })
}
