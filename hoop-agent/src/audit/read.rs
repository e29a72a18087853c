//! Records, read from the log: by the command line, by those who follow, and by sinks.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use hoop_log::{Error, Reader, Tail, Told};
use hoop_records::{Fact, Gap, Record, render};

use crate::pipeline::attribute::gap_now;

/// Records that are read in one go before others have their turn.
const TURN: usize = 256;

/// The log of a running daemon, for whoever wants to follow it.
#[derive(Clone)]
pub struct Source {
    dir: PathBuf,
    tail: Tail,
}

impl Source {
    /// The log in that directory.
    #[must_use]
    pub fn new(dir: PathBuf, tail: Tail) -> Self {
        Self { dir, tail }
    }

    /// Follows from that number on, or from the next record.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn follow(&self, from: Option<u64>) -> std::result::Result<Follower, Error> {
        let from = from.unwrap_or_else(|| self.tail.last() + 1);
        Ok(Follower {
            source: self.clone(),
            reader: Reader::behind(&self.dir, from, self.tail.clone())?,
            next: from,
        })
    }
}

/// A cursor over the log of a running daemon. It loses nothing: what it has not read yet is on disk.
pub struct Follower {
    source: Source,
    reader: Reader,
    next: u64,
}

impl Follower {
    /// The next records, a line of JSON each; waits for them. `None` once the log is closed and all of it
    /// was read. What was removed before it could be read is a gap without a number.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub async fn lines(&mut self) -> std::result::Result<Option<Vec<u8>>, Error> {
        let mut lines = Vec::new();
        loop {
            for _ in 0..TURN {
                match self.reader.read() {
                    Ok(Some(entry)) => {
                        self.next = entry.number + 1;
                        line(entry.bytes, &mut lines);
                    }
                    Ok(None) => break,
                    Err(Error::Gone { first_kept }) => {
                        let gap = gap_now(Gap {
                            count: first_kept.saturating_sub(self.next),
                            cause: "removed before it was read".to_owned(),
                            ..Gap::default()
                        });
                        render(&gap, &mut lines);
                        self.reader =
                            Reader::behind(&self.source.dir, first_kept, self.source.tail.clone())?;
                        self.next = first_kept;
                    }
                    Err(error) => return Err(error),
                }
            }
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            if self.source.tail.wait_beyond(self.next - 1).await.is_err() {
                return Ok(None);
            }
        }
    }
}

/// Reads the log of a state directory, whether a daemon runs or not: from that number on, or from the first
/// that is kept.
///
/// # Errors
///
/// When there is none, or it cannot be read.
pub fn open(state_dir: &Path, from: Option<u64>) -> Result<Reader> {
    let dir = super::directory(state_dir);
    ensure!(
        dir.is_dir(),
        "no records at {}: name the daemon's --state-dir",
        dir.display()
    );
    match (Reader::open(&dir, from.unwrap_or(1)), from) {
        (Err(Error::Gone { first_kept }), None) => Ok(Reader::open(&dir, first_kept)?),
        (reader, _) => Ok(reader?),
    }
}

/// Appends the record as a line of JSON. What cannot be read as one is named by its number.
pub fn line(bytes: &[u8], lines: &mut Vec<u8>) {
    match Record::parse(bytes) {
        Ok(record) => render(&record, lines),
        Err(error) => tracing::error!(%error, "a record of the log is none"),
    }
}

/// What a record says about the log itself, for [`hoop_log::verify`].
#[must_use]
pub fn told(bytes: &[u8]) -> Option<Told> {
    let Some(Fact::Log(change)) = Record::parse(bytes).ok()?.fact else {
        return None;
    };
    match change.activity.as_str() {
        "removed" => Some(Told::Removed {
            through: change.through,
        }),
        "opened" if !change.checkpoint.is_empty() => Some(Told::Follows {
            checkpoint: change.checkpoint,
        }),
        _ => None,
    }
}
