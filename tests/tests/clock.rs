//! The wall clock is no witness: a record's number and the time since boot give the order.

use std::net::SocketAddr;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::Record;
use hoop_tests::guest;
use hoop_tests::lab::Lab;
use hoop_tests::probe::Route;
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::time::{ClockId, clock_gettime, clock_settime};

const HOUR: i64 = 3600;

#[test]
fn a_clock_that_is_set_back_an_hour_confuses_nothing() {
    if !guest::is_guest() {
        println!("left out: it sets the machine's clock, so it runs in guests: cargo xtask vm");
        return;
    }
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", "mode: enforce\negress: { default: deny }"));
    let mut agent = workload.probe();
    let denied: SocketAddr = "198.51.100.66:443".parse().expect("an address");
    let mut attempt = || Attempt::by(Route::UdpSendto, denied).is_denied(&lab, &mut agent);
    attempt();
    let _ = daemon.settled();
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("the time");
    clock_settime(ClockId::CLOCK_REALTIME, now - TimeSpec::seconds(HOUR)).expect("set the clock");
    attempt();
    // Nor does one that starts in what was already the past.
    let _ = daemon.settled();
    daemon.kill();
    let daemon = hoop_tests::daemon::Daemon::start_again(&lab);
    attempt();
    let last = daemon.wait_for("the denial", |it| it.verdict() == "deny");
    assert_eq!(last.pid(), agent.pid());

    let records = daemon.kept();
    let numbers = records.iter().map(|record| record.number("number"));
    assert!(numbers.eq(1..=records.len() as u64), "no number is missing");
    let denials: Vec<&Record> = records.iter().filter(|it| it.verdict() == "deny").collect();
    assert_eq!(denials.len(), 3);
    for denial in &denials {
        assert_eq!(denial.pid(), agent.pid());
        assert_eq!(denial.text("workload.cgroup"), workload.cgroup.path());
    }
    let boot = |record: &&Record| record.number("boot_time_ns");
    assert!(denials.iter().map(boot).is_sorted(), "{denials:?}");
    let wall: Vec<&str> = denials.iter().map(|it| it.text("time_dt")).collect();
    assert!(wall[1] < wall[0], "{wall:?}");
}
