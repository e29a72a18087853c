//! The audit log proves itself: whatever happens to the daemon, and whatever somebody does to the files.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use hoop_tests::daemon::{self, Daemon, Record, kept, read_records, state};
use hoop_tests::lab::Lab;
use hoop_tests::long;
use hoop_tests::probe::Act;
use hoop_tests::random::Random;

const SPEC: &str = "mode: enforce\negress: { default: deny }";

/// The example of a verifier key in the documentation of Go's package `note`: a key of somebody else.
const OTHER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n";

#[test]
fn nothing_that_was_seen_is_lost_when_daemons_are_killed_under_load() {
    let rounds = long::either(6, 1000);
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let copy = lab.directory().join("copy.jsonl");
    daemon::write_config(&lab, &file_sink(&copy));
    let until = lab.directory().join("until");
    let mut agent = workload.probe();
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    agent.order(&Act::Repeat {
        act: Box::new(Act::Spawn { count: 5 }),
        per_second: 100,
        until: until.clone(),
    });
    let mut random = Random::new();
    let mut seen: Vec<Record> = Vec::new();
    let checkpoint = lab.directory().join("checkpoint.txt");
    for round in 0..rounds {
        std::thread::sleep(random.part_of(Duration::from_millis(400)));
        if round == rounds / 2 {
            let said = audit(&["checkpoint"], &state(&lab));
            assert!(said.status.success(), "{said:?}");
            fs::write(&checkpoint, said.stdout).expect("a file");
        }
        daemon.kill();
        seen.extend(daemon.records());
        daemon = Daemon::start_again(&lab);
        let said = audit(&["verify"], &state(&lab));
        assert!(said.status.success(), "{said:?}");
    }
    fs::write(&until, "").expect("a file");
    let _ = daemon.settled();
    assert!(daemon.stop().success());
    seen.extend(daemon.records());

    let kept = kept(&state(&lab));
    let numbers = kept.iter().map(|record| record.number("number"));
    assert!(
        numbers.eq(1..=kept.len() as u64),
        "every number is there once"
    );
    let by_number: HashMap<u64, &Record> = kept
        .iter()
        .map(|record| (record.number("number"), record))
        .collect();
    assert!(seen.len() > 100);
    for record in &seen {
        assert_eq!(by_number.get(&record.number("number")), Some(&record));
    }
    // The sink: at least once, and what is new in order.
    let mut next = 1;
    for record in read_records(&copy) {
        let number = record.number("number");
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
    assert_eq!(next, kept.len() as u64 + 1, "the sink has all");
    let said = audit(
        &["verify", "--checkpoint", &checkpoint.to_string_lossy()],
        &state(&lab),
    );
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn whoever_changes_the_log_is_found_out() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut agent = workload.probe();
    let early = lab.directory().join("early.txt");
    for round in 0..4 {
        agent.act(&Act::Spawn { count: 30 }).expect("spawn");
        let _ = daemon.settled();
        if round == 1 {
            fs::write(&early, audit(&["checkpoint"], &state(&lab)).stdout).expect("a file");
        }
    }
    assert!(daemon.stop().success());
    let key = lab.directory().join("key.txt");
    fs::write(&key, audit(&["key"], &state(&lab)).stdout).expect("a file");
    let verify = |state: &Path| {
        audit(
            &[
                "verify",
                "--key",
                &key.to_string_lossy(),
                "--checkpoint",
                &early.to_string_lossy(),
            ],
            state,
        )
    };
    let said = verify(&state(&lab));
    assert!(said.status.success(), "{said:?}");

    let whole = fs::read(segment(&state(&lab))).expect("a segment");
    let frames = frames(&whole);
    let records: Vec<usize> = (0..frames.len())
        .filter(|&at| frames[at].1 == Kind::Record)
        .collect();
    let checkpoints: Vec<usize> = (0..frames.len())
        .filter(|&at| frames[at].1 == Kind::Checkpoint)
        .collect();
    let part = |at: usize| &whole[frames[at].0.clone()];
    let mut random = Random::new();
    let mut any = |of: &[usize]| of[random.below(of.len() as u64) as usize];
    let joined = |order: Vec<usize>| {
        order
            .into_iter()
            .flat_map(|at| part(at).to_vec())
            .collect::<Vec<u8>>()
    };
    let mut changed: Vec<(String, Vec<u8>)> = Vec::new();
    for _ in 0..20 {
        let at = any(&(0..whole.len()).collect::<Vec<_>>());
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        changed.push((format!("byte {at} changed"), bytes));
    }
    for _ in 0..10 {
        let gone = any(&records);
        changed.push((
            format!("frame {gone} removed"),
            joined((0..frames.len()).filter(|&at| at != gone).collect()),
        ));
        let (one, other) = (any(&records), any(&records));
        if one != other {
            let mut order: Vec<usize> = (0..frames.len()).collect();
            order.swap(one, other);
            changed.push((format!("frames {one} and {other} swapped"), joined(order)));
        }
    }
    let last = *checkpoints.last().expect("a checkpoint");
    let before = checkpoints[checkpoints.len() - 2];
    let replaced = |with: usize| {
        joined(
            (0..frames.len())
                .map(|at| if at == last { with } else { at })
                .collect(),
        )
    };
    changed.push((
        "the last checkpoint replaced by an older".to_owned(),
        replaced(before),
    ));
    changed.push((
        "the last checkpoint taken away".to_owned(),
        joined((0..frames.len()).filter(|&at| at != last).collect()),
    ));
    // Back to the first commits, all of them signed: only a checkpoint from elsewhere shows that.
    let old = checkpoints.len() / 8;
    changed.push((
        "put back to an earlier state".to_owned(),
        joined((0..=checkpoints[old]).collect()),
    ));

    for (what, bytes) in changed {
        let copy = tempfile::tempdir().expect("a directory");
        copy_tree(&state(&lab).join("audit"), &copy.path().join("audit"));
        fs::write(segment(copy.path()), bytes).expect("a segment");
        let said = verify(copy.path());
        assert_eq!(said.status.code(), Some(1), "{what}: {said:?}");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(text.starts_with("NOT verified: "), "{what}: {said:?}");
    }
    let other = lab.directory().join("other.txt");
    fs::write(&other, OTHER_KEY).expect("a key");
    let said = audit(&["verify", "--key", &other.to_string_lossy()], &state(&lab));
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let copy = tempfile::tempdir().expect("a directory");
    copy_tree(&state(&lab).join("audit"), &copy.path().join("audit"));
    fs::remove_file(segment(copy.path())).expect("it is there");
    assert!(!verify(copy.path()).status.success());

    let said = audit(&["prove", "7"], &state(&lab));
    assert!(
        said.stdout.starts_with(b"c2sp.org/tlog-proof@v1\n"),
        "{said:?}"
    );
}

#[test]
fn another_key_begins_another_log_and_numbers_go_on() {
    let lab = Lab::new();
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    assert!(daemon.stop().success());
    let first = String::from_utf8(audit(&["key"], &state(&lab)).stdout).expect("a key");
    fs::remove_file(state(&lab).join("audit.key")).expect("a key");
    let mut daemon = Daemon::start_again(&lab);
    assert!(daemon.stop().success());
    let second = String::from_utf8(audit(&["key"], &state(&lab)).stdout).expect("a key");
    assert_ne!(first, second);
    let records = kept(&state(&lab));
    let numbers = records.iter().map(|record| record.number("number"));
    assert!(numbers.eq(1..=records.len() as u64));
    let opened = |record: &&Record| record.is("log") && record.text("log.activity") == "opened";
    let opened = records.iter().find(opened).expect("it is said");
    assert!(opened.text("log.checkpoint").contains('\n'), "{opened:?}");
    let verify = |keys: &[&str]| {
        let mut arguments = vec!["verify".to_owned()];
        for (index, key) in keys.iter().enumerate() {
            let path = lab.directory().join(format!("key{index}.txt"));
            fs::write(&path, key).expect("a file");
            arguments.extend(["--key".to_owned(), path.to_string_lossy().into_owned()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        audit(&arguments, &state(&lab)).status.code()
    };
    assert_eq!(verify(&[&first, &second]), Some(0));
    assert_eq!(verify(&[OTHER_KEY]), Some(1));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Record,
    Checkpoint,
    Other,
}

/// The messages of a segment with their lengths, as `log.proto` has them.
fn frames(bytes: &[u8]) -> Vec<(std::ops::Range<usize>, Kind)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = bytes[at];
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let kind = match bytes[at..] {
            [0x08, ..] => Kind::Record,
            // Field 41.
            [0xca, 0x02, ..] => Kind::Checkpoint,
            _ => Kind::Other,
        };
        at += length;
        frames.push((start..at, kind));
    }
    frames
}

fn segment(state: &Path) -> PathBuf {
    state.join("audit/0000000001/00000000000000000001.seg")
}

fn file_sink(path: &Path) -> String {
    format!(
        "sinks:\n  - {{ name: copy, kind: file, path: {:?}, batch: {{ delay: 5ms }} }}\n",
        path.display().to_string()
    )
}

/// `hoop-agent audit ...` on a state directory.
fn audit(arguments: &[&str], state: &Path) -> Output {
    let mut command = Command::new(daemon::program());
    command
        .arg("audit")
        .args(arguments)
        .arg("--state-dir")
        .arg(state);
    daemon::run(&mut command)
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("readable");
        let copy = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy_tree(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), copy).expect("copied");
        }
    }
}
