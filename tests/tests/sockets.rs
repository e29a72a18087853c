//! An agent opens only the kinds of socket that its policy allows.

use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Outcome};
use hoop_tests::prober::Prober;
use libc::{
    AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_MPTCP,
    IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, SOCK_CLOEXEC, SOCK_DGRAM,
    SOCK_NONBLOCK, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
};

/// The arguments of `socket`: family, type, protocol.
type Way = (i32, i32, i32);

/// Kinds over IP, each with its ways to be asked for.
const KINDS: &[(&str, &[Way])] = &[
    (
        "tcp",
        &[
            (AF_INET, SOCK_STREAM, 0),
            (AF_INET6, SOCK_STREAM, IPPROTO_TCP),
            (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
            (AF_INET, SOCK_STREAM, IPPROTO_MPTCP),
        ],
    ),
    (
        "udp",
        &[
            (AF_INET, SOCK_DGRAM, 0),
            (AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
            (AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE),
        ],
    ),
    (
        "icmp",
        &[
            (AF_INET, SOCK_DGRAM, IPPROTO_ICMP),
            (AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6),
        ],
    ),
    (
        "raw",
        &[
            (AF_INET, SOCK_RAW, IPPROTO_RAW),
            (AF_INET, SOCK_RAW, IPPROTO_ICMP),
            (AF_INET6, SOCK_RAW, IPPROTO_ICMPV6),
            (AF_INET6, SOCK_RAW, IPPROTO_TCP),
        ],
    ),
];

#[test]
fn only_the_kinds_that_the_policy_names_open() {
    for &(kind, ways) in KINDS {
        let lab = Lab::new();
        let workload = lab.workload("agent");
        let spec = format!(
            "mode: enforce\negress: {{ default: allow }}\nsockets: {{ allow: [{kind}, unix, netlink, packet, vsock, alg, other] }}"
        );
        let daemon = lab.daemon(&lab.policy("agent", &spec));
        let mut agent = workload.probe();
        for &way in ways {
            match open(&mut agent, way) {
                // Newer kernels have no UDP-Lite.
                Err(failure) if failure.errno == libc::EPROTONOSUPPORT => {}
                outcome => assert!(outcome.is_ok(), "{kind} {way:?}: {outcome:?}"),
            }
        }
        let others = KINDS.iter().filter(|(other, _)| *other != kind);
        for &way in others.flat_map(|(_, ways)| *ways) {
            // A module that is not there is not opened either; what is there is denied.
            let failure = open(&mut agent, way).expect_err("a denial");
            let absent = failure.errno == libc::EPROTONOSUPPORT;
            assert!(
                failure.is_denial() || absent,
                "{way:?} with {kind}: {failure:?}"
            );
        }
        let records = daemon.settled();
        let denials = records.iter().filter(|record| record.verdict() == "deny");
        let mut count = 0;
        for record in denials {
            count += 1;
            assert!(record.is("socket"), "{record:?}");
            assert_eq!(record.pid(), agent.pid(), "{record:?}");
            assert_ne!(record.text("socket.kind"), kind, "{record:?}");
            assert_ne!(record.text("verdict.because"), "", "{record:?}");
        }
        assert!(count > 5, "{count} denials recorded");
    }
}

#[test]
fn raw_and_ping_sockets_are_not_allowed_unasked() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", "mode: enforce\negress: { default: allow }"));
    let mut agent = workload.probe();
    for &(kind, ways) in KINDS {
        for &way in ways {
            let outcome = open(&mut agent, way);
            let allowed = matches!(kind, "tcp" | "udp");
            let absent = matches!(&outcome, Err(failure) if failure.errno == libc::EPROTONOSUPPORT);
            assert!(
                outcome.is_ok() == allowed || absent,
                "{kind} {way:?}: {outcome:?}"
            );
        }
    }
    for way in [
        (AF_UNIX, SOCK_STREAM, 0),
        (AF_UNIX, SOCK_DGRAM, 0),
        (AF_UNIX, SOCK_SEQPACKET, 0),
        (AF_NETLINK, SOCK_RAW, 0),
    ] {
        open(&mut agent, way).unwrap_or_else(|failure| panic!("{way:?}: {failure:?}"));
    }
}

#[test]
fn a_process_outside_opens_what_it_likes() {
    let lab = Lab::new();
    let _workload = lab.workload("agent");
    let _daemon = lab.daemon(&lab.policy("agent", "mode: enforce\nsockets: { allow: [unix] }"));
    let mut outsider = lab.outsider();
    let everything = KINDS.iter().flat_map(|(_, ways)| *ways);
    for &way in everything.chain(&[(AF_PACKET, SOCK_RAW, 0)]) {
        open(&mut outsider, way).unwrap_or_else(|failure| panic!("{way:?}: {failure:?}"));
    }
}

fn open(prober: &mut Prober, (family, kind, protocol): Way) -> Outcome {
    prober.act(&Act::Socket {
        family,
        kind,
        protocol,
    })
}
