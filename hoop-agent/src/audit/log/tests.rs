use std::fs;

use anyhow::{Context as _, Result};
use hoop_log::{Options, verify};
use hoop_records::{Fact, Kind, Origin};
use tempfile::TempDir;

use super::*;
use crate::audit::read::{self, told};

fn open(dir: &TempDir) -> Result<Log> {
    let settings = Audit {
        segment_mib: 1,
        keep_mib: 2,
        ..Audit::default()
    };
    Log::open(dir.path(), &settings, Unread::default())
}

fn record(sequence: u64) -> Record {
    Record {
        kind: Kind::Fork.into(),
        origin: Some(Origin { cpu: 1, sequence }),
        // What does not compress, so that sealed segments count as well.
        attribution: noise(sequence),
        ..Record::default()
    }
}

/// Some text that is like no other.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..1000).map(|_| letter()).collect()
}

fn kept(dir: &TempDir) -> Result<Vec<Record>> {
    let mut reader = read::open(dir.path(), None)?;
    let mut records = Vec::new();
    while let Some(entry) = reader.read()? {
        records.push(Record::parse(entry.bytes)?);
    }
    Ok(records)
}

fn changes(records: &[Record]) -> Vec<&LogChange> {
    let facts = records.iter().filter_map(|record| record.fact.as_ref());
    facts
        .filter_map(|fact| match fact {
            Fact::Log(change) => Some(change),
            _ => None,
        })
        .collect()
}

fn verifies(dir: &TempDir) -> Result<()> {
    let dir = crate::audit::directory(dir.path());
    verify(&dir, &Options::default(), &told, &mut |_, _| {})?;
    Ok(())
}

#[test]
fn numbers_go_on_over_restarts_and_keys() -> Result<()> {
    let dir = TempDir::new()?;
    for run in 0..3 {
        let mut log = open(&dir)?;
        assert_eq!(log.last_number(), run * 2);
        log.append(record(1));
        log.append(record(2));
    }
    fs::remove_file(key::path(dir.path()))?;
    drop(open(&dir)?);
    let records = kept(&dir)?;
    let numbers: Vec<u64> = records.iter().map(|record| record.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    let changes = changes(&records);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].activity, "opened");
    assert!(changes[0].checkpoint.contains("\n6\n"), "{changes:?}");
    verifies(&dir)
}

#[test]
fn a_record_that_is_too_large_is_counted_and_stops_nothing() -> Result<()> {
    let dir = TempDir::new()?;
    let mut log = open(&dir)?;
    log.append(record(1));
    log.append(Record {
        attribution: "x".repeat(17 << 20),
        ..record(2)
    });
    log.append(record(3));
    log.flush();
    assert!(log.failure().is_none() && log.is_written());
    drop(log);
    let records = kept(&dir)?;
    let gap = records.iter().find_map(|record| match &record.fact {
        Some(Fact::Gap(gap)) => Some(gap),
        _ => None,
    });
    let gap = gap.context("it is counted")?;
    assert_eq!((gap.cpu, gap.first, gap.last, gap.count), (1, 2, 2, 1));
    let last = records.last().and_then(|record| record.origin);
    assert_eq!(last.context("it is there")?.sequence, 3);
    verifies(&dir)
}

#[test]
fn what_a_crash_tore_is_cut_off_and_said() -> Result<()> {
    let dir = TempDir::new()?;
    let mut log = open(&dir)?;
    log.append(record(1));
    drop(log);
    let segment = crate::audit::directory(dir.path()).join("0000000001/00000000000000000001.seg");
    let mut bytes = fs::read(&segment)?;
    bytes.extend_from_slice(&[0x7f, 0x08, 0x02]);
    fs::write(&segment, bytes)?;
    assert!(verifies(&dir).is_err(), "nothing has said so yet");
    drop(open(&dir)?);
    let records = kept(&dir)?;
    assert_eq!(changes(&records)[0].activity, "repaired");
    verifies(&dir)
}

#[test]
fn what_is_kept_too_long_is_removed_and_said() -> Result<()> {
    let dir = TempDir::new()?;
    let unread = Unread::default();
    let settings = Audit {
        segment_mib: 1,
        keep_mib: 2,
        ..Audit::default()
    };
    let mut log = Log::open(dir.path(), &settings, unread.clone())?;
    unread.set_first(1);
    for sequence in 1..=6_000 {
        log.append(record(sequence));
    }
    log.flush();
    log.retire(false);
    drop(log);
    assert_eq!(kept(&dir)?[0].number, 1, "a sink has not read it");

    let mut log = Log::open(dir.path(), &settings, unread.clone())?;
    unread.set_first(u64::MAX);
    log.retire(false);
    drop(log);
    let records = kept(&dir)?;
    let removed = *changes(&records).last().context("it is said")?;
    assert_eq!(removed.activity, "removed");
    assert_eq!(records[0].number, removed.through + 1);
    verifies(&dir)
}
