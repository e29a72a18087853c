//! A socket that is older than the tag is governed like any other (bypass 6).

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use hoop_tests::attempt::Attempt;
use hoop_tests::lab::{Lab, policy};
use hoop_tests::probe::{Route, Step, Stream};

const ALLOWED: [&str; 2] = ["203.0.113.10:443", "[2001:db8:a000::10]:443"];
const DENIED: [&str; 2] = ["198.51.100.66:443", "[2001:db8:d000::66]:443"];

#[test]
fn an_open_connection_is_ended_when_its_cgroup_is_tagged() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&by_hand());
    let _server = lab.far.listen_tcp(443);
    let mut agent = workload.probe();
    let denied = DENIED.map(|to| (agent.connected(Stream::Tcp, at(to)), at(to)));
    let allowed = ALLOWED.map(|to| (agent.connected(Stream::Tcp, at(to)), at(to)));
    for (socket, to) in denied.into_iter().chain(allowed) {
        Attempt::on(socket, to).succeeds(&lab, &mut agent);
        agent.receive(socket).expect("the echo");
    }

    daemon.tag(&workload, "agent");
    for (socket, to) in denied {
        let attempt = Attempt::on(socket, to);
        // The send may only fill a buffer; then the error waits for the next call.
        let ended = match attempt.make(&mut agent) {
            Ok(_) => agent
                .receive(socket)
                .expect_err("an error, not an end of file"),
            Err(ended) => ended,
        };
        assert_ne!(ended.errno, libc::ETIMEDOUT, "{to} hangs");
        assert!(
            !lab.far.saw(|packet| packet.carries(&attempt.text)),
            "{attempt:?}"
        );
        daemon.wait_for("the end of the connection", |record| {
            record.is("reset") && record.is_about(to.ip())
        });
    }
    for (socket, to) in allowed {
        Attempt::on(socket, to).succeeds(&lab, &mut agent);
        agent.receive(socket).expect("the echo");
    }
}

#[test]
fn an_open_datagram_socket_sends_no_more() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&by_hand());
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let connected = DENIED.map(|to| (agent.connected(Stream::Udp, at(to)), at(to)));
    let open = DENIED.map(|to| (agent.open(Stream::Udp, at(to).is_ipv6()), at(to)));
    let allowed = ALLOWED.map(|to| (agent.connected(Stream::Udp, at(to)), at(to)));
    for (socket, to) in connected.into_iter().chain(allowed) {
        Attempt::on(socket, to).succeeds(&lab, &mut agent);
    }
    for (socket, to) in open {
        Attempt::datagram(socket, to).succeeds(&lab, &mut agent);
    }

    daemon.tag(&workload, "agent");
    for (socket, to) in connected {
        let outcome = Attempt::on(socket, to).stays(&lab, &mut agent);
        assert!(outcome.is_err(), "the program is told");
    }
    for (socket, to) in open {
        Attempt::datagram(socket, to).is_denied(&lab, &mut agent);
    }
    for (socket, to) in allowed {
        Attempt::on(socket, to).succeeds(&lab, &mut agent);
    }
}

#[test]
fn a_socket_inherited_over_exec_is_the_workloads() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&by_hand());
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let (denied, allowed) = (at(DENIED[0]), at(ALLOWED[0]));
    let old = agent.connected(Stream::Udp, denied);
    let open = agent.open(Stream::Udp, false);
    Attempt::on(old, denied)
        .after(&[Step::Exec])
        .succeeds(&lab, &mut agent);

    daemon.tag(&workload, "agent");
    let outcome = Attempt::on(old, denied)
        .after(&[Step::Exec])
        .stays(&lab, &mut agent);
    assert!(outcome.is_err());
    Attempt::datagram(open, denied)
        .after(&[Step::Exec])
        .is_denied(&lab, &mut agent);
    Attempt::datagram(open, allowed)
        .after(&[Step::Exec])
        .succeeds(&lab, &mut agent);
}

#[test]
fn a_tag_taken_away_sets_free() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&by_hand());
    let _server = lab.far.listen_tcp(443);
    let mut agent = workload.probe();
    let attempt = || Attempt::by(Route::TcpConnect, at(DENIED[0]));
    daemon.tag(&workload, "agent");
    attempt().is_denied(&lab, &mut agent);
    daemon.untag(&workload);
    attempt().succeeds(&lab, &mut agent);
    daemon.tag(&workload, "agent");
    attempt().is_denied(&lab, &mut agent);
}

/// A limit, shown so that it is known when it falls: the kernel counts a socket to the cgroup that
/// made it, and every hook that a cgroup has goes by that. Only the LSM sees a socket change hands
/// (`file_receive`).
#[test]
fn limit_a_socket_passed_in_belongs_to_who_made_it() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&by_hand());
    daemon.tag(&workload, "agent");
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let given = lab
        .near()
        .run(|| std::net::UdpSocket::bind("0.0.0.0:0"))
        .expect("bind");
    let path = lab.directory().join("pass.sock");
    let socket = hoop_tests::prober::pass(&mut agent, &path, given.as_fd());
    Attempt::datagram(socket, at(DENIED[0])).succeeds(&lab, &mut agent);
    let own = agent.open(Stream::Udp, false);
    Attempt::datagram(own, at(DENIED[0])).is_denied(&lab, &mut agent);
}

/// A policy that tags nothing by itself.
fn by_hand() -> String {
    policy(
        "agent",
        "/hoop-test-nothing",
        r#"
mode: enforce
egress:
  default: deny
  allow:
    - { name: api, cidrs: [203.0.113.0/24, "2001:db8:a000::/36"], ports: [443] }
"#,
    )
}

fn at(to: &str) -> SocketAddr {
    to.parse().expect("an address and a port")
}
