//! Nobody leaves a workload by descent or by namespace (bypass 8).

use std::net::SocketAddr;
use std::path::PathBuf;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{run, text};
use hoop_tests::lab::{Lab, policy};
use hoop_tests::probe::{Route, Step, Stream};

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
fn a_network_namespace_that_was_entered_is_governed() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let mut agent = workload.probe();
    // Through one that it made itself, into one that somebody else made.
    let steps = [
        Step::NewNetwork,
        Step::EnterNetwork(lab.near().path().into()),
    ];
    for (allowed, denied) in PAIRS {
        for route in [Route::TcpConnect, Route::UdpSendto] {
            let attempt = |to: &str| Attempt::by(route, at(to)).after(&steps);
            attempt(allowed).succeeds(&lab, &mut agent);
            attempt(denied).is_denied(&lab, &mut agent);
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
fn a_workload_inside_a_workload_is_refused() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let inner = workload.cgroup.child("inner");
    let open = policy(
        "open",
        "/hoop-test-nothing",
        "mode: enforce\negress: { default: allow }",
    );
    let policies = [lab.policy("agent", CONFINED), open];
    let daemon = lab.daemon(&policies.join("---\n"));
    let mut agent = workload.probe();
    for cgroup in [inner.path(), lab.root.path()] {
        let refused = run(daemon
            .cli()
            .args(["workload", "tag", "--policy", "open", cgroup]));
        assert!(!refused.status.success(), "{}", text(&refused));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            said.contains(workload.cgroup.path()),
            "which one is in the way, in {said}"
        );
    }
    let inside = [Step::MoveTo(inner.directory().to_owned())];
    let denied = Attempt::by(Route::UdpSendto, at(PAIRS[0].1)).after(&inside);
    denied.is_denied(&lab, &mut agent);
}

fn at(to: &str) -> SocketAddr {
    to.parse().expect("an address and a port")
}
