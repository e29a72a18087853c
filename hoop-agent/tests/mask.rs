//! `hoop-agent mask`, as a program between two pipes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

const KEY: &str = "test 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

/// A text with an address, and where that is.
const TEXT: &[u8] = b"write to jane.roe@example.org about it\n";
const ADDRESS: std::ops::Range<usize> = 9..29;

/// Two policies: one masks employees by a rule of its own, the other nothing.
const POLICIES: &str = r"
apiVersion: hoop.dev/v1alpha1
kind: WorkloadPolicy
metadata: { name: staff }
spec:
  identity: spiffe://example.org/agents/staff
  mode: observe
  masking:
    rules:
      - { name: badge, class: EMPLOYEE_ID, pattern: '\bEMP-\d{5}\b', action: full }
---
apiVersion: hoop.dev/v1alpha1
kind: WorkloadPolicy
metadata: { name: open }
spec:
  identity: spiffe://example.org/agents/open
  mode: observe
  masking: { detectors: [] }
";

#[test]
fn text_is_masked_and_the_same_key_gives_the_same_placeholder() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    fs::write(&key, KEY).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let key = key.to_str().unwrap();
    let once = text(&["--mask-key", key], TEXT);
    assert!(once.starts_with("write to [EMAIL:"), "{once}");
    assert!(once.ends_with("] about it\n"), "{once}");
    assert_eq!(once, text(&["--mask-key", key], TEXT));
    // A key of three bytes' worth of placeholder is the same by chance once in 16 million runs.
    assert_ne!(once, text(&[], TEXT));

    fs::set_permissions(key, Permissions::from_mode(0o644)).unwrap();
    let output = mask(&["--mask-key", key], TEXT);
    assert_failure(&output, 1, "others may read it");
    assert_failure(&mask(&["--mask-key", "/nowhere"], TEXT), 1, "/nowhere");
}

#[test]
fn json_stays_json() {
    let address = std::str::from_utf8(&TEXT[ADDRESS]).unwrap();
    let document = json!({
        "to": [address, format!("{address} \"and\" others")],
        "escaped": "jane\u{40}example.org",
        "amount": 12.5,
        "password": "correct horse battery",
    });
    let plain = document.to_string().replace("jane@", r"jane\u0040");
    let masked: Value = serde_json::from_str(&text(&[], plain.as_bytes())).unwrap();
    assert_eq!(masked["amount"], document["amount"]);
    assert_eq!(
        masked["to"][0].as_str().unwrap().len(),
        "[EMAIL:123456]".len()
    );
    let other = masked["to"][1].as_str().unwrap();
    assert!(
        other.starts_with("[EMAIL:") && other.ends_with("\"and\" others"),
        "{other}"
    );
    assert!(masked["escaped"].as_str().unwrap().starts_with("[EMAIL:"));
    assert!(!masked.to_string().contains("horse"), "{masked}");
}

#[test]
fn findings_say_where_and_never_what() {
    let encoded = b"a=1&to=jane.roe%40example.org&b=2".to_vec();
    let input = [TEXT, &encoded, b"\n{\"to\": \"jane\\u0040example.org\"}\n"].concat();
    let output = text(&["--findings"], &input);
    let found: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let vias: Vec<&str> = found.iter().map(|it| it["via"].as_str().unwrap()).collect();
    assert_eq!(vias, ["plain", "percent", "json"]);
    for (finding, written) in found.iter().zip([
        "jane.roe@example.org",
        "jane.roe%40example.org",
        "jane\\u0040example.org",
    ]) {
        assert_eq!(finding["class"], "EMAIL");
        assert!(finding["rule"].is_string());
        assert_eq!(finding.as_object().unwrap().len(), 5, "{finding}");
        let offset = |key: &str| usize::try_from(finding[key].as_u64().unwrap()).unwrap();
        assert_eq!(&input[offset("start")..offset("end")], written.as_bytes());
    }
    assert!(!output.contains("jane"), "{output}");
}

#[test]
fn a_policy_says_what_is_masked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policies.yaml");
    fs::write(&path, POLICIES).unwrap();
    let file = path.to_str().unwrap();
    let input = [TEXT, b"from EMP-12345\n"].concat();
    let staff = text(&["--policy", file, "--name", "staff"], &input);
    assert!(staff.ends_with("from [EMPLOYEE_ID]\n"), "{staff}");
    assert!(staff.contains("[EMAIL:"), "{staff}");
    let open = text(&["--policy", file, "--name", "open"], &input);
    assert_eq!(open.as_bytes(), input);

    let several = mask(&["--policy", file], TEXT);
    assert_failure(&several, 2, "has the policies staff, open");
    let unknown = mask(&["--policy", file, "--name", "staf"], TEXT);
    assert_failure(&unknown, 2, "has no policy staf");
    assert_failure(&mask(&["--name", "staff"], TEXT), 2, "--policy");

    let (first, _) = POLICIES.split_once("---\n").unwrap();
    fs::write(&path, first).unwrap();
    assert_eq!(text(&["--policy", file], b"EMP-12345"), "[EMPLOYEE_ID]");
    fs::write(&path, first.replace(r"\d{5}", r"(")).unwrap();
    assert_failure(&mask(&["--policy", file], TEXT), 2, "the policy is invalid");
}

#[test]
fn however_the_text_arrives_the_output_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    fs::write(&key, KEY).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    // Longer than what is read at a time, so that secrets lie across that border too.
    let input = TEXT.repeat(70_000 / TEXT.len());
    let whole = text(&["--mask-key", key.to_str().unwrap()], &input);
    assert_eq!(whole.matches("[EMAIL:").count(), 70_000 / TEXT.len());
    for pieces in [&[1][..], &[7, 1, 4096], &[65_536]] {
        let mut child = command(&["--mask-key", key.to_str().unwrap()])
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.clone();
        let pieces = pieces.to_vec();
        let writer = thread::spawn(move || {
            let mut rest = &input[..];
            for &piece in pieces.iter().cycle() {
                let (next, after) = rest.split_at(piece.min(rest.len()));
                stdin.write_all(next).unwrap();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.stdout == whole.as_bytes());
    }
}

#[test]
fn a_line_is_masked_before_the_next_is_written() {
    let mut child = command(&[]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdin.write_all(TEXT).unwrap();
    stdin
        .write_all(&b"nothing to see here.\n".repeat(3000))
        .unwrap();
    let mut first = [0; 64];
    stdout.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"write to [EMAIL:"));
    // Nobody reads any more, and that is no error.
    drop(stdout);
    let _ = stdin.write_all(&TEXT.repeat(5000));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn input_that_cannot_be_read_is_an_error() {
    let directory = fs::File::open(Path::new("/")).unwrap();
    let output = command(&[]).stdin(directory).output().unwrap();
    assert_failure(&output, 1, "standard input");
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoop-agent"));
    command
        .arg("mask")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn mask(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // One that was called wrongly does not read.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

#[track_caller]
fn text(arguments: &[&str], input: &[u8]) -> String {
    let output = mask(arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn assert_failure(output: &Output, code: i32, says: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(says), "{errors}");
    assert!(output.stdout.is_empty());
}
