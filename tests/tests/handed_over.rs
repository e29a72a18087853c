//! What a workload gets from others outside, and gives to them (bypasses 6 and 10).

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use hoop_tests::attempt::Attempt;
use hoop_tests::descriptor;
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Route, Stream};
use hoop_tests::wait;

const CONFINED: &str = "
mode: enforce
egress:
  default: deny
  allow:
    - { name: api, cidrs: [203.0.113.0/24], ports: [443] }
    - { name: proxy, cidrs: [127.0.0.1], ports: [3128] }
";

const ALLOWED: &str = "203.0.113.10:443";
const DENIED: &str = "198.51.100.66:443";

#[test]
fn a_socket_given_away_stays_the_workloads() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let mut agent = workload.probe();
    let socket = agent.open(Stream::Udp, false);
    let given = descriptor::copy_of(agent.pid(), socket).expect("root may");
    let given = UdpSocket::from(given);
    // Nobody reads what comes back, and the socket does not wait.
    given
        .send_to(b"given, and allowed.", at(ALLOWED))
        .expect("allowed");
    lab.far.wait_for("the datagram", |packet| {
        packet.carries("given, and allowed.")
    });
    let outcome = given.send_to(b"given, and denied.", at(DENIED));
    let refused = outcome.expect_err("the socket is the workload's");
    assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    assert!(!lab.far.saw(|packet| packet.destination == at(DENIED).ip()));
}

/// A limit without the LSM: nothing else sees one process reach into another.
#[test]
fn limit_a_socket_taken_from_a_process_outside_is_not_the_workloads() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let (mut agent, mut outsider) = (workload.probe(), lab.outsider());
    let fd = outsider.open(Stream::Udp, false);
    Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, &mut agent);
    let pid = outsider.pid();
    let outcome = agent.act(&Act::TakeDescriptor { pid, fd });
    if daemon.hook("ptrace") == "attached" {
        let failure = outcome.expect_err("the LSM refuses it");
        assert!(failure.is_denial(), "{failure:?}");
        return;
    }
    let taken = i32::try_from(outcome.expect("root may").value).expect("a descriptor");
    Attempt::datagram(taken, at(DENIED)).succeeds(&lab, &mut agent);
}

/// A limit, and by design: who may talk to a proxy has all that the proxy gives.
#[test]
fn limit_an_allowed_proxy_reaches_what_the_agent_may_not() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let proxy = lab.listen_udp_here(3128);
    let mut agent = workload.probe();
    Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, &mut agent);
    agent
        .reach(Route::UdpSendto, at("127.0.0.1:3128"), "by proxy.")
        .expect("the proxy is allowed");
    let heard = proxy.wait_for("by proxy.");
    pass_on(&lab, &heard.data);
    lab.far
        .wait_for("the message", |packet| packet.carries("by proxy."));
    // What is on record is the workload's side.
    daemon.wait_for("the connection to the proxy", |record| {
        record.is_about(at("127.0.0.1:3128").ip()) && record.verdict() == "allow"
    });
}

/// A limit where the policy does not deny the socket by its path, or the kernel has no LSM.
#[test]
fn limit_a_helper_behind_a_unix_socket_does_what_it_is_told() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let path = lab.directory().join("helper.sock");
    let helper = UnixDatagram::bind(&path).expect("a socket");
    helper
        .set_read_timeout(Some(wait::patience()))
        .expect("a timeout");
    let mut agent = workload.probe();
    agent.act(&Act::SendUnix { path }).expect("it is allowed");
    let mut order = [0; 16];
    let size = loop {
        match helper.recv(&mut order) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            received => break received.expect("an order"),
        }
    };
    let order = [b"ordered: ", &order[..size]].concat();
    pass_on(&lab, &order);
    lab.far
        .wait_for("the message", |packet| packet.carries("ordered: !"));
}

/// Sends to the denied destination from outside every workload.
fn pass_on(lab: &Lab, message: &[u8]) {
    let sent = lab.near().run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.send_to(message, at(DENIED))
    });
    sent.expect("an outsider reaches everything");
}

fn at(to: &str) -> SocketAddr {
    to.parse().expect("an address and a port")
}
