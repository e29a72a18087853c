//! Fuzzing what opens a log that something else may have written, or half written.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use super::log::{Config, Log, number};
use crate::pipeline::attribute::lifecycle;
use hoop_records::Kind;

/// The bytes of a log file, and before the first byte 0xff those of the full file before it.
///
/// Holds: no panic; whole lines stay, and nothing else; numbers go on after the last that is there;
/// what was repaired needs no second repair.
pub fn log(data: &[u8]) {
    let mut parts = data.rsplitn(2, |&byte| byte == 0xff);
    let current = parts.next().unwrap_or_default();
    let dir = Dir::new();
    let records = dir.0.join("records");
    write(&records.join("records.jsonl"), current);
    if let Some(full) = parts.next() {
        write(&records.join("records-00000000000000000001.jsonl"), full);
    }

    let numbers = [append(&dir.0), append(&dir.0)];
    let text = fs::read(records.join("records.jsonl")).unwrap_or_default();
    let kept = current
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let appended = text
        .strip_prefix(&current[..kept])
        .expect("whole lines stay");
    let lines: Vec<u64> = appended
        .split_inclusive(|&byte| byte == b'\n')
        .map(given)
        .collect();
    let repaired = usize::from(kept < current.len());
    assert_eq!(lines.len(), repaired + numbers.len());
    assert!(lines.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert_eq!(lines[repaired..], numbers);
    let before = current[..kept]
        .split_inclusive(|&byte| byte == b'\n')
        .rev()
        .find_map(number);
    assert!(before.is_none_or(|before| before < lines[0]));
}

/// The number of a line of ours, also where it is beyond all that counts as one.
fn given(line: &[u8]) -> u64 {
    let record: serde_json::Value = serde_json::from_slice(line).expect("a record of ours");
    record["number"].as_u64().expect("it has a number")
}

/// Opens the log and adds a record; its number.
fn append(dir: &Path) -> u64 {
    let mut log = Log::open(Config::new(dir)).expect("the log opens");
    log.append(lifecycle(
        Kind::Agent,
        "started",
        String::new(),
        String::new(),
    ));
    log.flush();
    assert!(log.failure().is_none());
    log.last_number()
}

fn write(path: &Path, content: &[u8]) {
    let dir = path.parent().expect("a directory above");
    fs::create_dir_all(dir).expect("make a directory");
    fs::write(path, content).expect("write a file");
}

/// A directory of this thread's own.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let thread = std::thread::current().id();
        Self(env::temp_dir().join(format!("hoop-fuzz-{}-{thread:?}", process::id())))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
