//! An agent reaches only what its policy allows, by whatever route (bypasses 1 to 4, 11, 12).

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use hoop_tests::attempt::Attempt;
use hoop_tests::lab::{FAR_LINK_LOCAL, Lab, NEAR_INTERFACE};
use hoop_tests::packet;
use hoop_tests::probe::{Act, Route, Stream};

/// Denies whatever it does not name.
const CONFINED: &str = r#"
mode: enforce
sockets: { allow: [tcp, udp, unix, icmp, raw] }
egress:
  default: deny
  allow:
    - { name: api, cidrs: [203.0.113.0/24, "2001:db8:a000::/36"], ports: [443] }
    - { name: web, cidrs: [198.51.100.8/32, "2001:db8:b000::8/128"], protocol: tcp, ports: [443] }
    - { name: ping, cidrs: [203.0.113.0/24, "2001:db8:a000::/36"], protocol: icmp }
"#;

/// Allows everything, and still judges it.
const FREE: &str = r"
mode: enforce
sockets: { allow: [tcp, udp, unix, icmp, raw] }
egress:
  default: allow
";

#[test]
fn every_route_ends_at_the_policy() {
    let lab = Lab::new();
    let workload = lab.workload("confined");
    let daemon = lab.daemon(&lab.policy("confined", CONFINED));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let mut agent = workload.probe();

    let routes = [Route::TCP, Route::UDP, Route::RAW, Route::ICMP].concat();
    let mut denied = Vec::new();
    for (number, route) in (1..).zip(routes) {
        for (allowed, forbidden) in [
            ("203.0.113.10", IpAddr::from([198, 51, 100, 100 + number])),
            ("2001:db8:a000::10", ip(&format!("2001:db8:d000::{number}"))),
        ] {
            if route.leads_to(forbidden) {
                Attempt::by(route, at(allowed, 443)).succeeds(&lab, &mut agent);
                Attempt::by(route, SocketAddr::new(forbidden, 443)).is_denied(&lab, &mut agent);
                denied.push((route, forbidden));
            }
        }
    }

    let records = daemon.settled();
    for (route, forbidden) in denied {
        let record = records.iter().find(|record| record.is_about(forbidden));
        let record = record.unwrap_or_else(|| panic!("{route:?} to {forbidden} left no record"));
        assert_eq!(record.verdict(), "deny", "{record:?}");
        assert_eq!(record.text("verdict.rule"), "default", "{record:?}");
        assert_ne!(record.text("verdict.because"), "", "{record:?}");
        assert_eq!(record.text("workload.policy"), "confined", "{record:?}");
        assert_eq!(record.pid(), agent.pid(), "{record:?}");
    }
}

#[test]
fn one_call_to_many_destinations_ends_at_the_first_that_is_denied() {
    let lab = Lab::new();
    let workload = lab.workload("confined");
    let _daemon = lab.daemon(&lab.policy("confined", CONFINED));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    for (first, forbidden, last) in [
        ("203.0.113.1", "198.51.100.1", "203.0.113.2"),
        ("2001:db8:a000::1", "2001:db8:d000::1", "2001:db8:a000::2"),
    ] {
        let to = [first, forbidden, last].map(|address| at(address, 443));
        let text = format!("many, {first} first.");
        let sent = agent.act(&Act::SendMany {
            to: to.to_vec(),
            text: text.clone(),
        });
        assert_eq!(sent.expect("the first one is allowed").value, 1);
        let arrived = lab.far.arrived();
        let carriers: Vec<IpAddr> = arrived
            .iter()
            .filter(|packet| packet.carries(&text))
            .map(|packet| packet.destination)
            .collect();
        assert_eq!(carriers, [to[0].ip()]);
    }
}

#[test]
fn a_socket_that_reached_an_allowed_destination_does_not_reach_another() {
    let lab = Lab::new();
    let workload = lab.workload("confined");
    let _daemon = lab.daemon(&lab.policy("confined", CONFINED));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    for (allowed, forbidden) in PAIRS {
        let (allowed, forbidden) = (at(allowed, 443), at(forbidden, 443));
        let socket = agent.open(Stream::Udp, allowed.is_ipv6());
        Attempt::datagram(socket, allowed).succeeds(&lab, &mut agent);
        Attempt::datagram(socket, forbidden).is_denied(&lab, &mut agent);
        Attempt::datagram(socket, allowed).succeeds(&lab, &mut agent);

        let socket = agent.connected(Stream::Udp, allowed);
        Attempt::on(socket, allowed).succeeds(&lab, &mut agent);
        let other = agent.act(&Act::Connect {
            fd: socket,
            to: forbidden,
        });
        assert!(other.is_err_and(|failure| failure.is_denial()));
        // A refused connect leaves the old destination, or none.
        let _ = Attempt::on(socket, allowed).make(&mut agent);
        let arrived = lab.far.arrived();
        assert!(
            arrived
                .iter()
                .all(|packet| packet.destination != forbidden.ip())
        );
    }
}

#[test]
fn the_port_beside_the_allowed_one_is_another_destination() {
    let lab = Lab::new();
    let workload = lab.workload("confined");
    let _daemon = lab.daemon(&lab.policy("confined", CONFINED));
    let mut agent = workload.probe();
    let _servers =
        [442, 443, 444, 80].map(|port| (lab.far.listen_tcp(port), lab.far.listen_udp(port)));
    for address in ["203.0.113.10", "2001:db8:a000::10"] {
        for route in [Route::TcpConnect, Route::UdpSendto] {
            Attempt::by(route, at(address, 443)).succeeds(&lab, &mut agent);
            for port in [442, 444, 80] {
                Attempt::by(route, at(address, port)).is_denied(&lab, &mut agent);
            }
        }
    }
}

#[test]
fn another_protocol_on_the_allowed_port_is_another_destination() {
    let lab = Lab::new();
    let workload = lab.workload("confined");
    let _daemon = lab.daemon(&lab.policy("confined", CONFINED));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let mut agent = workload.probe();
    for address in ["198.51.100.8", "2001:db8:b000::8"] {
        let web = at(address, 443);
        for &route in Route::TCP.iter().filter(|route| route.leads_to(web.ip())) {
            Attempt::by(route, web).succeeds(&lab, &mut agent);
        }
        let others = [Route::UDP, Route::RAW, Route::ICMP].concat();
        for route in others.into_iter().filter(|route| route.leads_to(web.ip())) {
            Attempt::by(route, web).is_denied(&lab, &mut agent);
        }
    }
}

#[test]
fn addresses_that_many_hosts_listen_on_are_destinations_like_any_other() {
    let lab = Lab::new();
    let (confined, free) = (lab.workload("confined"), lab.workload("free"));
    let policies = [lab.policy("confined", CONFINED), lab.policy("free", FREE)];
    let _daemon = lab.daemon(&policies.join("---\n"));
    let (mut confined, mut free) = (confined.probe(), free.probe());
    let scope = lab
        .near()
        .run(|| nix::net::if_::if_nametoindex(NEAR_INTERFACE))
        .expect("near0");
    let scoped = |address: Ipv6Addr| SocketAddr::V6(SocketAddrV6::new(address, 443, 0, scope));
    for to in [
        at("192.0.2.255", 443),
        at("255.255.255.255", 443),
        at("224.0.0.251", 443),
        at("239.1.2.3", 443),
        scoped("ff02::fb".parse().expect("an address")),
        scoped("ff05::1234".parse().expect("an address")),
        scoped(FAR_LINK_LOCAL),
    ] {
        for route in [
            Route::UdpSendto,
            Route::UdpSendmsg,
            Route::UdpSendmmsg,
            Route::UdpRing,
        ] {
            Attempt::by(route, to).succeeds(&lab, &mut free);
            Attempt::by(route, to).is_denied(&lab, &mut confined);
        }
    }
    let _server = lab.far.listen_tcp(443);
    Attempt::by(Route::TcpConnect, scoped(FAR_LINK_LOCAL)).succeeds(&lab, &mut free);
    Attempt::by(Route::TcpConnect, scoped(FAR_LINK_LOCAL)).is_denied(&lab, &mut confined);
}

#[test]
fn the_unspecified_address_is_the_local_host() {
    const LOCAL_DENIED: &str = r#"
mode: enforce
egress:
  default: allow
  deny:
    - { name: local, cidrs: [127.0.0.0/8, "::1/128"], because: services of the node }
"#;
    let lab = Lab::new();
    let (confined, free) = (lab.workload("confined"), lab.workload("free"));
    let policies = [
        lab.policy("confined", LOCAL_DENIED),
        lab.policy("free", FREE),
    ];
    let _daemon = lab.daemon(&policies.join("---\n"));
    let (mut confined, mut free) = (confined.probe(), free.probe());
    let (tcp, udp) = (lab.listen_tcp_here(8080), lab.listen_udp_here(8080));
    for address in [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
    ] {
        let to = at(address, 8080);
        for (route, server) in [
            (Route::TcpConnect, &tcp),
            (Route::TcpFastOpen, &tcp),
            (Route::UdpConnect, &udp),
            (Route::UdpSendto, &udp),
        ] {
            let attempt = Attempt::by(route, to);
            let outcome = attempt.make(&mut confined);
            assert!(
                outcome.is_err_and(|failure| failure.is_denial()),
                "{attempt:?}"
            );
            let control = Attempt::by(route, to);
            control
                .make(&mut free)
                .unwrap_or_else(|failure| panic!("{control:?}: {failure:?}"));
            // The same queue: whatever the first attempt sent would be here by now.
            server.wait_for(&control.text);
            assert!(!server.heard_of(&attempt.text), "{attempt:?}");
        }
    }
}

#[test]
fn a_tunnel_is_judged_by_its_own_protocol() {
    let lab = Lab::new();
    let (confined, free) = (lab.workload("confined"), lab.workload("free"));
    let policies = [lab.policy("confined", CONFINED), lab.policy("free", FREE)];
    let _daemon = lab.daemon(&policies.join("---\n"));
    let (mut confined, mut free) = (confined.probe(), free.probe());
    let (v4, v6) = ("203.0.113.20", "2001:db8:a000::20");
    for (outer, protocol, inner) in [
        (v4, packet::IPIP, "198.51.100.66"),
        (v4, packet::IPV6, "2001:db8:d000::66"),
        (v4, packet::GRE, "198.51.100.66"),
        (v6, packet::IPIP, "198.51.100.66"),
        (v6, packet::IPV6, "2001:db8:d000::66"),
        (v6, packet::GRE, "2001:db8:d000::66"),
    ] {
        let attempt = || Attempt::tunnel(protocol, ip(outer), at(inner, 443));
        attempt().succeeds(&lab, &mut free);
        attempt().is_denied(&lab, &mut confined);
    }
}

#[test]
fn a_packet_that_hides_its_destination_does_not_leave() {
    let lab = Lab::new();
    let workload = lab.workload("confined");
    let _daemon = lab.daemon(&lab.policy("confined", CONFINED));
    let (mut agent, mut outsider) = (workload.probe(), lab.outsider());
    let allowed = at("203.0.113.10", 443);
    // A first hop that is allowed does not make the route so: it says where the packet goes next.
    for via in ["198.51.100.66", "203.0.113.11"] {
        let route = || Attempt::source_route(ip(via), allowed);
        route().succeeds(&lab, &mut outsider);
        route().is_denied(&lab, &mut agent);
    }
    let fragments = || Attempt::by(Route::RawFragments, at("198.51.100.66", 443));
    fragments().succeeds(&lab, &mut outsider);
    fragments().is_denied(&lab, &mut agent);
}

#[test]
fn a_long_datagram_is_judged_whole() {
    let lab = Lab::new();
    let workload = lab.workload("confined");
    let _daemon = lab.daemon(&lab.policy("confined", CONFINED));
    let server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    // The kernel cuts it into fragments after it was judged.
    let text = format!("{}the end", "x".repeat(8000));
    for (allowed, forbidden) in PAIRS {
        agent
            .reach(Route::UdpSendto, at(allowed, 443), &text)
            .expect("sent");
        let denied = agent.reach(Route::UdpSendto, at(forbidden, 443), &text);
        assert!(denied.is_err_and(|failure| failure.is_denial()));
        assert!(!lab.far.saw(|packet| packet.destination == ip(forbidden)));
    }
    server.wait_for("the end");
}

/// Destinations that [`CONFINED`] allows and does not allow.
const PAIRS: [(&str, &str); 2] = [
    ("203.0.113.10", "198.51.100.66"),
    ("2001:db8:a000::10", "2001:db8:d000::66"),
];

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}
