//! What is no longer allowed ends, and a policy changes whole or not at all (bypass 7).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::write_policy;
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Route, Stream};

const KEPT: [&str; 2] = ["203.0.113.10:443", "[2001:db8:a000::10]:443"];
const REVOKED: [&str; 2] = ["198.51.100.66:443", "[2001:db8:d000::66]:443"];

const BOTH: &str = r#"
mode: enforce
egress:
  default: deny
  allow:
    - { name: kept, cidrs: [203.0.113.0/24, "2001:db8:a000::/36"], ports: [443] }
    - { name: revoked, cidrs: [198.51.100.0/24, "2001:db8:d000::/36"], ports: [443] }
"#;

const ONE: &str = r#"
mode: enforce
egress:
  default: deny
  allow:
    - { name: kept, cidrs: [203.0.113.0/24, "2001:db8:a000::/36"], ports: [443] }
"#;

#[test]
fn a_live_connection_ends_when_its_destination_is_revoked() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", BOTH));
    let _server = lab.far.listen_tcp(443);
    let mut agent = workload.probe();
    let kept = KEPT.map(|to| (agent.connected(Stream::Tcp, at(to)), at(to)));
    let revoked = REVOKED.map(|to| (agent.connected(Stream::Tcp, at(to)), at(to)));
    for (socket, to) in kept.into_iter().chain(revoked) {
        Attempt::on(socket, to).succeeds(&lab, &mut agent);
        agent.receive(socket).expect("the echo");
    }

    daemon.change_policy(&lab.policy("agent", ONE));
    for (socket, to) in revoked {
        let started = Instant::now();
        let attempt = Attempt::on(socket, to);
        // The send may only fill a buffer; then the error waits for the next call.
        let ended = match attempt.make(&mut agent) {
            Ok(_) => agent
                .receive(socket)
                .expect_err("an error, not an end of file"),
            Err(ended) => ended,
        };
        assert_ne!(ended.errno, libc::ETIMEDOUT, "{to} hangs");
        assert!(started.elapsed() < Duration::from_secs(4));
        assert!(
            !lab.far.saw(|packet| packet.carries(&attempt.text)),
            "{attempt:?}"
        );
        daemon.wait_for("the end of the connection", |record| {
            record.is("reset") && record.is_about(to.ip()) && record.pid() == agent.pid()
        });
    }
    for (socket, to) in kept {
        Attempt::on(socket, to).succeeds(&lab, &mut agent);
        agent.receive(socket).expect("the echo");
    }
}

#[test]
fn a_datagram_socket_sends_no_more_to_a_revoked_destination() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", BOTH));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let kept = KEPT.map(|to| (agent.connected(Stream::Udp, at(to)), at(to)));
    let revoked = REVOKED.map(|to| (agent.connected(Stream::Udp, at(to)), at(to)));
    for (socket, to) in kept.into_iter().chain(revoked) {
        Attempt::on(socket, to).succeeds(&lab, &mut agent);
    }
    daemon.change_policy(&lab.policy("agent", ONE));
    for (socket, to) in revoked {
        let outcome = Attempt::on(socket, to).stays(&lab, &mut agent);
        assert!(outcome.is_err(), "the program is told");
    }
    for (socket, to) in kept {
        Attempt::on(socket, to).succeeds(&lab, &mut agent);
    }
}

#[test]
fn a_change_allows_as_well() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", ONE));
    let _server = lab.far.listen_tcp(443);
    let mut agent = workload.probe();
    let attempt = || Attempt::by(Route::TcpConnect, at(REVOKED[0]));
    for _ in 0..3 {
        attempt().is_denied(&lab, &mut agent);
        daemon.change_policy(&lab.policy("agent", BOTH));
        attempt().succeeds(&lab, &mut agent);
        daemon.change_policy(&lab.policy("agent", ONE));
    }
}

#[test]
fn a_refused_policy_changes_nothing() {
    let lab = Lab::new();
    let (first, second) = (lab.workload("first"), lab.workload("second"));
    let both = |spec: &str, other: &str| {
        [lab.policy("first", spec), lab.policy("second", other)].join("---\n")
    };
    let daemon = lab.daemon(&both(ONE, ONE));
    let _server = lab.far.listen_tcp(443);
    let (mut first, mut second) = (first.probe(), second.probe());
    let epoch = daemon.status()["epoch"].clone();
    for broken in [
        "mode: enforce\negress: [",
        "mode: enforce\negres: {}",
        "mode: maybe",
    ] {
        let record = daemon.change_policy_in_vain(&both(BOTH, broken));
        assert!(
            record.text("lifecycle.detail").contains("policy.yaml:"),
            "{record:?}"
        );
        for agent in [&mut first, &mut second] {
            Attempt::by(Route::TcpConnect, at(KEPT[0])).succeeds(&lab, agent);
            Attempt::by(Route::TcpConnect, at(REVOKED[0])).is_denied(&lab, agent);
        }
        assert_eq!(daemon.status()["epoch"], epoch);
        assert_eq!(daemon.status()["state"], "enforcing");
    }
    daemon.change_policy(&both(BOTH, ONE));
    Attempt::by(Route::TcpConnect, at(REVOKED[0])).succeeds(&lab, &mut first);
    Attempt::by(Route::TcpConnect, at(REVOKED[0])).is_denied(&lab, &mut second);
}

#[test]
fn a_hangup_reads_the_policy_again() {
    let lab = Lab::new();
    let daemon = lab.daemon(&lab.policy("agent", ONE));
    let loaded = || {
        let records = daemon.records().into_iter();
        records
            .filter(|record| record.is("policy") && record.activity() == "loaded")
            .count()
    };
    let before = loaded();
    daemon.hang_up();
    hoop_tests::wait::until("another reading", || (loaded() > before).then_some(()));
}

#[test]
fn enforcement_outlives_the_daemon_and_the_next_one_adopts_it() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", ONE));
    let _server = lab.far.listen_tcp(443);
    let mut agent = workload.probe();
    let denied = || Attempt::by(Route::TcpConnect, at(REVOKED[0]));
    let allowed = || Attempt::by(Route::TcpConnect, at(KEPT[0]));
    denied().is_denied(&lab, &mut agent);

    daemon.kill();
    denied().is_denied(&lab, &mut agent);
    allowed().succeeds(&lab, &mut agent);

    let mut daemon = hoop_tests::daemon::Daemon::start_again(&lab);
    denied().is_denied(&lab, &mut agent);
    allowed().succeeds(&lab, &mut agent);
    daemon.wait_for("the denial after the return", |record| {
        record.verdict() == "deny" && record.pid() == agent.pid()
    });

    assert!(daemon.stop().success());
    denied().is_denied(&lab, &mut agent);

    // What changed while nobody ran is in force once somebody does.
    write_policy(&lab, &lab.policy("agent", BOTH));
    let _daemon = hoop_tests::daemon::Daemon::start_again(&lab);
    denied().succeeds(&lab, &mut agent);
}

fn at(to: &str) -> SocketAddr {
    to.parse().expect("an address and a port")
}
