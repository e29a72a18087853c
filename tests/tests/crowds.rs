//! Many of everything: processes, cgroups, workloads. Nothing is attributed wrongly, and what is lost
//! is counted.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{Daemon, Record};
use hoop_tests::lab::{Lab, policy};
use hoop_tests::probe::{Act, Route};
use hoop_tests::{long, wait};

const SPEC: &str = "mode: enforce\negress:\n  default: deny\n  allow:\n    \
                    - { name: api, cidrs: [203.0.113.0/24], ports: [443] }";
const ALLOWED: &str = "203.0.113.10:443";
const DENIED: &str = "198.51.100.66:443";

#[test]
fn ten_thousand_processes_that_are_gone_at_once_are_recorded_or_counted() {
    const PARENTS: u32 = 4;
    const EACH: u32 = 2_500;
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut parents: Vec<_> = (0..PARENTS).map(|_| workload.probe()).collect();
    let start = Instant::now();
    for parent in &mut parents {
        parent.order(&Act::Spawn { count: EACH });
    }
    for parent in &mut parents {
        parent.answer().expect("spawn");
    }
    eprintln!("{} processes in {:?}", PARENTS * EACH, start.elapsed());

    let [numbered, lost] = settle(&daemon);
    let records = daemon.kept();
    assert_eq!(counted(&records), [numbered, lost]);
    let pids: BTreeSet<u64> = parents.iter().map(|it| it.pid().into()).collect();
    let of = |kind: &'static str| records.iter().filter(move |it| it.is(kind));
    let mut forks = 0;
    for fork in of("fork") {
        assert_eq!(fork.text("workload.cgroup"), workload.cgroup.path());
        assert!(
            pids.contains(&fork.number("actor.process.parent_process.pid")),
            "{fork:?}"
        );
        forks += 1;
    }
    let exits = of("exit").count() as u64;
    let all = u64::from(PARENTS * EACH);
    eprintln!("{forks} forks, {exits} exits, {lost} lost");
    assert!(forks <= all && exits <= all);
    assert!(forks + exits + lost >= 2 * all);
    // Those whose fork was lost name no parent, or the right one.
    for exit in of("exit") {
        let parent = exit.number("actor.process.parent_process.pid");
        assert!(pids.contains(&parent) || parent == 0 && !exit.text("attribution").is_empty());
    }
}

#[test]
fn nested_cgroups_do_not_hide_a_process() {
    // The kernel takes time by the square of it.
    let depth = long::either(1_000, 5_000);
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let mut agent = workload.probe();
    let nest = workload.cgroup.nest(depth);
    nest.adopt(agent.pid());
    let is_governed = |agent: &mut _| {
        for route in [Route::TcpConnect, Route::UdpSendto, Route::RawUdp] {
            Attempt::by(route, at(DENIED)).is_denied(&lab, agent);
        }
        Attempt::by(Route::TcpConnect, at(ALLOWED)).succeeds(&lab, agent);
    };
    is_governed(&mut agent);
    let [numbered, lost] = settle(&daemon);
    assert_eq!((counted(&daemon.kept()), lost), ([numbered, 0], 0));
    daemon.kill();

    // Taking over walks all of them, and finds the process that was there first.
    let next = Daemon::start_again(&lab);
    is_governed(&mut agent);
    let denials = wait::until("the denials", || {
        let denied = |it: &Record| it.verdict() == "deny" && it.pid() == agent.pid();
        let denials: Vec<_> = next.records().into_iter().filter(denied).collect();
        (denials.len() >= 3).then_some(denials)
    });
    let program = hoop_tests::prober::program();
    for denial in denials {
        assert_eq!(denial.text("workload.cgroup"), workload.cgroup.path());
        let path = denial.text("actor.process.file.path").to_owned();
        assert_eq!(path, program.to_str().expect("UTF-8"), "{denial:?}");
    }
}

#[test]
fn workloads_in_their_hundreds_are_each_their_own() {
    const ASKED: usize = 50;
    let count = long::either(250, 1_000);
    let lab = Lab::new();
    let workloads: Vec<_> = (0..count)
        .map(|number| lab.workload(&format!("w{number}")))
        .collect();
    let _server = lab.far.listen_tcp(443);
    let start = Instant::now();
    let daemon = lab.daemon(&policy("agent", &format!("{}/w*", lab.root.path()), SPEC));
    eprintln!("{count} workloads enforced after {:?}", start.elapsed());
    let listed = || {
        daemon
            .json(&["workload", "list"])
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(listed(), count);
    for workload in workloads.iter().step_by(count / ASKED) {
        let mut agent = workload.probe();
        Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, &mut agent);
        Attempt::by(Route::TcpConnect, at(ALLOWED)).succeeds(&lab, &mut agent);
        let pid = agent.pid();
        let denial = daemon.wait_for("the denial", |it| it.verdict() == "deny" && it.pid() == pid);
        assert_eq!(denial.text("workload.cgroup"), workload.cgroup.path());
    }
    drop(workloads);
    wait::until("the workloads to be released", || {
        (listed() == 0).then_some(())
    });
    let [numbered, lost] = settle(&daemon);
    assert_eq!(counted(&daemon.kept()), [numbered, lost]);
}

/// What the daemon says of the events that were numbered and lost, once it has caught up.
#[track_caller]
fn settle(daemon: &Daemon<'_>) -> [u64; 2] {
    let settled = wait::within(Duration::from_secs(120), || {
        let status = daemon.status();
        let count = |name: &str| status["events"][name].as_u64();
        let (numbered, lost) = (count("numbered")?, count("lost")?);
        (count("recorded")? + lost == numbered).then_some([numbered, lost])
    });
    settled.expect("the records catch up")
}

/// The same from the records: those that are written or counted, and those that are counted.
fn counted(records: &[Record]) -> [u64; 2] {
    let written = records
        .iter()
        .filter(|it| !it.at("origin").is_null())
        .count() as u64;
    let gaps = records.iter().filter(|record| record.is("gap"));
    let missing: u64 = gaps.map(|record| record.number("gap.count")).sum();
    [written + missing, missing]
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}
