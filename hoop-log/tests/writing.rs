//! A log is written, read while it is, sealed, closed and retired.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use common::{Lab, body, files};
use hoop_log::{Error, Fsync, Reader, Reason, Retention, SigningKey, Writer};

#[test]
fn records_are_read_as_they_were_written() {
    let lab = Lab::new();
    let mut writer = lab.open();
    let mut reader = Reader::open(lab.dir(), 1).unwrap();
    assert_eq!(reader.read().unwrap(), None);
    assert_eq!(writer.append(b"\x20\x01one").unwrap(), 1);
    assert_eq!(writer.append(b"\x20\x01two").unwrap(), 2);
    assert_eq!(reader.read().unwrap(), None, "not committed yet");
    writer.commit().unwrap();
    assert_eq!(writer.last(), 2);
    let entry = reader.read().unwrap().unwrap();
    assert_eq!(entry.number, 1);
    assert_eq!(entry.bytes, b"\x08\x01\x61\0\0\0\0\0\0\0\0\x20\x01one");
    assert!(reader.read().unwrap().unwrap().bytes.ends_with(b"two"));
    assert_eq!(reader.read().unwrap(), None);
    assert!(writer.checkpoint().starts_with("log.test/node\n2\n"));
}

#[test]
fn a_log_goes_on_where_it_was() {
    let lab = Lab::new();
    for round in 0..5 {
        let opened = Writer::open(lab.config(), lab.key()).unwrap();
        assert_eq!((opened.repaired, opened.followed), (None, None));
        let mut writer = opened.writer;
        assert_eq!(writer.last(), round * 7);
        for _ in 0..7 {
            writer.append(&body(round * 7)).unwrap();
        }
        writer.commit().unwrap();
    }
    assert_eq!(lab.read_all(1).len(), 35);
    lab.verify().unwrap();
}

#[test]
fn what_is_not_committed_is_not_there() {
    let lab = Lab::new();
    let mut writer = lab.open();
    writer.append(b"one").unwrap();
    drop(writer);
    let mut writer = lab.open();
    assert_eq!(writer.append(b"another").unwrap(), 1);
    writer.commit().unwrap();
    assert_eq!(lab.read_all(1).len(), 1);
}

#[test]
fn there_is_one_writer() {
    let lab = Lab::new();
    let writer = lab.open();
    let second = Writer::open(lab.config(), lab.key());
    assert!(matches!(second, Err(Error::Locked)));
    drop(writer);
    lab.open();
}

#[test]
fn segments_follow_one_another_and_are_sealed() {
    let lab = Lab::new();
    let mut writer = lab.open();
    let mut reader = Reader::behind(lab.dir(), 1, writer.tail()).unwrap();
    let mut slow = Reader::open(lab.dir(), 1).unwrap();
    assert!(slow.read().unwrap().is_none());
    let mut seen = 0;
    for number in 1..=4000 {
        writer.append(&body(number)).unwrap();
        if number % 10 == 0 {
            writer.commit().unwrap();
            while let Some(entry) = reader.read().unwrap() {
                seen += 1;
                assert_eq!(entry.number, seen);
                assert!(entry.bytes.ends_with(&body(seen)));
            }
        }
    }
    assert_eq!(seen, 4000);
    let sealed = lab.wait_sealed();
    assert!(sealed > 5, "{sealed}");
    assert_eq!(lab.read_all(1).len(), 4000);
    let mut count = 0;
    while let Some(entry) = slow.read().unwrap() {
        count += 1;
        assert_eq!(entry.number, count);
    }
    assert_eq!(count, 4000, "by a reader that was slow");
    for from in [1, 2, 399, 400, 2001, 3999, 4000, 4001] {
        assert_eq!(lab.read_all(from).len() as u64, 4001 - from, "from {from}");
    }
    lab.verify_live().unwrap();
    drop(writer);
    lab.verify().unwrap();
    lab.open();
}

#[test]
fn a_changed_key_closes_the_log_and_opens_the_next() {
    let lab = Lab::new();
    let mut writer = lab.open();
    writer.append(&body(1)).unwrap();
    writer.commit().unwrap();
    let checkpoint = writer.checkpoint().to_owned();
    drop(writer);
    let other = || SigningKey::generate("log.test/other").unwrap();
    for round in 2..=4 {
        let opened = Writer::open(lab.config(), other()).unwrap();
        let followed = opened.followed.unwrap();
        assert_eq!(followed.reason, Reason::KeyChanged);
        if round == 2 {
            assert_eq!(followed.checkpoint, checkpoint);
        }
        let mut writer = opened.writer;
        assert_eq!(writer.append(&body(round)).unwrap(), round);
        writer.commit().unwrap();
    }
    let opened = Writer::open(lab.config(), lab.key()).unwrap();
    let mut writer = opened.writer;
    writer.append(&body(5)).unwrap();
    writer.commit().unwrap();
    assert!(
        writer
            .checkpoint()
            .starts_with("log.test/node/0000000005\n1\n"),
        "a key signs one tree under one name: {}",
        writer.checkpoint()
    );
    drop(writer);
    assert_eq!(lab.read_all(1).len(), 5);
    lab.verify().unwrap();
}

#[test]
fn a_damaged_log_is_left_and_the_next_begun() {
    let lab = Lab::new();
    let mut writer = lab.open();
    for number in 1..=20 {
        writer.append(&body(number)).unwrap();
        writer.commit().unwrap();
    }
    let checkpoint = writer.checkpoint().to_owned();
    drop(writer);
    let path = lab.segment(1, 1);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let opened = Writer::open(lab.config(), lab.key()).unwrap();
    let followed = opened.followed.unwrap();
    assert_eq!(followed.reason, Reason::Damaged);
    let mut writer = opened.writer;
    assert_eq!(
        writer.append(b"next").unwrap(),
        21,
        "no number is given twice"
    );
    writer.commit().unwrap();
    drop(writer);
    assert_eq!(
        fs::read(&path).unwrap(),
        bytes,
        "what was found stays as it is"
    );
    assert!(lab.verify().is_err());
    drop(checkpoint);
}

#[test]
fn a_length_that_was_changed_is_no_crash() {
    let lab = Lab::new();
    let mut writer = lab.open();
    for number in 1..=20 {
        writer.append(&body(number)).unwrap();
        writer.commit().unwrap();
    }
    drop(writer);
    let path = lab.segment(1, 1);
    let mut bytes = fs::read(&path).unwrap();
    let record = bytes
        .windows(3)
        .position(|bytes| bytes == [8, 15, 0x61])
        .unwrap();
    // It now reaches beyond the end of the file.
    bytes[record - 1] = 0x7f;
    bytes[record - 2] = 0xff;
    fs::write(&path, &bytes).unwrap();
    let opened = Writer::open(lab.config(), lab.key()).unwrap();
    assert_eq!(opened.followed.unwrap().reason, Reason::Damaged);
    assert_eq!(opened.repaired, None);
    assert_eq!(opened.writer.last(), 20);
}

#[test]
fn zeros_behind_the_last_checkpoint_are_a_crash_of_the_machine() {
    let lab = Lab::new();
    let mut writer = lab.open();
    writer.append(&body(1)).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let path = lab.segment(1, 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes.resize(bytes.len() + 100, 0);
    fs::write(&path, &bytes).unwrap();
    let opened = Writer::open(lab.config(), lab.key()).unwrap();
    assert_eq!(opened.repaired.unwrap().bytes, 100);
    assert_eq!(opened.followed, None);
    drop(opened);
    lab.verify().unwrap();
}

#[test]
fn retention_removes_what_was_read_and_says_so() {
    let mut lab = Lab::new();
    lab.retention = Retention {
        bytes: Some(60_000),
        age: None,
    };
    let mut writer = lab.open();
    for number in 1..=2000 {
        writer.append(&body(number)).unwrap();
        writer.commit().unwrap();
    }
    assert!(writer.plan(1, false).unwrap().is_none(), "nothing was read");
    let removal = writer.plan(700, false).unwrap().unwrap();
    let through = removal.through();
    assert!((1..700).contains(&through), "{through}");
    let said = format!("removed through {through}");
    writer.append(said.as_bytes()).unwrap();
    writer.commit().unwrap();
    let mut behind = Reader::open(lab.dir(), 1).unwrap();
    writer.remove(removal).unwrap();
    let gone = Reader::open(lab.dir(), through);
    assert!(matches!(gone, Err(Error::Gone { first_kept }) if first_kept == through + 1));
    let gone = std::iter::from_fn(|| {
        behind
            .read()
            .map(|entry| entry.map(|entry| entry.number))
            .transpose()
    })
    .find_map(Result::err);
    assert!(
        matches!(gone, Some(Error::Gone { first_kept }) if first_kept == through + 1),
        "{gone:?}"
    );
    assert_eq!(lab.read_all(through + 1).len() as u64, 2001 - through);
    drop(writer);
    lab.verify().unwrap();
}

#[test]
fn a_full_disk_takes_the_oldest_whoever_has_not_read_it() {
    let lab = Lab::new();
    let mut writer = lab.open();
    for number in 1..=1000 {
        writer.append(&body(number)).unwrap();
        writer.commit().unwrap();
    }
    assert!(writer.plan(1, false).unwrap().is_none());
    let removal = writer.plan(1, true).unwrap().unwrap();
    assert!(removal.bytes() > 0 && removal.through() < 999);
}

#[test]
fn what_is_old_is_removed_but_not_what_is_written_to() {
    let mut lab = Lab::new();
    lab.retention.age = Some(Duration::ZERO);
    let mut writer = lab.open();
    for number in 1..=1000 {
        writer.append(&body(number)).unwrap();
        writer.commit().unwrap();
    }
    lab.wait_sealed();
    for path in files(lab.dir()) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
    }
    let removal = writer.plan(u64::MAX, false).unwrap().unwrap();
    let through = removal.through();
    writer
        .append(format!("removed through {through}").as_bytes())
        .unwrap();
    writer.commit().unwrap();
    writer.remove(removal).unwrap();
    assert!(writer.plan(u64::MAX, false).unwrap().is_none());
    drop(writer);
    assert_eq!(lab.open().last(), 1001);
    lab.verify().unwrap();
}

#[test]
fn every_policy_writes_the_same() {
    for fsync in [
        Fsync::Never,
        Fsync::Every(Duration::ZERO),
        Fsync::EachCommit,
    ] {
        let mut lab = Lab::new();
        lab.fsync = fsync;
        let mut writer = lab.open();
        writer.append(&body(1)).unwrap();
        writer.commit().unwrap();
        writer.sync().unwrap();
        drop(writer);
        lab.verify().unwrap();
    }
}

#[test]
fn bounds_are_kept() {
    let lab = Lab::new();
    let mut writer = lab.open();
    assert!(matches!(
        writer.append(&vec![0; 17 << 20]),
        Err(Error::TooLarge)
    ));
    for number in 1..=3 {
        assert_eq!(writer.append(&vec![b'x'; 15 << 20]).unwrap(), number);
    }
    assert!(matches!(writer.append(b"x"), Err(Error::BatchFull)));
    writer.commit().unwrap();
    assert_eq!(lab.read_all(1).len(), 3);
    drop(writer);
    lab.verify().unwrap();
}

#[tokio::test]
async fn the_tail_wakes_who_waits() {
    let lab = Lab::new();
    let mut writer = lab.open();
    let mut tail = writer.tail();
    assert_eq!(tail.last(), 0);
    let wait = tokio::time::timeout(Duration::from_millis(20), tail.wait_beyond(0));
    assert!(wait.await.is_err());
    writer.append(&body(1)).unwrap();
    writer.append(&body(2)).unwrap();
    writer.commit().unwrap();
    assert_eq!(tail.wait_beyond(1).await, Ok(2));
    drop(writer);
    assert_eq!(tail.wait_beyond(1).await, Ok(2), "what is there is there");
    assert!(tail.wait_beyond(2).await.is_err());
}
