//! Sockets of families that no cgroup hook sees are stopped all the same: with an error where the
//! kernel has the LSM, else with the process.

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::Daemon;
use hoop_tests::lab::{FAR_V4, Lab};
use hoop_tests::probe::{Act, Outcome, Route};
use hoop_tests::prober::Prober;
use libc::{
    AF_ALG, AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, NETLINK_AUDIT, NETLINK_GENERIC,
    NETLINK_KOBJECT_UEVENT, NETLINK_NETFILTER, NETLINK_ROUTE, SOCK_CLOEXEC, SOCK_DGRAM,
    SOCK_NONBLOCK, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
};

/// The arguments of `socket`: family, type, protocol.
type Way = (i32, i32, i32);

/// Kinds of socket by the policy's words, each with its ways to be asked for.
const KINDS: &[(&str, &[Way])] = &[
    (
        "packet",
        &[
            (AF_PACKET, SOCK_RAW, 0),
            (AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
        ],
    ),
    ("vsock", &[(AF_VSOCK, SOCK_STREAM, 0)]),
    ("alg", &[(AF_ALG, SOCK_SEQPACKET, 0)]),
    (
        "netlink",
        &[
            (AF_NETLINK, SOCK_RAW, NETLINK_GENERIC),
            (AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_NETFILTER),
        ],
    ),
    ("unix", &[(AF_UNIX, SOCK_STREAM, 0)]),
];

const OTHERS: &str = "netlink, packet, vsock, alg, other";

#[test]
fn only_the_kinds_that_the_policy_names_open() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let policy = |allow: &str| {
        let spec = format!("mode: enforce\nsockets: {{ allow: [{allow}] }}");
        lab.policy("agent", &spec)
    };
    let daemon = lab.daemon(&policy("tcp"));
    let means = means(&daemon);
    let mut agent = workload.probe();
    let mut count = 0;
    for &(kind, ways) in KINDS {
        for &way in ways {
            let outcome = open(&mut agent, way);
            assert!(is_stopped(&outcome, means), "{kind} {way:?}: {outcome:?}");
            count += 1;
        }
    }
    let records = daemon.settled();
    let denials: Vec<_> = records
        .iter()
        .filter(|record| record.is("socket") && record.verdict() == "deny")
        .collect();
    assert_eq!(denials.len(), count, "{denials:#?}");
    let asked = KINDS
        .iter()
        .flat_map(|&(kind, ways)| ways.iter().map(move |way| (kind, way)));
    for (record, (kind, &(family, r#type, protocol))) in denials.iter().zip(asked) {
        assert_eq!(record.text("socket.kind"), kind, "{record:?}");
        let number = |path| record.number(path) as i32;
        let found = (
            number("socket.family"),
            number("socket.type"),
            number("socket.protocol"),
        );
        let r#type = r#type & !(SOCK_CLOEXEC | SOCK_NONBLOCK);
        assert_eq!(found, (family, r#type, protocol), "{record:?}");
        assert_eq!(record.text("verdict.rule"), "builtin/sockets", "{record:?}");
        let enforcement = if means == "lsm" { "refused" } else { "killed" };
        assert_eq!(
            record.text("verdict.enforcement"),
            enforcement,
            "{record:?}"
        );
        assert_ne!(record.pid(), 0, "{record:?}");
        assert_eq!(record.text("attribution"), "", "{record:?}");
    }

    daemon.change_policy(&policy(&format!("unix, {OTHERS}")));
    for &(kind, ways) in KINDS {
        for &way in ways {
            let outcome = open(&mut agent, way);
            // A family that this kernel does not have.
            let absent = matches!(&outcome, Err(failure)
                if [libc::EAFNOSUPPORT, libc::EPROTONOSUPPORT, libc::ESOCKTNOSUPPORT].contains(&failure.errno));
            assert!(outcome.is_ok() || absent, "{kind} {way:?}: {outcome:?}");
        }
    }
}

#[test]
fn a_frame_leaves_only_where_packet_sockets_are_allowed() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", "mode: enforce"));
    let mut agent = workload.probe();
    let frame = || Attempt::by(Route::Frame, (FAR_V4, 9).into()).after(&[]);
    let outcome = frame().stays(&lab, &mut agent);
    assert!(is_stopped(&outcome, means(&daemon)), "{outcome:?}");
    // The C library asks an interface's number by a Unix socket.
    let spec = format!("mode: enforce\nsockets: {{ allow: [unix, {OTHERS}] }}");
    daemon.change_policy(&lab.policy("agent", &spec));
    frame().succeeds(&lab, &mut agent);
}

#[test]
fn io_uring_opens_no_other_kinds() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", "mode: enforce"));
    let mut agent = workload.probe();
    let packet = Act::SocketByRing {
        family: AF_PACKET,
        kind: SOCK_RAW,
        protocol: 0,
    };
    let outcome = agent.after(&[], packet.clone());
    // Older kernels have no such request, and some hosts no io_uring.
    let absent = matches!(&outcome, Err(failure)
        if [libc::EINVAL, libc::ENOSYS].contains(&failure.errno));
    if absent {
        return;
    }
    assert!(is_stopped(&outcome, means(&daemon)), "{outcome:?}");
    let record = daemon.wait_for("a packet socket", |record| record.is("socket"));
    assert_eq!(record.verdict(), "deny", "{record:?}");
    assert_eq!(record.text("socket.kind"), "packet", "{record:?}");
    let spec = format!("mode: enforce\nsockets: {{ allow: [{OTHERS}] }}");
    daemon.change_policy(&lab.policy("agent", &spec));
    agent.after(&[], packet).expect("it is allowed now");
}

#[test]
fn netlink_that_ordinary_programs_need_always_opens() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", "mode: enforce\nsockets: { allow: [tcp] }"));
    let mut agent = workload.probe();
    for protocol in [NETLINK_ROUTE, NETLINK_AUDIT, NETLINK_KOBJECT_UEVENT] {
        match open(&mut agent, (AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)) {
            Err(failure) if failure.errno == libc::EPROTONOSUPPORT => {}
            outcome => assert!(outcome.is_ok(), "{protocol}: {outcome:?}"),
        }
    }
    let records = daemon.settled();
    assert!(!records.iter().any(|record| record.is("socket")));
}

#[test]
fn shadow_records_and_observe_does_not_ask() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", "mode: shadow\nsockets: { allow: [tcp] }"));
    let mut agent = workload.probe();
    let way = (AF_PACKET, SOCK_RAW, 0);
    open(&mut agent, way).expect("shadow lets it happen");
    let record = daemon.wait_for("a packet socket", |record| record.is("socket"));
    assert_eq!(record.verdict(), "shadow");
    assert_eq!(record.text("verdict.enforcement"), "");
    daemon.change_policy(&lab.policy("agent", "mode: observe"));
    let before = daemon.settled().len();
    open(&mut agent, way).expect("observe lets it happen");
    let after = daemon.settled();
    assert!(!after[before..].iter().any(|record| record.is("socket")));
}

#[test]
fn a_process_outside_opens_what_it_likes() {
    let lab = Lab::new();
    let _workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", "mode: enforce"));
    let mut outsider = lab.outsider();
    for way in [(AF_PACKET, SOCK_RAW, 0), (AF_UNIX, SOCK_STREAM, 0)] {
        open(&mut outsider, way).unwrap_or_else(|failure| panic!("{way:?}: {failure:?}"));
    }
}

/// How the running daemon stops sockets of other families.
fn means(daemon: &Daemon<'_>) -> &'static str {
    match daemon.hook("socket_create").as_str() {
        "attached" => "lsm",
        _ => "signal",
    }
}

fn is_stopped(outcome: &Outcome, means: &str) -> bool {
    outcome.as_ref().is_err_and(|failure| match means {
        "lsm" => failure.is_denial(),
        _ => failure.call == "killed",
    })
}

/// Opens a socket in a process of its own, which may not survive it.
fn open(prober: &mut Prober, (family, kind, protocol): Way) -> Outcome {
    prober.after(
        &[],
        Act::Socket {
            family,
            kind,
            protocol,
        },
    )
}
