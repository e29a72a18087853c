//! What is enforced outlives the daemon: it stands while none runs, the next one takes it over
//! without a gap, and only `uninstall` ends it.

use std::net::SocketAddr;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{self, Daemon, Record};
use hoop_tests::lab::{Lab, policy};
use hoop_tests::probe::Route;
use hoop_tests::wait;

const SPEC: &str = "mode: enforce\negress:\n  default: deny\n  allow:\n    \
                    - { name: api, cidrs: [203.0.113.0/24], ports: [443] }";
const ALLOWED: &str = "203.0.113.10:443";
const DENIED: &str = "198.51.100.66:443";

#[test]
fn enforcement_stands_while_no_daemon_runs() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let mut before = workload.probe();
    daemon.kill();
    // A process that starts while nobody watches is governed as well.
    let mut during = workload.probe();
    for agent in [&mut before, &mut during] {
        for route in [Route::TcpConnect, Route::UdpSendto, Route::RawUdp] {
            Attempt::by(route, at(DENIED)).is_denied(&lab, agent);
        }
        Attempt::by(Route::TcpConnect, at(ALLOWED)).succeeds(&lab, agent);
    }
}

#[test]
fn an_agent_that_kills_the_daemon_gains_nothing() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let _server = lab.far.listen_tcp(443);
    let mut agent = workload.probe();
    for signal in ["STOP", "KILL"] {
        // With the LSM the signal is refused; what counts is what the agent reaches then.
        let line = format!("kill -{signal} {}", daemon.pid());
        agent.run("/bin/sh", &["-c", &line]).expect("a shell");
        Attempt::by(Route::TcpConnect, at(DENIED)).is_denied(&lab, &mut agent);
        Attempt::by(Route::TcpConnect, at(ALLOWED)).succeeds(&lab, &mut agent);
    }
    daemon.kill();
    let next = Daemon::start_again(&lab);
    let settled = next.settled();
    let denials = settled.iter().filter(|it| it.verdict() == "deny");
    let agents: Vec<_> = denials.filter(|it| it.pid() == agent.pid()).collect();
    assert!(!agents.is_empty(), "the next daemon records what happened");
}

#[test]
fn what_happened_without_a_daemon_is_recorded_by_the_next() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut agent = workload.probe();
    let _ = daemon.settled();
    daemon.kill();
    let mut during = workload.probe();
    for agent in [&mut agent, &mut during] {
        Attempt::by(Route::UdpConnect, at(DENIED)).is_denied(&lab, agent);
    }

    let next = Daemon::start_again(&lab);
    let denials = wait::until("the denials", || {
        let denied = |record: &Record| record.verdict() == "deny";
        let denials: Vec<Record> = next.records().into_iter().filter(denied).collect();
        (denials.len() >= 2).then_some(denials)
    });
    let pids: Vec<u32> = denials.iter().map(Record::pid).collect();
    assert_eq!(pids, [agent.pid(), during.pid()]);
    for denial in &denials {
        // The numbers of rules and workloads kept their meaning.
        assert_eq!(denial.text("verdict.rule"), "default", "{denial:?}");
        assert_eq!(denial.text("workload.cgroup"), workload.cgroup.path());
    }
}

#[test]
fn the_next_daemon_takes_over_without_a_gap() {
    const TURNS: usize = 5;
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut agents = [workload.probe(), workload.probe()];
    for turn in 0..TURNS {
        // One tries while the daemon is killed and the next one starts; the other at every step.
        let order = hoop_tests::probe::Act::Flood {
            to: at(DENIED),
            processes: 1,
            each: 100_000,
        };
        agents[0].order(&order);
        if turn % 2 == 0 {
            daemon.kill();
        } else {
            assert!(daemon.stop().success());
        }
        Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, &mut agents[1]);
        daemon = Daemon::start_again(&lab);
        Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, &mut agents[1]);
        let _ = agents[0].answer_within(std::time::Duration::from_secs(120));
    }
    let denied = at(DENIED).ip();
    assert!(!lab.far.saw(|packet| packet.destination == denied));
}

#[test]
fn a_tag_by_hand_is_taken_over_too() {
    let lab = Lab::new();
    let workload = lab.workload("by-hand");
    let mut daemon = lab.daemon(&policy("agent", "/hoop-test-nothing", SPEC));
    daemon.tag(&workload, "agent");
    let mut agent = workload.probe();
    daemon.kill();
    let next = Daemon::start_again(&lab);
    let listed = next.json(&["workload", "list"]).to_string();
    assert!(listed.contains(workload.cgroup.path()), "{listed}");
    Attempt::by(Route::UdpConnect, at(DENIED)).is_denied(&lab, &mut agent);
    let record = next.wait_for("the denial", |record| record.verdict() == "deny");
    assert_eq!(record.pid(), agent.pid());
}

#[test]
fn uninstall_sets_free_and_keeps_the_records() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut agent = workload.probe();
    Attempt::by(Route::UdpConnect, at(DENIED)).is_denied(&lab, &mut agent);
    let _ = daemon.settled();
    assert!(daemon.stop().success());
    let kept = daemon.kept().len();
    assert!(kept > 0);
    daemon::uninstall(&lab).expect("uninstall");
    let _server = lab.far.listen_udp(443);
    Attempt::by(Route::UdpSendto, at(DENIED)).succeeds(&lab, &mut agent);
    assert_eq!(daemon.kept().len(), kept);
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}
