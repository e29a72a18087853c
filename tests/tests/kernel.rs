//! What `doctor` says of a kernel is what `run` does on it.

use std::fs;
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

/// Other tests pass over what an optional hook would do, so that nobody else sees its program refused.
#[test]
fn every_optional_hook_is_attached_where_the_kernel_has_what_it_needs() {
    if !missing().is_empty() {
        return;
    }
    let lsm = lists("/sys/kernel/security/lsm", ',', "bpf");
    let signals = lists("/proc/kallsyms", ' ', "bpf_send_signal_task");
    println!("BPF LSM: {lsm}, bpf_send_signal_task: {signals}");
    for finding in doctor().0 {
        let text = |key: &str| finding[key].as_str().expect("a string");
        let place = text("detail");
        let expected = (lsm && place.contains(" at LSM hook "))
            || (signals && text("what").starts_with("hook end_"));
        if expected {
            assert_eq!(text("state"), "ok", "{}: {place}", text("what"));
            assert!(place.starts_with("attached"), "{place}");
        }
    }
}

/// Whether a file has a word, where words end at `separator` or white space.
fn lists(path: &str, separator: char, word: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split(|c: char| c == separator || c.is_whitespace())
        .any(|it| it == word)
}

/// What `doctor` finds missing that Hoop needs.
fn missing() -> Vec<String> {
    let (findings, success) = doctor();
    let missing: Vec<String> = findings
        .iter()
        .filter(|finding| finding["state"] == "needed")
        .map(|finding| finding["what"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(success, missing.is_empty());
    missing
}

/// What `doctor` finds, and whether it says that Hoop works here.
fn doctor() -> (Vec<Value>, bool) {
    let mut doctor = Command::new(daemon::program());
    let output = daemon::run(doctor.args(["doctor", "--output", "json"]));
    let findings = serde_json::from_slice(&output.stdout).expect("JSON");
    (findings, output.status.success())
}
