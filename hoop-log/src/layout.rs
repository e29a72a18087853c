//! Where what is: a directory of logs, each a directory of segments.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::key::VerifierKey;

/// Name of the file beside a log's segments that has the key it is signed by.
pub(crate) const KEY: &str = "key.pub";
/// Name of the file that a writer holds a lock of.
pub(crate) const LOCK: &str = "lock";
/// What the name of a file or directory that is not finished ends in.
pub(crate) const UNFINISHED: &str = ".tmp";
const PLAIN: &str = ".seg";
const SEALED: &str = ".seg.zst";

/// A log: its place in the order, and its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogDir {
    pub(crate) counter: u64,
    pub(crate) path: PathBuf,
}

/// A segment: one file, or for a moment two, of which the plain one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Number of its first record.
    pub(crate) first: u64,
    pub(crate) sealed: bool,
    pub(crate) log: PathBuf,
}

/// The logs in a directory, oldest first.
pub(crate) fn logs(dir: &Path) -> io::Result<Vec<LogDir>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let counter = name.to_str().and_then(|name| number(name, 10));
        if let Some(counter) = counter
            && entry.file_type()?.is_dir()
        {
            let path = entry.path();
            logs.push(LogDir { counter, path });
        }
    }
    logs.sort_unstable_by_key(|log| log.counter);
    Ok(logs)
}

/// The directory of a log.
pub(crate) fn log_dir(dir: &Path, counter: u64) -> LogDir {
    let path = dir.join(format!("{counter:010}"));
    LogDir { counter, path }
}

impl LogDir {
    /// Its segments, oldest first.
    pub(crate) fn segments(&self) -> io::Result<Vec<Segment>> {
        let mut segments: Vec<Segment> = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let (digits, sealed) = match (name.strip_suffix(PLAIN), name.strip_suffix(SEALED)) {
                (Some(digits), _) => (digits, false),
                (_, Some(digits)) => (digits, true),
                _ => continue,
            };
            if let Some(first) = number(digits, 20) {
                let log = self.path.clone();
                segments.push(Segment { first, sealed, log });
            }
        }
        segments.sort_unstable_by_key(|segment| (segment.first, segment.sealed));
        // Of two files of one segment, the plain one is first.
        segments.dedup_by_key(|segment| segment.first);
        Ok(segments)
    }

    /// The key beside it.
    pub(crate) fn key(&self) -> io::Result<VerifierKey> {
        let mut text = String::new();
        let file = File::open(self.path.join(KEY))?;
        file.take(1024).read_to_string(&mut text)?;
        let key = text.strip_suffix('\n').and_then(|text| text.parse().ok());
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "key.pub is no verifier key");
        key.ok_or_else(invalid)
    }

    /// The path of a plain segment.
    pub(crate) fn plain(&self, first: u64) -> PathBuf {
        self.path.join(format!("{first:020}{PLAIN}"))
    }
}

impl Segment {
    /// Its file.
    pub(crate) fn path(&self) -> PathBuf {
        let end = if self.sealed { SEALED } else { PLAIN };
        self.log.join(format!("{:020}{end}", self.first))
    }

    /// The same segment, compressed.
    pub(crate) fn as_sealed(&self) -> Self {
        Self {
            sealed: true,
            ..self.clone()
        }
    }

    /// Opens its file, whichever it is by now: a segment may be sealed at any time.
    pub(crate) fn open(&mut self) -> io::Result<File> {
        match File::open(self.path()) {
            Err(err) if err.kind() == io::ErrorKind::NotFound && !self.sealed => {
                self.sealed = true;
                File::open(self.path())
            }
            file => file,
        }
    }
}

/// Makes what was renamed, created or removed in a directory outlive a crash of the machine.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Of so many digits, and not zero.
fn number(text: &str, digits: usize) -> Option<u64> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| fits && number > 0)
}
