use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::*;
use hoop_records::Origin;

fn record(cpu: u32, sequence: u64) -> Record {
    Record {
        kind: Kind::Fork.into(),
        origin: Some(Origin { cpu, sequence }),
        ..Record::default()
    }
}

/// The lines of all files, oldest first.
fn lines(dir: &TempDir) -> Result<Vec<serde_json::Value>> {
    let records = dir.path().join("records");
    let mut text = String::new();
    for path in full_files(&records)?.iter().chain([&records.join(CURRENT)]) {
        text += &fs::read_to_string(path)?;
    }
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn numbers(dir: &TempDir) -> Result<Vec<u64>> {
    let number = |line: serde_json::Value| line["number"].as_u64().context("no number");
    lines(dir)?.into_iter().map(number).collect()
}

#[test]
fn numbers_go_on_after_a_restart_and_only_root_reads() -> Result<()> {
    let dir = TempDir::new()?;
    for run in 0..3 {
        let mut log = Log::open(Config::new(dir.path()))?;
        assert_eq!(log.last_number(), run * 2);
        log.append(record(0, 1));
        log.append(record(0, 2));
    }
    assert_eq!(numbers(&dir)?, [1, 2, 3, 4, 5, 6]);
    let records = dir.path().join("records");
    assert_eq!(fs::metadata(&records)?.mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(records.join(CURRENT))?.mode() & 0o777, 0o600);
    Ok(())
}

#[test]
fn a_torn_line_is_cut_off_and_said() -> Result<()> {
    let dir = TempDir::new()?;
    let mut log = Log::open(Config::new(dir.path()))?;
    log.append(record(0, 1));
    drop(log);
    let path = dir.path().join("records").join(CURRENT);
    OpenOptions::new()
        .append(true)
        .open(&path)?
        .write_all(br#"{"number":2,"ki"#)?;
    drop(Log::open(Config::new(dir.path()))?);
    let lines = lines(&dir)?;
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["number"], 2);
    assert_eq!(lines[1]["lifecycle"]["activity"], "repaired");
    assert_eq!(
        lines[1]["lifecycle"]["detail"],
        "a torn last line of 15 bytes was cut off"
    );
    Ok(())
}

#[test]
fn a_line_that_is_no_record_gives_no_number_twice() -> Result<()> {
    let dir = TempDir::new()?;
    let mut log = Log::open(Config::new(dir.path()))?;
    log.append(record(0, 1));
    drop(log);
    let path = dir.path().join("records").join(CURRENT);
    // Longer than the first window of the search.
    let garbage = [vec![b'x'; 100_000], vec![b'\n']].concat();
    OpenOptions::new()
        .append(true)
        .open(&path)?
        .write_all(&garbage)?;
    assert_eq!(Log::open(Config::new(dir.path()))?.last_number(), 2);
    Ok(())
}

#[test]
fn full_files_are_put_aside_and_the_oldest_go() -> Result<()> {
    let dir = TempDir::new()?;
    let config = || Config {
        file_bytes: 400,
        files: 2,
        ..Config::new(dir.path())
    };
    let mut log = Log::open(config())?;
    for sequence in 1..=40 {
        log.append(record(0, sequence));
        log.flush();
    }
    let kept = numbers(&dir)?;
    let first = kept[0];
    assert!(first > 1);
    assert_eq!(kept, (first..=40).collect::<Vec<_>>());
    let full = full_files(&dir.path().join("records"))?;
    assert_eq!(full.len(), 2);
    assert!(full[0].ends_with(format!("records-{first:020}.jsonl")));
    for path in &full {
        assert!(fs::metadata(path)?.len() <= 400);
    }
    drop(log);

    // Also when only full files are left.
    fs::remove_file(dir.path().join("records").join(CURRENT))?;
    let last = numbers_of(&full[1])?;
    assert_eq!(Log::open(config())?.last_number(), last);
    Ok(())
}

fn numbers_of(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let last = text.lines().last().context("empty")?;
    number(last.as_bytes()).context("no number")
}

#[test]
fn what_cannot_be_written_becomes_a_gap_and_leaves_no_hole() -> Result<()> {
    let dir = TempDir::new()?;
    let mut log = Log::open(Config::new(dir.path()))?;
    let mut follower = log.followers().subscribe(1 << 20);
    log.append(record(1, 1));
    log.flush();
    // Every write to it is ENOSPC.
    let full = OpenOptions::new().append(true).open("/dev/full")?;
    let good = std::mem::replace(&mut log.file, full);
    for sequence in 2..=4 {
        log.append(record(1, sequence));
        log.flush();
    }
    log.append(record(0, 9));
    log.append(lifecycle(
        Kind::Agent,
        "started",
        String::new(),
        String::new(),
    ));
    log.flush();
    assert!(log.failure().is_some());
    assert_eq!(log.last_number(), 1);
    log.file = good;
    log.append(record(1, 5));
    log.flush();
    assert!(log.failure().is_none());
    let lines = lines(&dir)?;
    assert_eq!(numbers(&dir)?, [1, 2, 3, 4, 5]);
    let gap = |line: usize| lines[line]["gap"].clone();
    let cause = "audit log not written: No space left on device (os error 28)";
    assert_eq!(gap(1), serde_json::json!({"count": 1, "cause": cause}));
    assert_eq!(
        gap(2),
        serde_json::json!({"first": 9, "last": 9, "count": 1, "cause": cause})
    );
    assert_eq!(
        gap(3),
        serde_json::json!({"cpu": 1, "first": 2, "last": 4, "count": 3, "cause": cause})
    );
    assert_eq!(lines[4]["origin"]["sequence"], 5);
    assert_eq!(std::iter::from_fn(|| follower.try_recv()).count(), 5);
    Ok(())
}
