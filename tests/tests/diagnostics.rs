//! The kernel programs' own diagnostics arrive in the daemon's, and only if they are asked for.

use std::net::SocketAddr;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{Daemon, write_policy};
use hoop_tests::lab::Lab;
use hoop_tests::probe::Route;
use hoop_tests::wait;

const SPEC: &str = "mode: enforce\negress: { default: allow }\nsockets: { allow: [tcp, udp, raw] }";
const SAID: &str = "hides its destination";

#[test]
fn kernel_programs_speak_when_debug_is_asked_for() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    write_policy(&lab, &lab.policy("agent", SPEC));
    let daemon = Daemon::start_with(&lab, "debug");
    let mut agent = workload.probe();
    fragments().is_denied(&lab, &mut agent);
    wait::until("the kernel's word", || {
        daemon.diagnostics().contains(SAID).then_some(())
    });
}

#[test]
fn kernel_programs_are_silent_otherwise() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    write_policy(&lab, &lab.policy("agent", SPEC));
    let daemon = Daemon::start_with(&lab, "info");
    let mut agent = workload.probe();
    fragments().is_denied(&lab, &mut agent);
    daemon.wait_for("the denial", |record| {
        record.text("verdict.rule") == "builtin/opaque"
    });
    assert!(!daemon.diagnostics().contains(SAID));
}

fn fragments() -> Attempt {
    let to: SocketAddr = "203.0.113.10:443".parse().expect("an address");
    Attempt::by(Route::RawFragments, to)
}
