//! Nobody leaves a workload by descent or by namespace (bypass 8).

use std::net::SocketAddr;
use std::path::PathBuf;

use hoop_tests::attempt::Attempt;
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Route, Step, Stream};

const CONFINED: &str = r#"
mode: enforce
egress:
  default: deny
  allow:
    - { name: api, cidrs: [203.0.113.0/24, "2001:db8:a000::/36"], ports: [443] }
"#;

const PAIRS: [(&str, &str); 2] = [
    ("203.0.113.10:443", "198.51.100.66:443"),
    ("[2001:db8:a000::10]:443", "[2001:db8:d000::66]:443"),
];

#[test]
fn a_descendant_is_governed_whatever_it_does_first() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let mut agent = workload.probe();
    let inside = |name: &str| workload.cgroup.directory().join(name);
    let deep = (0..20).fold((inside("deep"), vec![]), |(path, mut steps), _| {
        steps.push(Step::MoveTo(path.clone()));
        (path.join("er"), steps)
    });
    for steps in [
        vec![Step::MoveTo(inside("nested"))],
        deep.1,
        vec![Step::Orphan, Step::Setsid],
        vec![
            Step::Orphan,
            Step::Setsid,
            Step::MoveTo(inside("orphan")),
            Step::Orphan,
            Step::Exec,
        ],
        vec![Step::NewUser],
        vec![Step::NewUser, Step::Exec],
        vec![Step::Become(65534)],
    ] {
        for (allowed, denied) in PAIRS {
            for route in [Route::TcpConnect, Route::UdpSendto, Route::UdpRing] {
                let allowed = Attempt::by(route, at(allowed)).after(&steps);
                allowed.succeeds(&lab, &mut agent);
                let denied = Attempt::by(route, at(denied)).after(&steps);
                denied.is_denied(&lab, &mut agent);
            }
        }
    }
    let denials = daemon
        .settled()
        .into_iter()
        .filter(|record| record.verdict() == "deny");
    for record in denials {
        assert_eq!(
            record.text("workload.cgroup"),
            workload.cgroup.path(),
            "{record:?}"
        );
        assert_ne!(record.pid(), agent.pid(), "a descendant did it: {record:?}");
    }
}

#[test]
fn a_socket_goes_along_into_a_nested_cgroup() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let steps = [Step::MoveTo(workload.cgroup.directory().join("nested"))];
    for (allowed, denied) in PAIRS {
        let socket = agent.open(Stream::Udp, at(allowed).is_ipv6());
        Attempt::datagram(socket, at(allowed))
            .after(&steps)
            .succeeds(&lab, &mut agent);
        Attempt::datagram(socket, at(denied))
            .after(&steps)
            .is_denied(&lab, &mut agent);
    }
}

#[test]
fn a_new_network_namespace_is_governed() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let mut agent = workload.probe();
    let steps = [Step::NewUser, Step::NewNetwork];
    for (allowed, denied) in PAIRS {
        for route in [Route::TcpConnect, Route::UdpSendto] {
            let mut errno = |to: &str| {
                let attempt = Attempt::by(route, at(to)).after(&steps);
                attempt
                    .make(&mut agent)
                    .expect_err("there is no way out")
                    .errno
            };
            // The allowed one is let through to a network that leads nowhere.
            assert_eq!(errno(allowed), libc::ENETUNREACH);
            assert_eq!(errno(denied), libc::EPERM);
        }
    }
}

#[test]
fn a_nested_cgroup_is_governed_from_its_first_instruction() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let denied = at(PAIRS[0].1);
    for number in 0..50 {
        let nested: PathBuf = workload.cgroup.directory().join(format!("n{number}"));
        let act = Attempt::by(Route::UdpSendto, denied).after(&[Step::MoveTo(nested)]);
        act.is_denied(&lab, &mut agent);
    }
}

#[test]
fn a_tag_below_a_tag_has_the_last_word() {
    let lab = Lab::new();
    let workload = lab.workload("outer");
    let inner = workload.cgroup.child("inner");
    let policies = [
        lab.policy("outer", CONFINED),
        hoop_tests::lab::policy(
            "inner",
            inner.path(),
            "mode: enforce\negress:\n  default: deny\n  allow:\n    \
             - { name: other, cidrs: [198.51.100.0/24], ports: [443] }",
        ),
    ];
    let _daemon = lab.daemon(&policies.join("---\n"));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let inside = [Step::MoveTo(inner.directory().to_owned())];
    let (ours, theirs) = (at(PAIRS[0].0), at(PAIRS[0].1));
    Attempt::by(Route::UdpSendto, ours).succeeds(&lab, &mut agent);
    Attempt::by(Route::UdpSendto, theirs).is_denied(&lab, &mut agent);
    // A workload inside a workload gets no more than both allow.
    let both = |to| Attempt::by(Route::UdpSendto, to).after(&inside);
    let _ = both(theirs).make(&mut agent);
    both(ours).is_denied(&lab, &mut agent);
    let _ = agent.act(&Act::Spawn { count: 1 });
}

fn at(to: &str) -> SocketAddr {
    to.parse().expect("an address and a port")
}
