//! The lab itself: every route works where nothing governs, and what arrives is seen.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use hoop_tests::lab::Lab;
use hoop_tests::packet::{self, Packet};
use hoop_tests::probe::{Act, Route, Step, Stream};

const V4: &str = "203.0.113.10";
const V6: &str = "2001:db8:a000::10";

#[test]
fn every_route_leads_to_the_far_side() {
    let lab = Lab::new();
    let _tcp = lab.far.listen_tcp(443);
    let _udp = lab.far.listen_udp(443);
    let mut prober = lab.outsider();
    let routes = [
        Route::TCP,
        Route::UDP,
        Route::RAW,
        Route::ICMP,
        &[Route::RawFragments, Route::Frame],
    ];
    for route in routes.concat() {
        for address in [V4, V6] {
            let to = SocketAddr::new(ip(address), 443);
            if !route.leads_to(to.ip()) {
                continue;
            }
            let text = format!("{route:?} to {address}.");
            let outcome = prober.reach(route, to, &text);
            assert!(outcome.is_ok(), "{text}: {outcome:?}");
            lab.far.wait_for(&text, |packet| {
                packet.destination == to.ip() && packet.carries(&text)
            });
        }
    }
}

#[test]
fn what_was_not_sent_is_known_not_to_have_arrived() {
    let lab = Lab::new();
    let _udp = lab.far.listen_udp(53);
    let mut prober = lab.outsider();
    for number in 0..50 {
        let text = format!("datagram {number}.");
        let seen = || lab.far.saw(|packet| packet.carries(&text));
        assert!(!seen());
        prober
            .reach(Route::UdpSendto, SocketAddr::new(ip(V4), 53), &text)
            .expect("sent");
        assert!(seen(), "{text}");
    }
}

#[test]
fn tunnels_and_source_routes_lead_where_they_say() {
    let lab = Lab::new();
    let mut prober = lab.outsider();
    let tunnels = [
        (V4, packet::IPIP, V4),
        (V4, packet::IPV6, V6),
        (V6, packet::IPV6, V6),
    ];
    for (outer, protocol, inner) in tunnels.into_iter().chain([(V4, packet::GRE, V6)]) {
        let text = format!("{inner} in {outer} by {protocol}.");
        let act = Act::Tunnel {
            protocol,
            outer: ip(outer),
            inner: SocketAddr::new(ip(inner), 443),
            text: text.clone(),
        };
        prober.act(&act).expect("sent");
        assert!(
            lab.far
                .saw(|packet| packet.protocol == protocol && packet.carries(&text))
        );
    }
    let via = ip("198.51.100.66");
    let act = Act::SourceRoute {
        via,
        to: SocketAddr::new(ip(V4), 443),
        text: "by way of.".to_owned(),
    };
    prober.act(&act).expect("sent");
    assert!(
        lab.far
            .saw(|packet| packet.destination == via && packet.carries("by way of."))
    );
}

#[test]
fn a_descendant_acts_after_its_steps() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _udp = lab.far.listen_udp(443);
    let to = SocketAddr::new(ip(V4), 443);
    let mut prober = workload.probe();
    let socket = prober.open(Stream::Udp, false);
    let nested = workload.cgroup.directory().join("nested");
    for (number, steps) in [
        vec![Step::Orphan, Step::Setsid],
        vec![Step::NewUser],
        vec![Step::MoveTo(nested)],
        vec![Step::MoveTo(lab.root.directory().join("elsewhere"))],
        vec![Step::Exec, Step::Become(65534), Step::Exec],
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("steps {number}.");
        let act = Act::SendTo {
            fd: socket,
            to,
            text: text.clone(),
        };
        let done = prober.after(&steps, act).expect("a descendant acts");
        assert_ne!(done.pid, prober.pid());
        assert!(lab.far.saw(|packet| packet.carries(&text)), "{steps:?}");
    }
}

#[test]
fn a_new_network_is_another_one() {
    let lab = Lab::new();
    let mut prober = lab.outsider();
    let act = Act::Reach {
        route: Route::UdpSendto,
        to: SocketAddr::new(ip(V4), 443),
        text: "nowhere".to_owned(),
    };
    let outcome = prober.after(&[Step::NewUser, Step::NewNetwork], act);
    assert_eq!(outcome.expect_err("no route").errno, libc::ENETUNREACH);
}

#[test]
fn a_socket_is_passed() {
    let lab = Lab::new();
    let path = lab.directory().join("pass.sock");
    let given = lab
        .near()
        .run(|| std::net::UdpSocket::bind("0.0.0.0:0"))
        .expect("bind");
    let mut prober = lab.outsider();
    let done = hoop_tests::prober::pass(&mut prober, &path, given.as_fd());
    let act = Act::SendTo {
        fd: done,
        to: SocketAddr::new(ip(V4), 443),
        text: "passed on.".to_owned(),
    };
    prober.act(&act).expect("sent");
    assert!(lab.far.saw(|packet| packet.carries("passed on.")));
}

#[test]
fn a_connection_answers_and_a_program_ends() {
    let lab = Lab::new();
    let server = lab.far.listen_tcp(7);
    let mut prober = lab.outsider();
    let socket = prober.connected(Stream::Tcp, SocketAddr::new(ip(V6), 7));
    prober.send(socket, "hello").expect("sent");
    assert_eq!(prober.receive(socket).expect("an echo").text, "hello");
    assert_eq!(server.wait_for("hello").local, SocketAddr::new(ip(V6), 7));

    assert_eq!(
        prober.run("/bin/sh", &["-c", "exit 3"]).expect("run").value,
        3 << 8
    );
    let missing = prober.act(&Act::Run {
        program: PathBuf::from("/nowhere"),
        argv: vec![b"/nowhere".to_vec()],
        directory: None,
        user: None,
    });
    assert_eq!(missing.expect_err("no program").errno, libc::ENOENT);
    assert_eq!(
        prober.act(&Act::Spawn { count: 50 }).expect("spawn").value,
        50
    );
    let flood = Act::Flood {
        to: SocketAddr::new(ip(V4), 9),
        processes: 3,
        each: 100,
    };
    assert_eq!(prober.act(&flood).expect("flood").value, 300);
    assert_eq!(prober.exit(7).code(), Some(7));
}

#[test]
fn many_destinations_are_aimed_at_in_one_go() {
    let lab = Lab::new();
    let mut prober = lab.outsider();
    let protocols = [
        packet::TCP,
        packet::UDP,
        packet::ICMP,
        packet::GRE,
        132,
        136,
    ];
    let at: Vec<_> = protocols
        .into_iter()
        .flat_map(|protocol| [V4, V6, "192.0.2.255"].map(|address| (protocol, ip(address))))
        .map(|(protocol, address)| (protocol, SocketAddr::new(address, 443)))
        .collect();
    let done = prober
        .act(&Act::Aim { at: at.clone() })
        .expect("an errno each");
    let errnos: Vec<&str> = done.text.split(' ').collect();
    assert_eq!(errnos.len(), at.len());
    for (errno, (protocol, to)) in errnos.into_iter().zip(at) {
        // TCP knows no broadcast.
        let broadcast = to.ip() == ip("192.0.2.255") && protocol == packet::TCP;
        assert_eq!(errno == "0", !broadcast, "{protocol} {to}: {errno}");
        let is_this =
            |packet: &Packet| packet.protocol == protocol && packet.destination == to.ip();
        // A datagram socket is only connected.
        assert_eq!(
            lab.far.saw(is_this),
            !broadcast && protocol != packet::UDP,
            "{protocol} {to}"
        );
    }
}

#[test]
fn a_lab_leaves_nothing_behind() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let nested = workload.cgroup.directory().join("a");
    let prober = workload.probe();
    std::fs::create_dir_all(nested.join("b")).expect("nested cgroups");
    std::fs::write(nested.join("b/cgroup.procs"), prober.pid().to_string()).expect("move");
    let (directory, cgroup) = (lab.directory().to_owned(), lab.root.directory().to_owned());
    // What a failing test does: everything goes in an order that nobody chose.
    drop(workload);
    drop(lab);
    drop(prober);
    assert!(!directory.exists() && !cgroup.exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(directory.to_str().expect("UTF-8")));
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
