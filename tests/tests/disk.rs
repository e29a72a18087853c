//! A disk that takes nothing costs records, each of them counted, and nothing that is enforced.

use std::net::SocketAddr;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{self, Daemon, Record};
use hoop_tests::disk::{Disk, ReadOnly};
use hoop_tests::lab::{Lab, Workload, policy};
use hoop_tests::probe::{Act, Route};
use hoop_tests::wait;

const SPEC: &str = "mode: enforce\negress:\n  default: deny\n  allow:\n    \
                    - { name: api, cidrs: [203.0.113.0/24], ports: [443] }";
/// Three records each, of some hundred bytes: more than the 8 MiB that wait.
const SPAWNED: u32 = 12_000;
const ALLOWED: &str = "203.0.113.10:443";
const DENIED: &str = "198.51.100.66:443";

#[test]
fn on_a_full_disk_verdicts_stand_and_what_is_not_written_is_counted() {
    let lab = Lab::new();
    let disk = Disk::at(&daemon::state(&lab), 64 << 10);
    let _server = lab.far.listen_tcp(443);
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&every_workload(&lab));
    let mut agent = workload.probe();
    Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, &mut agent);
    let _ = daemon.settled();

    disk.fill();
    let registry = std::fs::read(daemon::state(&lab).join("registry.json")).expect("a registry");
    // One that comes meanwhile is governed as well.
    let second = lab.workload("second");
    daemon.wait_for_tag(&second);
    let mut late = second.probe();
    for _ in 0..100 {
        for agent in [&mut agent, &mut late] {
            Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, agent);
        }
        Attempt::by(Route::TcpConnect, at(ALLOWED)).succeeds(&lab, &mut agent);
    }
    wait::until("the log to fail", || log_fails(&daemon).then_some(()));
    let kept = std::fs::read(daemon::state(&lab).join("registry.json")).expect("a registry");
    assert!(serde_json::from_slice::<serde_json::Value>(&kept).is_ok() && kept == registry);
    // More than waits in memory, and none of it a verdict.
    agent.act(&Act::Spawn { count: SPAWNED }).expect("spawn");
    let _ = daemon.status();

    disk.free();
    Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, &mut late);
    wait::until("the log to work", || (!log_fails(&daemon)).then_some(()));
    let _ = daemon.settled();
    let numbered = count(&daemon, "numbered");
    let records = daemon.kept();
    assert_each_is_counted(&records, numbered);
    let unwritten = |it: &&Record| it.text("gap.cause").starts_with("audit log not written");
    assert!(records.iter().any(|record| unwritten(&record)));
    let denials = |workload: &Workload<'_>| {
        let path = workload.cgroup.path();
        let denials = records
            .iter()
            .filter(|it| it.verdict() == "deny" && it.is("connect"));
        denials
            .filter(|it| it.text("workload.cgroup") == path)
            .count()
    };
    assert_eq!(
        (denials(&workload), denials(&second)),
        (101, 101),
        "all verdicts waited"
    );
    assert!(verifies(&lab));
}

#[test]
fn in_a_directory_that_cannot_be_written_the_daemon_goes_on() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&every_workload(&lab));
    let mut agent = workload.probe();
    let read_only = ReadOnly::at(&daemon::state(&lab));
    let second = lab.workload("second");
    daemon.wait_for_tag(&second);
    let mut late = second.probe();
    for agent in [&mut agent, &mut late] {
        Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, agent);
    }
    let records = daemon.settled();
    assert_each_is_counted(&daemon.kept(), count(&daemon, "numbered"));
    let degraded = |it: &&Record| {
        it.activity() == "degraded"
            && it
                .text("lifecycle.detail")
                .contains("workloads are not saved")
    };
    assert!(records.iter().any(|record| degraded(&record)), "it is said");
    daemon.kill();

    // The next one does not start, says why, and leaves in force what is.
    let refused = daemon::run(&mut daemon::run_command(&lab));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("--state-dir"), "{said}");
    for agent in [&mut agent, &mut late] {
        Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, agent);
    }

    drop(read_only);
    let next = Daemon::start_again(&lab);
    let denial = |agent: &hoop_tests::prober::Prober| {
        let pid = agent.pid();
        next.wait_for("the denial", move |it| {
            it.verdict() == "deny" && it.pid() == pid
        })
    };
    assert_eq!(
        denial(&agent).text("workload.cgroup"),
        workload.cgroup.path()
    );
    assert_eq!(denial(&late).text("workload.cgroup"), second.cgroup.path());
}

/// Every number is there once, and every event of the kernel is in a record or in a gap.
#[track_caller]
fn assert_each_is_counted(records: &[Record], numbered: u64) {
    let numbers = records.iter().map(|record| record.number("number"));
    assert!(numbers.eq(1..=records.len() as u64), "no number is missing");
    let written = records
        .iter()
        .filter(|it| !it.at("origin").is_null())
        .count() as u64;
    let of_a_cpu = |it: &&Record| it.is("gap") && it.number("gap.first") > 0;
    let gaps = records.iter().filter(of_a_cpu);
    let missing: u64 = gaps.map(|record| record.number("gap.count")).sum();
    assert_eq!(
        written + missing,
        numbered,
        "{written} written, {missing} missing"
    );
}

/// Whether `audit verify` finds the log to be what was signed.
fn verifies(lab: &Lab) -> bool {
    let state = daemon::state(lab);
    let mut command = std::process::Command::new(daemon::program());
    command.args(["audit", "verify", "--state-dir"]).arg(state);
    daemon::run(&mut command).status.success()
}

fn log_fails(daemon: &Daemon<'_>) -> bool {
    daemon.status()["records"]["failing"] == true
}

fn count(daemon: &Daemon<'_>, name: &str) -> u64 {
    daemon.status()["events"][name].as_u64().unwrap_or(0)
}

fn every_workload(lab: &Lab) -> String {
    policy("agent", &format!("{}/*", lab.root.path()), SPEC)
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}
