//! What `doctor` says of a kernel is what `run` does on it.

use std::process::Command;

use hoop_tests::daemon::{self, Daemon};
use hoop_tests::lab::Lab;
use serde_json::Value;

const SPEC: &str = "mode: enforce\negress: { default: deny }";

#[test]
fn a_kernel_that_lacks_what_is_needed_is_refused_and_left_as_it_was() {
    let lab = Lab::new();
    let _workload = lab.workload("agent");
    daemon::write_policy(&lab, &lab.policy("agent", SPEC));
    let missing = missing();
    println!("needed and missing: {missing:?}");
    if missing.is_empty() {
        let daemon = Daemon::start_again(&lab);
        assert_eq!(daemon.status()["workloads"], 1);
        return;
    }
    let output = daemon::run(&mut daemon::run_command(&lab));
    let said = daemon::text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let named = |what: &String| said.contains(&format!("lacks {what}"));
    assert!(missing.iter().any(named), "{said}");
    assert!(said.contains("boot Linux"), "{said}");
    assert!(!lab.pins().exists(), "pins are left behind");
    assert!(!daemon::state(&lab).exists(), "state is left behind");
    assert!(!daemon::socket(&lab).exists(), "a socket is left behind");
}

/// What `doctor` finds missing that Hoop needs.
fn missing() -> Vec<String> {
    let mut doctor = Command::new(daemon::program());
    let output = daemon::run(doctor.args(["doctor", "--output", "json"]));
    let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = findings.as_array().expect("a list");
    let missing: Vec<String> = findings
        .iter()
        .filter(|finding| finding["state"] == "needed")
        .map(|finding| finding["what"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(output.status.success(), missing.is_empty());
    missing
}
