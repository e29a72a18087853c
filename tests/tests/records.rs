//! The log of records: whole, numbered, private.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{Daemon, Record, kept, socket, state};
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Route};

const SPEC: &str = r"
mode: enforce
egress:
  default: deny
  allow:
    - { name: api, cidrs: [203.0.113.0/24], ports: [443], because: the model is there }
";

#[test]
fn the_log_holds_what_standard_output_showed() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut agent = workload.probe();
    agent.act(&Act::Spawn { count: 100 }).expect("spawn");
    let _ = daemon.settled();
    assert!(daemon.stop().success());
    assert_eq!(kept(&state(&lab)), daemon.records());
}

#[test]
fn records_are_private() {
    let lab = Lab::new();
    let _daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it exists").permissions().mode();
    let mut below = vec![state(&lab)];
    let mut files = 0;
    while let Some(directory) = below.pop() {
        assert_eq!(mode(&directory) & 0o077, 0, "{}", directory.display());
        for entry in fs::read_dir(directory).expect("it is ours") {
            let path = entry.expect("it is ours").path();
            if path.is_dir() {
                below.push(path);
            } else {
                files += 1;
                assert_eq!(mode(&path) & 0o777, 0o600, "{}", path.display());
            }
        }
    }
    assert!(files >= 3, "a log, its key, a registry");
    assert_eq!(mode(&socket(&lab)) & 0o777, 0o600);
}

#[test]
fn numbers_have_no_holes_and_go_on_after_a_restart() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    workload
        .probe()
        .act(&Act::Spawn { count: 50 })
        .expect("spawn");
    let _ = daemon.settled();
    assert!(daemon.stop().success());
    let mut daemon = Daemon::start_again(&lab);
    workload
        .probe()
        .act(&Act::Spawn { count: 50 })
        .expect("spawn");
    let _ = daemon.settled();
    assert!(daemon.stop().success());

    let records = kept(&state(&lab));
    let numbers: Vec<u64> = records
        .iter()
        .map(|record| record.number("number"))
        .collect();
    assert!(numbers.len() > 200);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let activities: Vec<&str> = records
        .iter()
        .filter(|record| record.is("agent"))
        .map(Record::activity)
        .filter(|activity| matches!(*activity, "started" | "stopped"))
        .collect();
    assert_eq!(activities, ["started", "stopped", "started", "stopped"]);
}

#[test]
fn every_cpu_numbers_its_events_without_holes() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", SPEC));
    workload
        .probe()
        .act(&Act::Spawn { count: 500 })
        .expect("spawn");
    let mut last = std::collections::HashMap::new();
    let mut origins: Vec<(u64, u64)> = daemon
        .settled()
        .iter()
        .filter(|record| !record.at("origin").is_null())
        .map(|record| {
            (
                record.number("origin.cpu"),
                record.number("origin.sequence"),
            )
        })
        .collect();
    origins.sort_unstable();
    assert!(origins.len() > 1000);
    for (cpu, sequence) in origins {
        let before: u64 = last.insert(cpu, sequence).unwrap_or(0);
        assert_eq!(sequence, before + 1, "on CPU {cpu}");
    }
}

#[test]
fn a_connection_is_told_whole() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", SPEC));
    let _server = lab.far.listen_tcp(443);
    let mut agent = workload.probe();
    let (allowed, denied): (SocketAddr, SocketAddr) = (
        "203.0.113.10:443".parse().expect("an address"),
        "[2001:db8:d000::66]:8443".parse().expect("an address"),
    );
    let before = boot_ns();
    Attempt::by(Route::TcpConnect, allowed).succeeds(&lab, &mut agent);
    Attempt::by(Route::TcpConnect, denied).is_denied(&lab, &mut agent);
    let after = boot_ns();
    let records = daemon.settled();
    for (to, verdict, rule, because) in [
        (allowed, "allow", "api", "the model is there"),
        (denied, "deny", "default", "no rule allows it"),
    ] {
        let about = |record: &&_| Record::is_about(record, to.ip());
        let record = records
            .iter()
            .filter(about)
            .find(|record| record.is("connect"));
        let record = record.unwrap_or_else(|| panic!("no record about {to}"));
        for (path, expected) in [
            ("verdict.result", verdict),
            ("verdict.rule", rule),
            ("verdict.because", because),
            ("verdict.mode", "enforce"),
            (
                "verdict.hook",
                if to.is_ipv4() { "connect4" } else { "connect6" },
            ),
            ("workload.cgroup", workload.cgroup.path()),
            ("workload.policy", "agent"),
            ("workload.identity", "spiffe://example.org/agents/agent"),
            ("workload.on_behalf_of", "user:alice@example.org"),
            ("network.connection_info.protocol_name", "tcp"),
            ("network.connection_info.direction", "Outbound"),
            ("actor.process.name", "prober"),
        ] {
            assert_eq!(record.text(path), expected, "{path} in {record:?}");
        }
        for (path, expected) in [
            ("class_uid", 4001),
            ("network.dst_endpoint.port", to.port().into()),
            ("network.connection_info.protocol_num", 6),
            ("workload.cgroup_id", workload.cgroup.id()),
            ("actor.process.pid", agent.pid().into()),
        ] {
            assert_eq!(record.number(path), expected, "{path} in {record:?}");
        }
        let time = record.number("boot_time_ns");
        assert!((before..=after).contains(&time), "{before} {time} {after}");
        let wall = record.text("time_dt");
        assert!(
            wall.ends_with('Z') && wall.contains('T') && wall.contains('.'),
            "{wall}"
        );
    }
}

fn boot_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time is the call's to fill in.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    assert_eq!(result, 0);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("after boot")
}
