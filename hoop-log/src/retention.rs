//! What is kept, and what is removed.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use crate::layout::{self, KEY, LogDir, Segment};
use crate::writer::Writer;

/// What is kept: all, unless there is a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// How many bytes all segments may have.
    pub bytes: Option<u64>,
    /// How old a segment's last record may be, by the clock of the file system.
    pub age: Option<Duration>,
}

/// Segments that are to be removed.
#[derive(Debug)]
#[must_use = "nothing is removed until `Writer::remove`"]
pub struct Removal {
    segments: Vec<(LogDir, Segment)>,
    through: u64,
    bytes: u64,
}

impl Removal {
    /// Number of the last record that will not be kept any more.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// How many bytes will be free.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Writer {
    /// What is to be removed: the oldest segments, as far as they are beyond the bounds and have no record from
    /// `keep_from` on, which somebody has not read yet. If the disk is full (`pressing`), at least the oldest, read or not.
    ///
    /// The segment that is written to is never removed. The caller commits a record that says what will be
    /// removed, and then calls [`Writer::remove`]: without that record, `verify` takes it for tampering.
    ///
    /// # Errors
    ///
    /// A directory could not be read.
    pub fn plan(&self, keep_from: u64, pressing: bool) -> io::Result<Option<Removal>> {
        let mut all = Vec::new();
        let mut total = 0;
        for log in layout::logs(&self.config().dir)? {
            for mut segment in log.segments()? {
                let metadata = segment.open()?.metadata()?;
                total += metadata.len();
                all.push((log.clone(), segment, metadata.len(), metadata.modified()?));
            }
        }
        let Retention { bytes, age } = self.config().retention;
        let now = SystemTime::now();
        let mut removal = Removal {
            segments: Vec::new(),
            through: 0,
            bytes: 0,
        };
        let nexts: Vec<u64> = all
            .iter()
            .skip(1)
            .map(|(_, segment, ..)| segment.first)
            .collect();
        for ((log, segment, length, modified), next) in all.into_iter().zip(nexts) {
            let old = age.is_some_and(|age| now.duration_since(modified).is_ok_and(|is| is > age));
            let large = bytes.is_some_and(|bytes| total > bytes);
            let forced = pressing && removal.segments.is_empty();
            let unread = next > keep_from && !pressing;
            if segment == *self.segment() || unread || !(old || large || forced) {
                break;
            }
            total -= length;
            removal.bytes += length;
            removal.through = next - 1;
            removal.segments.push((log, segment));
        }
        Ok((removal.through > 0).then_some(removal))
    }

    /// Number of the oldest record that is kept, and the bytes that all of them take.
    ///
    /// # Errors
    ///
    /// A directory could not be read.
    pub fn kept(&self) -> io::Result<(u64, u64)> {
        let mut first = None;
        let mut bytes = 0;
        for log in layout::logs(&self.config().dir)? {
            for mut segment in log.segments()? {
                first.get_or_insert(segment.first);
                bytes += segment.open()?.metadata()?.len();
            }
        }
        Ok((first.unwrap_or(0), bytes))
    }

    /// Removes them.
    ///
    /// # Errors
    ///
    /// A file could not be removed; older ones are.
    pub fn remove(&mut self, removal: Removal) -> io::Result<()> {
        let _files = self.sealer().hold();
        for (log, segment) in removal.segments {
            // Sealed since, or both for a moment.
            for path in [segment.path(), segment.as_sealed().path()] {
                match fs::remove_file(path) {
                    Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                    _ => {}
                }
            }
            if log.segments()?.is_empty() {
                fs::remove_file(log.path.join(KEY))?;
                fs::remove_dir(&log.path)?;
            }
        }
        Ok(())
    }
}
