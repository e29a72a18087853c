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
    let findings = doctor();
    let missing = missing(&findings);
    println!("needed and missing: {missing:?}");
    if missing.is_empty() {
        let daemon = Daemon::start_again(&lab);
        assert_eq!(daemon.status()["workloads"], 1);
        return;
    }
    let output = daemon::run(&mut daemon::run_command(&lab));
    let said = daemon::text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let named = |what: &&str| said.contains(&format!("lacks {what}"));
    assert!(missing.iter().any(named), "{said}");
    assert!(said.contains("boot Linux"), "{said}");
    assert!(!lab.pins().exists(), "pins are left behind");
    assert!(!daemon::state(&lab).exists(), "state is left behind");
    assert!(!daemon::socket(&lab).exists(), "a socket is left behind");
}

/// Other tests pass over what an optional hook would do, so nobody else sees that its program is
/// refused.
#[test]
fn every_optional_hook_is_attached_where_the_kernel_has_what_it_needs() {
    let lsm = lists("/sys/kernel/security/lsm", ',', "bpf");
    let signals = lists("/proc/kallsyms", ' ', "bpf_send_signal_task");
    let findings = doctor();
    if !missing(&findings).is_empty() {
        return;
    }
    for finding in findings {
        let text = |key: &str| finding[key].as_str().expect("a string");
        let (what, detail) = (text("what"), text("detail"));
        let has_what_it_needs = match what {
            "hook end_child" | "hook end_moved" => signals,
            _ => lsm && detail.contains(" at LSM hook "),
        };
        if has_what_it_needs {
            let state = detail.split(' ').next();
            assert!(
                matches!(state, Some("attached" | "observe-only")),
                "{what}: {detail}"
            );
        }
    }
}

/// Whether a file has a word, where words end at `separator` or white space.
fn lists(path: &str, separator: char, word: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split(|c: char| c == separator || c.is_whitespace())
        .any(|it| it == word)
}

/// What of it Hoop needs and does not have.
fn missing(findings: &[Value]) -> Vec<&str> {
    findings
        .iter()
        .filter(|finding| finding["state"] == "needed")
        .map(|finding| finding["what"].as_str().expect("a name"))
        .collect()
}

/// What `doctor` finds. It fails if something is missing that Hoop needs.
fn doctor() -> Vec<Value> {
    let mut doctor = Command::new(daemon::program());
    let output = daemon::run(doctor.args(["doctor", "--output", "json"]));
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
    assert_eq!(output.status.success(), missing(&findings).is_empty());
    findings
}
