//! Whatever somebody does to a log, `verify` finds it, and says where.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::{Lab, body, check, files, unseal};
use hoop_log::{Fault, Options, SigningKey, VerifierKey, What, Writer, leaf_hash, prove};
use proptest::prelude::*;
use tempfile::TempDir;

/// What is in a plain segment, with its length before it.
#[derive(Clone, Debug)]
enum Frame {
    Record(u64),
    Checkpoint,
    Other,
}

/// Two logs of some segments each, of which some are sealed, by two keys; the last is not closed.
struct Example {
    lab: Lab,
    keys: [VerifierKey; 2],
}

fn example() -> &'static Example {
    static EXAMPLE: OnceLock<Example> = OnceLock::new();
    EXAMPLE.get_or_init(|| {
        let mut lab = Lab::new();
        lab.segment_bytes = 6_000;
        let mut writer = lab.open();
        write(&mut writer, 1..=150);
        lab.wait_sealed();
        let first = lab.key().verifier().clone();
        drop(writer);
        let other = SigningKey::generate("log.test/other").unwrap();
        let second = other.verifier().clone();
        let opened = Writer::open(lab.config(), other).unwrap();
        let mut writer = opened.writer;
        let says = format!("follows {}", opened.followed.unwrap().checkpoint);
        writer.append(says.as_bytes()).unwrap();
        write(&mut writer, 152..=300);
        lab.wait_sealed();
        drop(writer);
        lab.verify().unwrap();
        Example {
            lab,
            keys: [first, second],
        }
    })
}

/// Commits of one to five records.
fn write(writer: &mut Writer, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        assert_eq!(writer.append(&body(number)).unwrap(), number);
        if number % 5 == 0 || number % 7 == 0 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
}

/// A copy to tamper with.
struct Copy {
    dir: TempDir,
}

impl Copy {
    fn new() -> Self {
        let copy = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let from = example().lab.dir();
        for file in files(from) {
            let to = copy.dir.path().join(file.strip_prefix(from).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&file, &to).unwrap();
        }
        copy
    }

    /// With plain files only.
    fn plain() -> Self {
        let copy = Self::new();
        for file in copy.files() {
            if file.extension().is_some_and(|extension| extension == "zst") {
                fs::write(file.with_extension(""), unseal(&file)).unwrap();
                fs::remove_file(file).unwrap();
            }
        }
        check(copy.path(), &Options::default()).unwrap();
        copy
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = files(self.path());
        files.retain(|file| !file.ends_with("lock"));
        files
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files = self.files();
        files.retain(|file| !file.ends_with("key.pub"));
        files
    }

    fn fault(&self) -> Fault {
        check(self.path(), &Options::default()).unwrap_err()
    }

    /// Changes the frames of one segment.
    fn edit(&self, segment: usize, edit: impl FnOnce(&mut Vec<(Frame, Vec<u8>)>)) {
        let path = &self.segments()[segment];
        let bytes = fs::read(path).unwrap();
        let frames = frames(&bytes).into_iter();
        let mut frames = frames
            .map(|(frame, range)| (frame, bytes[range].to_vec()))
            .collect();
        edit(&mut frames);
        let bytes: Vec<u8> = frames.into_iter().flat_map(|(_, bytes)| bytes).collect();
        fs::write(path, bytes).unwrap();
    }
}

fn varint(bytes: &[u8]) -> (usize, usize) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let digits = bytes[..length].iter().rev();
    let value = digits.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    (value, length)
}

fn frames(bytes: &[u8]) -> Vec<(Frame, Range<usize>)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (length, prefix) = varint(&bytes[at..]);
        let message = &bytes[at + prefix..at + prefix + length];
        let frame = match message {
            [8, rest @ ..] => Frame::Record(varint(rest).0 as u64),
            [0xca, 2, ..] => Frame::Checkpoint,
            _ => Frame::Other,
        };
        frames.push((frame, at..at + prefix + length));
        at += prefix + length;
    }
    frames
}

/// Positions of a segment's records among its frames.
fn records(frames: &[(Frame, Vec<u8>)]) -> Vec<usize> {
    let record = |(position, (frame, _)): (usize, &(Frame, _))| {
        matches!(frame, Frame::Record(_)).then_some(position)
    };
    frames.iter().enumerate().filter_map(record).collect()
}

fn number(frame: &(Frame, Vec<u8>)) -> u64 {
    let Frame::Record(number) = frame.0 else {
        panic!("no record")
    };
    number
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn one_byte_of_any_file(file: prop::sample::Index, position: prop::sample::Index, change in 1_u8..) {
        let copy = Copy::new();
        let files = copy.files();
        let path = &files[file.index(files.len())];
        let mut bytes = fs::read(path).unwrap();
        let at = position.index(bytes.len());
        bytes[at] ^= change;
        fs::write(path, &bytes).unwrap();
        let verified = check(copy.path(), &Options::default());
        prop_assert!(verified.is_err(), "byte {at} of {}", path.display());
    }

    #[test]
    fn one_byte_of_a_record(segment: prop::sample::Index, position: prop::sample::Index, change in 1_u8..) {
        let copy = Copy::plain();
        let segments = copy.segments();
        let path = &segments[segment.index(segments.len())];
        let mut bytes = fs::read(path).unwrap();
        let frames = frames(&bytes);
        let at = position.index(bytes.len());
        let (frame, _) = frames.iter().find(|(_, range)| range.contains(&at)).unwrap().clone();
        bytes[at] ^= change;
        fs::write(path, &bytes).unwrap();
        let fault = copy.fault();
        if let Frame::Record(number) = frame {
            prop_assert_eq!(fault.record, Some(number), "byte {}: {}", at, fault);
        }
    }

    #[test]
    fn a_record_removed(segment: prop::sample::Index, record: prop::sample::Index) {
        let copy = Copy::plain();
        let mut removed = 0;
        copy.edit(segment.index(copy.segments().len()), |frames| {
            let records = records(frames);
            removed = number(&frames.remove(records[record.index(records.len())]));
        });
        let fault = copy.fault();
        prop_assert_eq!(fault.record, Some(removed), "{}", fault);
        prop_assert!(matches!(fault.what, What::Removed { .. }), "{}", fault);
    }

    #[test]
    fn two_records_swapped(segment: prop::sample::Index, one: prop::sample::Index, other: prop::sample::Index) {
        let copy = Copy::plain();
        let mut first = 0;
        copy.edit(segment.index(copy.segments().len()), |frames| {
            let records = records(frames);
            let one = one.index(records.len() - 1);
            let other = one + 1 + other.index(records.len() - one - 1);
            first = number(&frames[records[one]]);
            frames.swap(records[one], records[other]);
        });
        let fault = copy.fault();
        prop_assert_eq!(fault.record, Some(first), "{}", fault);
        prop_assert!(matches!(fault.what, What::Swapped { .. } | What::Removed { .. }), "{}", fault);
    }

    #[test]
    fn a_record_written_anew_and_all_links_behind_it(segment: prop::sample::Index, record: prop::sample::Index) {
        let copy = Copy::plain();
        let (mut from, mut batch, mut to) = (0, 0, 0);
        copy.edit(segment.index(copy.segments().len()), |frames| {
            let records = records(frames);
            let changed = records[record.index(records.len())];
            from = number(&frames[changed]);
            batch = frames[..changed].iter().rev().take_while(|(frame, _)| matches!(frame, Frame::Record(_))).count() as u64;
            to = number(&frames[records[records.len() - 1]]);
            let mut link: Option<[u8; 8]> = None;
            for (frame, bytes) in &mut frames[changed..] {
                if !matches!(frame, Frame::Record(_)) {
                    continue;
                }
                let (_, prefix) = varint(bytes);
                let (_, digits) = varint(&bytes[prefix + 1..]);
                let at = prefix + 1 + digits + 1;
                match link {
                    Some(link) => bytes[at..at + 8].copy_from_slice(&link),
                    None => *bytes.last_mut().unwrap() ^= 1,
                }
                link = Some(leaf_hash(&bytes[prefix..])[..8].try_into().unwrap());
            }
        });
        // No link is wrong: the checkpoint is, and all that is known is that it is one of its records.
        let fault = copy.fault();
        let record = fault.record.unwrap();
        prop_assert!((from - batch..=to).contains(&record), "{}, changed from {}", fault, from);
        prop_assert!(matches!(fault.what, What::Root { .. } | What::Changed), "{}", fault);
    }
}

#[test]
fn a_segment_dropped() {
    let count = Copy::new().segments().len();
    assert!(count > 6, "{count}");
    for dropped in 0..count - 1 {
        let copy = Copy::new();
        let path = &copy.segments()[dropped];
        let name = path.file_name().unwrap().to_str().unwrap();
        let first: u64 = name[..20].parse().unwrap();
        fs::remove_file(path).unwrap();
        let fault = copy.fault();
        assert_eq!(fault.record, Some(first), "{fault}");
        let fits = match dropped {
            0 => matches!(fault.what, What::FirstMissing { .. }),
            _ => matches!(fault.what, What::SegmentMissing),
        };
        assert!(fits, "{fault}");
    }
    // The last: the one before says that it was there.
    let copy = Copy::new();
    fs::remove_file(copy.segments().last().unwrap()).unwrap();
    assert!(matches!(copy.fault().what, What::SegmentMissing));
}

#[test]
fn a_log_dropped() {
    let copy = Copy::new();
    fs::remove_dir_all(copy.path().join("0000000002")).unwrap();
    assert!(matches!(copy.fault().what, What::LogMissing { counter: 2 }));
    let copy = Copy::new();
    fs::remove_dir_all(copy.path().join("0000000001")).unwrap();
    assert!(matches!(copy.fault().what, What::FirstMissing { .. }));
}

#[test]
fn a_checkpoint_replaced_by_an_older() {
    let segments = Copy::new().segments().len();
    for segment in 0..segments {
        let copy = Copy::plain();
        let mut covered = 0;
        copy.edit(segment, |frames| {
            let notes = frames
                .iter()
                .enumerate()
                .filter(|(_, (frame, _))| matches!(frame, Frame::Checkpoint));
            let notes: Vec<usize> = notes.map(|(position, _)| position).collect();
            // Sealed segments have one: the other is in the segment before.
            let (older, newer) = match &notes[..] {
                [.., older, newer] => (frames[*older].clone(), *newer),
                _ => return,
            };
            covered = number(&frames[newer - 1]);
            frames[newer] = older;
        });
        if covered > 0 {
            let fault = copy.fault();
            assert!(fault.record.unwrap() <= covered, "{fault}");
            assert!(matches!(fault.what, What::Size { .. }), "{fault}");
        }
    }
}

#[test]
fn a_checkpoint_by_another_key() {
    let copy = Copy::plain();
    let lab = Lab::new();
    let other = SigningKey::generate(example().keys[1].name()).unwrap();
    let mut writer = Writer::open(lab.config(), other).unwrap().writer;
    write(&mut writer, 1..=3);
    let note = writer.checkpoint().to_owned();
    copy.edit(copy.segments().len() - 1, |frames| {
        let last = frames
            .iter()
            .rposition(|(frame, _)| matches!(frame, Frame::Checkpoint))
            .unwrap();
        let mut bytes = Vec::new();
        let put = |value: usize, bytes: &mut Vec<u8>| {
            bytes.extend([value as u8 | 0x80, (value >> 7) as u8]);
        };
        put(note.len() + 4, &mut bytes);
        bytes.extend([0xca, 2]);
        put(note.len(), &mut bytes);
        bytes.extend(note.as_bytes());
        frames[last].1 = bytes;
    });
    let fault = copy.fault();
    assert!(matches!(fault.what, What::Checkpoint(_)), "{fault}");
}

#[test]
fn the_end_of_a_log_dropped() {
    let copy = Copy::new();
    let options = |checkpoint: &str| Options {
        checkpoint: Some(checkpoint.to_owned()),
        ..Options::default()
    };
    let whole = check(copy.path(), &Options::default()).unwrap();
    let latest = whole.logs[1].checkpoint.clone();
    let before = prove(copy.path(), 295).unwrap().checkpoint;
    for checkpoint in [&latest, &before, &whole.logs[0].checkpoint] {
        check(copy.path(), &options(checkpoint)).unwrap();
    }
    copy.edit(copy.segments().len() - 1, |frames| {
        let notes = frames
            .iter()
            .enumerate()
            .filter(|(_, (frame, _))| matches!(frame, Frame::Checkpoint));
        let notes: Vec<usize> = notes.map(|(position, _)| position).collect();
        frames.truncate(notes[notes.len() - 2] + 1);
    });
    // It is a log as it was once: only who saw more of it can tell.
    let shorter = check(copy.path(), &Options::default()).unwrap();
    assert!(shorter.last < whole.last);
    let fault = check(copy.path(), &options(&latest)).unwrap_err();
    assert!(matches!(fault.what, What::Shorter { .. }), "{fault}");
    assert_eq!(fault.record, Some(shorter.last + 1));
    check(copy.path(), &options(&before)).unwrap();
}

#[test]
fn a_checkpoint_of_another_log_and_one_that_is_none() {
    let copy = Copy::new();
    let lab = Lab::new();
    let mut writer = lab.open();
    write(&mut writer, 1..=9);
    // By the key of the first log, of other records.
    let options = |checkpoint: &str| Options {
        checkpoint: Some(checkpoint.to_owned()),
        ..Options::default()
    };
    writer.append(b"others").unwrap();
    writer.commit().unwrap();
    let fault = check(copy.path(), &options(writer.checkpoint())).unwrap_err();
    assert!(matches!(fault.what, What::GivenRoot), "{fault}");
    let fault = check(copy.path(), &options("nothing")).unwrap_err();
    assert!(matches!(fault.what, What::GivenUnknown(_)), "{fault}");
}

#[test]
fn a_log_by_a_key_that_is_not_trusted() {
    let copy = Copy::new();
    let [first, second] = example().keys.clone();
    let trust = |keys: &[&VerifierKey]| {
        let options = Options {
            keys: keys.iter().map(|&key| key.clone()).collect(),
            ..Options::default()
        };
        check(copy.path(), &options)
    };
    trust(&[&first, &second]).unwrap();
    // The second log says how the first ended.
    trust(&[&second]).unwrap();
    let fault = trust(&[&first]).unwrap_err();
    assert!(matches!(fault.what, What::OtherKey { .. }), "{fault}");
    let stranger = SigningKey::generate("log.test/other").unwrap();
    assert!(trust(&[stranger.verifier()]).is_err());
}

#[test]
fn a_log_forged_before_another_is_not_vouched_for() {
    let copy = Copy::new();
    let lab = Lab::new();
    // As many records, so that numbers go on, by a key that calls itself the same.
    let key = SigningKey::generate("log.test/node").unwrap();
    let mut writer = Writer::open(lab.config(), key).unwrap().writer;
    write(&mut writer, 1..=150);
    drop(writer);
    drop(Writer::open(lab.config(), SigningKey::generate("x").unwrap()).unwrap());
    let first = copy.path().join("0000000001");
    fs::remove_dir_all(&first).unwrap();
    fs::rename(lab.dir().join("0000000001"), &first).unwrap();
    check(copy.path(), &Options::default()).unwrap();
    let options = Options {
        keys: vec![example().keys[1].clone()],
        ..Options::default()
    };
    let fault = check(copy.path(), &options).unwrap_err();
    assert!(matches!(fault.what, What::OtherKey { .. }), "{fault}");
}

#[test]
fn a_range_is_checked_by_what_it_needs() {
    let copy = Copy::new();
    let range = |range| {
        let options = Options {
            range: Some(range),
            ..Options::default()
        };
        check(copy.path(), &options)
    };
    let verified = range(100..=110).unwrap();
    assert!(
        verified.first <= 100 && verified.last >= 110 && verified.last < 290,
        "{verified:?}"
    );
    assert_eq!(range(140..=160).unwrap().logs.len(), 2);
    assert_eq!(range(1..=u64::MAX).unwrap().last, 300);
    // What is not in it may be anything.
    fs::write(&copy.segments()[0], "x").unwrap();
    range(100..=110).unwrap();
    assert!(range(1..=110).is_err());
    assert!(matches!(
        range(0..=0),
        Err(Fault {
            what: What::NoRange,
            ..
        })
    ));
}

#[test]
fn whatever_stands_in_a_file_does_no_harm() {
    let seed = example().lab.dir();
    for file in files(seed) {
        if file.ends_with("lock") {
            continue;
        }
        for content in [
            &b""[..],
            b"\xff\xff\xff\xff\xff\xff",
            &[0; 5000],
            b"\x28\xb5\x2f\xfd",
        ] {
            let copy = Copy::new();
            fs::write(copy.path().join(file.strip_prefix(seed).unwrap()), content).unwrap();
            copy.fault();
        }
    }
}
