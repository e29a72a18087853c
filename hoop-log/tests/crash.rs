//! Whatever a crash leaves behind, nothing that was committed is lost and the log goes on.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Lab, body, files, unseal};
use hoop_log::{SigningKey, Writer};

#[test]
fn a_crash_at_any_byte_of_a_commit_loses_nothing() {
    let lab = Lab::new();
    let mut writer = lab.open();
    for number in 1..=3 {
        writer.append(&body(number)).unwrap();
    }
    writer.commit().unwrap();
    let path = lab.segment(1, 1);
    let before = fs::read(&path).unwrap().len();
    for number in 4..=6 {
        writer.append(&body(number)).unwrap();
    }
    writer.commit().unwrap();
    drop(writer);
    let whole = fs::read(&path).unwrap();
    for length in before..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let opened = Writer::open(lab.config(), lab.key()).unwrap();
        let torn = length - before;
        let last = if length == whole.len() { 6 } else { 3 };
        let repaired = opened.repaired.map_or(0, |repaired| repaired.bytes);
        assert_eq!(
            repaired,
            if last == 6 { 0 } else { torn as u64 },
            "at {length}"
        );
        assert_eq!(opened.followed, None, "at {length}");
        let mut writer = opened.writer;
        assert_eq!(writer.last(), last, "at {length}");
        writer.append(b"next").unwrap();
        writer.commit().unwrap();
        drop(writer);
        lab.verify().unwrap();
        assert_eq!(lab.read_all(1).len() as u64, last + 1);
    }
}

#[test]
fn a_crash_between_two_segments_is_mended() {
    let lab = Lab::new();
    let mut writer = lab.open();
    for number in 1..=300 {
        writer.append(&body(number)).unwrap();
        writer.commit().unwrap();
    }
    drop(writer);
    let paths = files(lab.dir());
    let segments: Vec<_> = paths
        .iter()
        .filter(|path| path.to_str().unwrap().ends_with("seg"))
        .collect();
    let last = segments[segments.len() - 1];
    // The last has its start and nothing else, the one before has no end.
    let bytes = fs::read(last).unwrap();
    let start = usize::from(bytes[0] & 0x7f) | usize::from(bytes[1]) << 7;
    fs::write(last, &bytes[..start + 2]).unwrap();
    let (previous, plain) = unseal_last_but_one(&lab);
    fs::write(&previous, &plain[..plain.len() - 4]).unwrap();
    lab.verify().unwrap();
    let mut writer = lab.open();
    assert_eq!(fs::read(&previous).unwrap(), plain);
    writer.append(b"next").unwrap();
    writer.commit().unwrap();
    drop(writer);
    lab.verify().unwrap();
}

#[test]
fn a_crash_between_two_logs_is_mended() {
    let lab = Lab::new();
    let mut writer = lab.open();
    writer.append(&body(1)).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let before = fs::read(lab.segment(1, 1)).unwrap();
    let other = SigningKey::generate("log.test/other").unwrap();
    let file = lab.dir().join("other-key");
    other.save(&file).unwrap();
    drop(Writer::open(lab.config(), other).unwrap());
    let closed = fs::read(lab.segment(1, 1)).unwrap();
    fs::write(lab.segment(1, 1), &before).unwrap();
    lab.verify().unwrap();
    let opened = Writer::open(lab.config(), SigningKey::load(&file).unwrap()).unwrap();
    assert_eq!((opened.repaired, &opened.followed), (None, &None));
    assert_eq!(fs::read(lab.segment(1, 1)).unwrap(), closed);
    drop(opened);
    lab.verify().unwrap();
}

#[test]
fn what_was_not_finished_is_removed() {
    let lab = Lab::new();
    drop(lab.open());
    let log = lab.dir().join("0000000001");
    fs::write(log.join("00000000000000000001.seg.zst.tmp"), "x").unwrap();
    fs::create_dir(lab.dir().join("0000000002.tmp")).unwrap();
    fs::write(lab.dir().join("0000000002.tmp/key.pub"), "x").unwrap();
    let before = files(lab.dir()).len();
    let writer = lab.open();
    assert_eq!(files(lab.dir()).len(), before - 2);
    assert!(!lab.dir().join("0000000002.tmp").exists());
    drop(writer);
}

#[test]
fn a_segment_that_is_there_twice_is_there_once() {
    let lab = Lab::new();
    let mut writer = lab.open();
    for number in 1..=500 {
        writer.append(&body(number)).unwrap();
        writer.commit().unwrap();
    }
    lab.wait_sealed();
    drop(writer);
    // Sealed, renamed, and killed before the plain one was removed.
    let (plain, bytes) = unseal_last_but_one(&lab);
    fs::write(&plain, bytes).unwrap();
    lab.verify().unwrap();
    assert_eq!(lab.read_all(1).len(), 500);
    let writer = lab.open();
    lab.wait_sealed();
    drop(writer);
    lab.verify().unwrap();
}

/// Makes the last segment but one a plain one again; gives its path, and what is in it.
fn unseal_last_but_one(lab: &Lab) -> (PathBuf, Vec<u8>) {
    let mut segments = files(lab.dir());
    segments.retain(|path| path.to_str().unwrap().contains(".seg"));
    let path = &segments[segments.len() - 2];
    if path.extension().unwrap() != "zst" {
        return (path.clone(), fs::read(path).unwrap());
    }
    let plain = unseal(path);
    fs::remove_file(path).unwrap();
    (path.with_extension(""), plain)
}
