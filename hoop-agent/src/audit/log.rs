//! The log on disk: one JSON line per record, numbered without holes, in files of bounded size.
//!
//! `DIR/records/records.jsonl` is written; once full it becomes `records-FIRSTNUMBER.jsonl`. What
//! cannot be written does not stop anything: it is counted, and a gap record says so as soon as
//! writing works again. A number is given only to what is on disk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use super::follow::Followers;
use crate::pipeline::attribute::{gap_now, lifecycle};
use hoop_records::render;
use hoop_records::{Fact, Gap, Kind, Record};

/// Where the log is, and its bounds.
#[derive(Clone, Debug)]
pub struct Config {
    /// The daemon's state directory. The log is in `records` below it.
    pub dir: PathBuf,
    /// Bytes after which a file is full.
    pub file_bytes: u64,
    /// Full files that are kept.
    pub files: usize,
}

impl Config {
    /// The default bounds: 8 full files of 64 MiB.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            file_bytes: 64 << 20,
            files: 8,
        }
    }
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("audit log: cannot {action} {path}: {source}", path = path.display())]
pub struct OpenError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The log, open for writing. One per node: the caller sees to it that no other daemon runs.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    config: Config,
    file: File,
    /// Bytes of whole lines in the file.
    len: u64,
    /// Bytes beyond `len` may be in the file, from a write that failed.
    torn: bool,
    /// Number of the file's first record, if it has one.
    first: Option<u64>,
    /// Number of the next record.
    next: u64,
    batch: Vec<u8>,
    /// For every line of the batch where it ends, and what is lost if it is not written.
    lines: Vec<(usize, Gap)>,
    /// What was not written, by CPU; records that no CPU numbered are under `None`.
    unwritten: BTreeMap<Option<u32>, Gap>,
    failure: Option<io::Error>,
    followers: Followers,
}

/// Bytes after which a batch is written although it has not ended.
const BATCH_BYTES: usize = 256 << 10;

const CURRENT: &str = "records.jsonl";

impl Log {
    /// Opens the log, or makes it, and continues its numbers. A torn last line is cut off, and a
    /// record says so.
    ///
    /// # Errors
    ///
    /// If the directory or the file cannot be made, read or written.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let dir = config.dir.join("records");
        let path = dir.join(CURRENT);
        make_dir(&dir).map_err(failed("make", &dir))?;
        let file = open_file(&path).map_err(failed("open", &path))?;
        let mut tail = Tail::read(&file).map_err(failed("read", &path))?;
        if tail.torn > 0 {
            file.set_len(tail.len)
                .map_err(failed("cut a torn line off", &path))?;
        }
        if tail.last.is_none() {
            tail.last = last_of_full_files(&dir).map_err(failed("read", &dir))?;
        }
        let mut log = Self {
            dir,
            config,
            file,
            len: tail.len,
            torn: false,
            first: tail.first,
            next: tail.last.map_or(1, |last| last + 1),
            batch: Vec::with_capacity(BATCH_BYTES),
            lines: Vec::new(),
            unwritten: BTreeMap::new(),
            failure: None,
            followers: Followers::default(),
        };
        if tail.torn > 0 {
            let detail = format!("a torn last line of {} bytes was cut off", tail.torn);
            log.append(lifecycle(
                Kind::Agent,
                "repaired",
                CURRENT.to_owned(),
                detail,
            ));
            log.flush();
        }
        Ok(log)
    }

    /// Adds a record, to be written at the latest by [`Log::flush`].
    pub fn append(&mut self, record: Record) {
        self.add_gaps();
        self.add(record);
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Writes what was added: to be called at the end of every batch. Never fails: see
    /// [`Log::failure`].
    pub fn flush(&mut self) {
        self.add_gaps();
        if self.lines.is_empty() {
            return;
        }
        let (written, result) = self.write();
        self.failure = result.err();
        let lines = self
            .lines
            .iter()
            .take_while(|&&(end, _)| end <= written)
            .count();
        let whole = match lines {
            0 => 0,
            lines => self.lines[lines - 1].0,
        };
        if lines > 0 {
            self.first.get_or_insert(self.next);
            self.next += lines as u64;
            self.len += whole as u64;
            self.followers.publish(&self.batch[..whole]);
        }
        for (_, lost) in self.lines.drain(..).skip(lines) {
            merge(&mut self.unwritten, lost);
        }
        self.torn |= written > whole;
        if let Err(error) = self.mend() {
            self.failure = Some(error);
        }
        self.batch.clear();
        self.batch.shrink_to(2 * BATCH_BYTES);
    }

    /// Why the last write failed, until one succeeds.
    #[must_use]
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Number of the last record on disk; 0 if there is none.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        self.next - 1
    }

    /// A handle to subscribe with, for any thread. Followers see what is on disk.
    #[must_use]
    pub fn followers(&self) -> Followers {
        self.followers.clone()
    }

    /// Begins a batch with what earlier failures left out.
    fn add_gaps(&mut self) {
        if !self.lines.is_empty() || self.unwritten.is_empty() {
            return;
        }
        let cause = match &self.failure {
            Some(error) => format!("audit log not written: {error}"),
            None => "audit log not written".to_owned(),
        };
        for (_, gap) in std::mem::take(&mut self.unwritten) {
            let cause = cause.clone();
            self.add(gap_now(Gap { cause, ..gap }));
        }
    }

    fn add(&mut self, mut record: Record) {
        record.number = self.next + self.lines.len() as u64;
        render(&record, &mut self.batch);
        self.lines.push((self.batch.len(), loss(record)));
    }

    /// Writes the batch. Says how much of it is in the file, also if it is not all.
    fn write(&mut self) -> (usize, io::Result<()>) {
        if let Err(error) = self.rotate().and_then(|()| self.mend()) {
            return (0, Err(error));
        }
        let mut written = 0;
        while written < self.batch.len() {
            match self.file.write(&self.batch[written..]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    /// Cuts off what a failed write left behind the last whole line.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Puts a full file aside and begins the next.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(first) = self.first else {
            return Ok(());
        };
        if self.len + self.batch.len() as u64 <= self.config.file_bytes {
            return Ok(());
        }
        self.mend()?;
        let current = self.dir.join(CURRENT);
        fs::rename(
            &current,
            self.dir
                .join(format!("{FULL_PREFIX}{first:020}{FULL_SUFFIX}")),
        )?;
        // Until the next file is there, the old one goes on under its new name.
        self.file = open_file(&current)?;
        self.first = None;
        self.len = 0;
        let full = full_files(&self.dir)?;
        let surplus = full.len().saturating_sub(self.config.files);
        for path in &full[..surplus] {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
        self.followers.close();
    }
}

const FULL_PREFIX: &str = "records-";
const FULL_SUFFIX: &str = ".jsonl";

/// What is lost if the record is not written.
fn loss(record: Record) -> Gap {
    match (record.fact, record.origin) {
        (Some(Fact::Gap(gap)), _) => Gap {
            cause: String::new(),
            ..gap
        },
        (_, Some(origin)) => Gap {
            cpu: origin.cpu,
            first: origin.sequence,
            last: origin.sequence,
            count: 1,
            ..Gap::default()
        },
        _ => Gap {
            count: 1,
            ..Gap::default()
        },
    }
}

fn merge(unwritten: &mut BTreeMap<Option<u32>, Gap>, lost: Gap) {
    let cpu = (lost.first > 0).then_some(lost.cpu);
    match unwritten.entry(cpu) {
        Entry::Vacant(entry) => {
            entry.insert(lost);
        }
        Entry::Occupied(mut entry) => {
            let gap = entry.get_mut();
            gap.first = gap.first.min(lost.first);
            gap.last = gap.last.max(lost.last);
            gap.count += lost.count;
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError {
        action,
        path,
        source,
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The full files, oldest first.
fn full_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut full = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let number = name
            .strip_prefix(FULL_PREFIX)
            .and_then(|name| name.strip_suffix(FULL_SUFFIX));
        if number.is_some_and(|number| number.parse::<u64>().is_ok()) {
            full.push(path);
        }
    }
    // Numbers have leading zeros.
    full.sort();
    Ok(full)
}

fn last_of_full_files(dir: &Path) -> io::Result<Option<u64>> {
    for path in full_files(dir)?.iter().rev() {
        if let Some(last) = Tail::read(&open_file(path)?)?.last {
            return Ok(Some(last));
        }
    }
    Ok(None)
}

/// How a file ends.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tail {
    /// Bytes of its whole lines.
    len: u64,
    /// Bytes of a line that does not end.
    torn: u64,
    /// Number of its first record.
    first: Option<u64>,
    /// Number of its last record.
    last: Option<u64>,
}

impl Tail {
    fn read(file: &File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let mut window = 64 << 10;
        loop {
            let start = size.saturating_sub(window);
            let mut bytes = vec![0; (size - start) as usize];
            file.read_exact_at(&mut bytes, start)?;
            let whole = bytes
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            // The first line of the window may be half a line, which is no JSON.
            let lines = bytes[..whole].split_inclusive(|&byte| byte == b'\n').rev();
            // A line that is none of ours counts like one, so that no number is given twice.
            let mut last = None;
            for (after, line) in (0..).zip(lines) {
                last = number(line).map(|number| number + after);
                if last.is_some() {
                    break;
                }
            }
            if last.is_some() || start == 0 {
                let len = start + whole as u64;
                let first = if last.is_some() {
                    first_number(file)?.or(last)
                } else {
                    None
                };
                return Ok(Self {
                    len,
                    torn: size - len,
                    first,
                    last,
                });
            }
            window *= 4;
        }
    }
}

fn first_number(file: &File) -> io::Result<Option<u64>> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    Ok(number(&line))
}

/// The number of a record that is a line of ours.
pub(super) fn number(line: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        number: u64,
    }
    let line: Numbered = serde_json::from_slice(line).ok()?;
    // No log ever gets that far; a higher number is none of ours.
    (line.number <= i64::MAX.cast_unsigned()).then_some(line.number)
}

#[cfg(test)]
mod tests;
