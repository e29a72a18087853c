//! A flood is recorded or counted as lost, event by event; a verdict is never lost (bypass 22).

use std::net::SocketAddr;
use std::time::Duration;

use hoop_tests::attempt::Attempt;
use hoop_tests::lab::Lab;
use hoop_tests::long;
use hoop_tests::probe::{Act, Route};
use hoop_tests::wait;

const PROCESSES: u32 = 8;
/// What each process sends: a million in all in the long form.
const EACH: u32 = 40_000;
const EACH_LONG: u32 = 125_000;

#[test]
fn a_flood_of_events_is_recorded_or_counted_as_lost() {
    let each = long::either(EACH, EACH_LONG);
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy(
        "agent",
        "mode: enforce\negress:\n  default: deny\n  allow:\n    \
         - { name: api, cidrs: [203.0.113.0/24], ports: [443] }",
    ));
    let (mut flood, mut agent) = (workload.probe(), workload.probe());
    flood.order(&Act::Flood {
        to: "203.0.113.10:443".parse().expect("an address"),
        processes: PROCESSES,
        each,
    });
    // In the thick of it: every denial is enforced, and recorded.
    let denied: Vec<SocketAddr> = (1..=200)
        .map(|host| SocketAddr::new([198, 51, 100, host].into(), 443))
        .collect();
    for &to in &denied {
        let outcome = Attempt::by(Route::UdpConnect, to).make(&mut agent);
        assert!(outcome.is_err_and(|failure| failure.is_denial()), "{to}");
    }
    let judged = flood.answer_within(Duration::from_secs(300));
    let judged = judged.expect("the flood ends").value;
    assert_eq!(judged, i64::from(PROCESSES * each));

    let counts = || {
        let status = daemon.status();
        ["numbered", "recorded", "lost"].map(|name| status["events"][name].as_u64().unwrap_or(0))
    };
    let settled = wait::within(Duration::from_secs(120), || {
        let [numbered, recorded, lost] = counts();
        (recorded + lost == numbered).then_some([numbered, recorded, lost])
    });
    let [numbered, recorded, lost] = settled.unwrap_or_else(|| panic!("{:?}", counts()));
    eprintln!("{numbered} numbered, {recorded} recorded, {lost} lost");
    assert!(numbered >= u64::from(PROCESSES * each));

    // Not what the daemon says of itself, but what is written.
    let records = daemon.kept();
    let gaps = records.iter().filter(|record| record.is("gap"));
    let missing: u64 = gaps.map(|record| record.number("gap.count")).sum();
    let written = records
        .iter()
        .filter(|record| !record.at("origin").is_null())
        .count() as u64;
    assert_eq!(missing, lost);
    assert!(written <= recorded, "arguments in chunks share a record");
    for to in denied {
        let denials = records
            .iter()
            .filter(|record| record.is_about(to.ip()) && record.verdict() == "deny");
        assert_eq!(denials.count(), 1, "{to}");
    }
}
