//! `shadow` records what `enforce` would have denied, and denies nothing; `observe` only looks.

use std::net::SocketAddr;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::Record;
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Route};

const RULES: &str = r#"
egress:
  default: deny
  allow:
    - { name: api, cidrs: [203.0.113.0/24, "2001:db8:a000::/36"], ports: [443] }
  deny:
    - { name: secrets, cidrs: [198.51.100.66/32], because: cloud credentials }
"#;

const ALLOWED: [&str; 2] = ["203.0.113.10:443", "[2001:db8:a000::10]:443"];
const OTHER: [&str; 2] = ["198.51.100.66:443", "[2001:db8:d000::66]:443"];

#[test]
fn shadow_denies_nothing_and_says_what_it_would_have_denied() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", &format!("mode: shadow{RULES}")));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let mut agent = workload.probe();
    for to in ALLOWED.into_iter().chain(OTHER) {
        for route in [Route::TCP, Route::UDP].concat() {
            if route.leads_to(at(to).ip()) {
                Attempt::by(route, at(to)).succeeds(&lab, &mut agent);
            }
        }
    }
    // Raw sockets are not among those that a policy allows unasked.
    Attempt::by(Route::RawPing, at(ALLOWED[0])).succeeds(&lab, &mut agent);
    Attempt::by(Route::RawFragments, at(OTHER[0])).succeeds(&lab, &mut agent);

    let records = daemon.settled();
    let verdicts = |to: &str| {
        let about = records.iter().filter(|record| record.is_about(at(to).ip()));
        let mut found: Vec<_> = about
            .filter(|record| record.text("network.connection_info.protocol_name") != "icmp")
            .map(|record| (record.verdict(), record.text("verdict.rule")))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    assert_eq!(verdicts(ALLOWED[0]), [("allow", "api")]);
    assert_eq!(verdicts(ALLOWED[1]), [("allow", "api")]);
    assert!(verdicts(OTHER[0]).contains(&("shadow", "secrets")));
    assert_eq!(verdicts(OTHER[1]), [("shadow", "default")]);
    assert!(records.iter().all(|record| record.verdict() != "deny"));
    let socket = records.iter().find(|record| record.is("socket"));
    assert_eq!(socket.map(Record::verdict), Some("shadow"));
}

#[test]
fn a_policy_that_goes_from_shadow_to_enforce_denies_what_shadow_said() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let policy = |mode: &str| lab.policy("agent", &format!("mode: {mode}{RULES}"));
    let daemon = lab.daemon(&policy("shadow"));
    let _server = lab.far.listen_tcp(443);
    let mut agent = workload.probe();
    for to in OTHER {
        Attempt::by(Route::TcpConnect, at(to)).succeeds(&lab, &mut agent);
    }
    daemon.change_policy(&policy("enforce"));
    for to in OTHER {
        Attempt::by(Route::TcpConnect, at(to)).is_denied(&lab, &mut agent);
    }
    let records = daemon.settled();
    for to in OTHER {
        let count = |verdict: &str| {
            let mut about = records.iter().filter(|record| record.is_about(at(to).ip()));
            about.any(|record| record.is("connect") && record.verdict() == verdict)
        };
        assert!(count("shadow") && count("deny") && !count("allow"));
    }
}

#[test]
fn observe_allows_and_records() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", &format!("mode: observe{RULES}")));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    for to in ALLOWED.into_iter().chain(OTHER) {
        Attempt::by(Route::UdpSendto, at(to)).succeeds(&lab, &mut agent);
    }
    agent
        .act(&Act::Socket {
            family: libc::AF_INET,
            kind: libc::SOCK_RAW,
            protocol: libc::IPPROTO_ICMP,
        })
        .expect("nothing is denied");
    let records = daemon.settled();
    for to in ALLOWED.into_iter().chain(OTHER) {
        let record = records.iter().find(|record| record.is_about(at(to).ip()));
        let record = record.unwrap_or_else(|| panic!("no record about {to}"));
        assert_eq!(
            (record.verdict(), record.text("verdict.mode")),
            ("allow", "observe")
        );
    }
    assert!(
        records
            .iter()
            .all(|record| !matches!(record.verdict(), "deny" | "shadow"))
    );
}

fn at(to: &str) -> SocketAddr {
    to.parse().expect("an address and a port")
}
