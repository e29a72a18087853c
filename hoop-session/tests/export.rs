//! What other programs read.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use hoop_session::testing::{Maker, demo};
use hoop_session::{Session, export};
use serde_json::Value;

fn session() -> Session {
    Session::build(&Maker::uid(4242), demo())
}

#[test]
fn json_has_what_its_description_says() {
    let mut out = Vec::new();
    export::json(&session(), &mut out).unwrap();
    let document: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(document["schema"], export::SCHEMA);
    let session = &document["session"];
    for (path, expected) in [
        ("/on_behalf_of", "user:alice@example.org"),
        ("/start", "2026-11-25T09:11:26.000000000Z"),
        ("/turns/0/calls/0/id", "call-0"),
        ("/turns/0/calls/0/links/0/joined_by", "command"),
        ("/turns/0/calls/0/result/text", "Linux 6.1.0\nagent"),
        ("/denials/0/because", "collects stolen data"),
        ("/denials/2/enforcement", "killed"),
        ("/gaps/0/cause", "ring full"),
    ] {
        assert_eq!(
            session.pointer(path).and_then(Value::as_str),
            Some(expected),
            "{path}"
        );
    }
    assert_eq!(session["trace_id"].as_str().unwrap().len(), 32);
    let carried = session
        .pointer("/turns/0/calls/0/links/0/process")
        .unwrap()
        .as_u64()
        .unwrap();
    assert_eq!(session["processes"][carried as usize]["pid"], 4250);
}

#[test]
fn otlp_is_what_opentelemetry_defines() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("otlp.json");
    let mut out = Vec::new();
    export::otlp(&session(), &mut out).unwrap();
    std::fs::write(&path, out).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp.py");
    let checked = Command::new(python())
        .arg(script)
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let told: Value = serde_json::from_slice(&checked.stdout).unwrap();
    // 8 processes, 6 turns, 5 calls.
    assert_eq!(
        (&told["spans"], &told["links"], &told["denied"]),
        (&19.into(), &3.into(), &3.into())
    );
}

/// A Python with OpenTelemetry's definitions.
fn python() -> String {
    std::env::var("HOOP_PYTHON").unwrap_or_else(|_| "python3".into())
}
