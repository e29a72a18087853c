//! A daemon that does nothing for a while costs records, each of them counted, and no verdict.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hoop_tests::attempt::Attempt;
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Route, Stream};
use hoop_tests::{long, wait};

const SPEC: &str = "mode: enforce\negress:\n  default: deny\n  allow:\n    \
                    - { name: api, cidrs: [203.0.113.0/24], ports: [443] }";
const ALLOWED: &str = "203.0.113.10:443";
const PER_SECOND: u32 = 20_000;

/// What README.md promises under a flood, and what an unoptimised build takes more: of the pages of its program
/// alone, more than 50 MiB are resident.
const RESIDENT_KIB: u64 = 128 << 10;

#[test]
fn a_stopped_daemon_leaves_verdicts_and_an_exact_gap() {
    let lasts = Duration::from_secs(long::either(6, 60));
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", SPEC));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let (mut flood, mut agent) = (workload.probe(), workload.probe());
    let fd = flood.open(Stream::Udp, false);
    let _ = daemon.settled();

    daemon.pause();
    let until = lab.directory().join("until");
    let to = at(ALLOWED);
    flood.order(&Act::Repeat {
        act: Box::new(Act::Connect { fd, to }),
        per_second: PER_SECOND,
        until: until.clone(),
    });
    let end = Instant::now() + lasts;
    let mut denied = Vec::new();
    while Instant::now() < end {
        let host = (denied.len() % 200 + 1) as u8;
        let to = SocketAddr::new([198, 51, 100, host].into(), 443);
        Attempt::by(Route::UdpSendto, to).is_denied(&lab, &mut agent);
        denied.push(to);
        Attempt::by(Route::TcpConnect, at(ALLOWED)).succeeds(&lab, &mut agent);
        // So that the attempts last as long as the flood.
        std::thread::sleep(Duration::from_millis(100));
    }
    fs::write(until, "").expect("a file");
    let flooded = flood.answer().expect("the flood ends");
    assert_eq!(flooded.text, format!("ok 0 {}\n", flooded.value));
    daemon.resume();

    let counts = || {
        let status = daemon.status();
        ["numbered", "recorded", "lost"].map(|name| status["events"][name].as_u64().unwrap_or(0))
    };
    let settled = wait::within(Duration::from_secs(120), || {
        let [numbered, recorded, lost] = counts();
        (recorded + lost == numbered).then_some([numbered, recorded, lost])
    });
    let [numbered, recorded, lost] = settled.unwrap_or_else(|| panic!("{:?}", counts()));
    let resident = daemon.peak_resident_kib();
    eprintln!("{flooded:?}: {numbered} numbered, {recorded} recorded, {lost} lost, {resident} KiB");
    assert!(numbered >= flooded.value.unsigned_abs() + denied.len() as u64);
    assert!(lost > 0, "the ring holds less than that");
    assert!(resident <= RESIDENT_KIB, "{resident} KiB");

    let records = daemon.kept();
    let gaps = records.iter().filter(|record| record.is("gap"));
    let missing: u64 = gaps.map(|record| record.number("gap.count")).sum();
    let written = records
        .iter()
        .filter(|it| !it.at("origin").is_null())
        .count() as u64;
    assert_eq!((written, missing), (recorded, lost));
    let denials = records.iter().filter(|record| record.verdict() == "deny");
    assert_eq!(denials.count(), denied.len(), "room is kept for denials");
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}
