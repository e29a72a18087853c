//! The audit log as the daemon writes it: what cannot be written waits in memory up to a bound, and
//! what does not fit there is counted.
//!
//! [`hoop_log`] gives numbers, hashes and signs; a record has a number only once it is on disk.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use hoop_log::{Error, Reason, Tail, Writer};
use hoop_records::{Gap, LogChange, Record};

use super::{Unread, health::Health, key, reserve::Reserve, waiting::Waiting};
use crate::{
    config::file::{Audit, Fsync},
    pipeline::attribute::{gap_now, log_changed},
};

/// Bytes of records after which a commit is made although the batch has not ended.
const COMMIT_BYTES: usize = 256 << 10;

/// Time between two attempts to write while writing fails.
const RETRY: Duration = Duration::from_millis(250);

/// Time between two looks at what is kept too long.
const RETIRE_EVERY: Duration = Duration::from_secs(1);

/// The log, open for writing. One per node: the caller sees to it that no other daemon runs.
pub struct Log {
    writer: Writer,
    reserve: Reserve,
    waiting: Waiting,
    failure: Option<io::Error>,
    retry_at: Instant,
    retire_at: Instant,
    /// Whether what was written is forced to the disk here.
    sync: bool,
    unread: Unread,
    health: Health,
    name: String,
}

impl Log {
    /// Opens the log of a state directory, or makes it, and continues its numbers. What a crash left
    /// behind the last checkpoint is cut off, and a record says so; a log that is not what its last
    /// checkpoint says is left as it is, and another is begun.
    ///
    /// # Errors
    ///
    /// If the directory, the key or a file cannot be made, read or written.
    pub fn open(state_dir: &Path, settings: &Audit, unread: Unread) -> Result<Self> {
        let dir = super::directory(state_dir);
        let key = key::read_or_make(state_dir)?;
        let name = format!("{}+{:08x}", key.verifier().name(), key.verifier().id());
        let opened = Writer::open(settings.log(&dir), key)?;
        let mut log = Self {
            writer: opened.writer,
            reserve: Reserve::at(&dir),
            waiting: Waiting::default(),
            failure: None,
            retry_at: Instant::now(),
            retire_at: Instant::now(),
            sync: settings.fsync == Fsync::EverySecond,
            unread,
            health: Health::default(),
            name,
        };
        if let Some(repaired) = opened.repaired {
            log.append(log_changed(LogChange {
                activity: "repaired".to_owned(),
                detail: format!(
                    "{} bytes behind the last checkpoint were cut off: nobody had been shown them",
                    repaired.bytes
                ),
                ..LogChange::default()
            }));
        }
        if let Some(followed) = opened.followed {
            log.append(log_changed(LogChange {
                activity: "opened".to_owned(),
                detail: match followed.reason {
                    Reason::KeyChanged => "the key changed: the log before was closed",
                    Reason::Damaged => {
                        "the log before is not what its last checkpoint says: it was left as it is"
                    }
                }
                .to_owned(),
                checkpoint: followed.checkpoint,
                ..LogChange::default()
            }));
        }
        log.flush();
        Ok(log)
    }

    /// Adds a record, to be written at the latest by [`Log::flush`].
    pub fn append(&mut self, record: Record) {
        self.waiting.push(record);
        if self.failure.is_none() && self.waiting.bytes() >= COMMIT_BYTES {
            self.flush();
        }
        if self.failure.is_some() {
            self.waiting.shed();
        }
    }

    /// Writes what was added: to be called at the end of every batch, and now and then. Never fails:
    /// see [`Log::failure`].
    pub fn flush(&mut self) {
        self.try_flush();
        let bytes = self.waiting.bytes();
        self.health.set_failing(self.failure.is_some(), bytes);
    }

    fn try_flush(&mut self) {
        let now = Instant::now();
        if self.failure.is_some() && now < self.retry_at {
            return;
        }
        while !self.waiting.is_empty() {
            if let Err(error) = self.commit_some() {
                self.retry_at = now + RETRY;
                let full = error.kind() == io::ErrorKind::StorageFull;
                self.failure = Some(error);
                if full {
                    self.retire(true);
                }
                return;
            }
            self.failure = None;
        }
        if now >= self.retire_at {
            self.retire_at = now + RETIRE_EVERY;
            if self.sync
                && let Err(error) = self.writer.sync()
            {
                tracing::warn!(%error, "the audit log is not forced to the disk");
            }
            self.reserve.fill();
            self.retire(false);
            match self.writer.kept() {
                Ok((oldest, bytes)) => self.health.set_kept(oldest, bytes),
                Err(error) => tracing::warn!(%error, "what the audit log takes cannot be seen"),
            }
        }
    }

    /// Whether everything that was added is written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Why the last write failed, until one succeeds.
    #[must_use]
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Number of the last record on disk; 0 if there is none.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        self.writer.last()
    }

    /// How far readers may read, for any thread.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.writer.tail()
    }

    /// How the log is, for any thread.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Name of the log, unlike that of any other: its key's, and the key's id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Commits the oldest that wait, first of all what was lost of them.
    fn commit_some(&mut self) -> io::Result<()> {
        let mut bytes = 0;
        let cause = match &self.failure {
            Some(error) => format!("audit log not written: {error}"),
            None => "audit log not written".to_owned(),
        };
        for gap in self.waiting.lost() {
            let record = gap_now(Gap {
                cause: cause.clone(),
                ..gap.clone()
            });
            self.writer
                .append(&record.encode_body())
                .map_err(io::Error::other)?;
        }
        let mut count = 0;
        let mut too_large = false;
        for body in self.waiting.bodies() {
            match self.writer.append(body) {
                Ok(_) => {}
                // No other of its kind may wait behind it for ever.
                Err(Error::TooLarge) => {
                    too_large = true;
                    break;
                }
                Err(Error::BatchFull) if count > 0 => break,
                Err(error) => return Err(io::Error::other(error)),
            }
            count += 1;
            bytes += body.len();
            if bytes >= COMMIT_BYTES {
                break;
            }
        }
        self.writer.commit()?;
        self.waiting.written(count);
        if too_large {
            self.waiting.drop_first();
        }
        Ok(())
    }

    /// Removes what is kept too long. `pressing`: the disk is full, so also what a sink has not read.
    fn retire(&mut self, pressing: bool) {
        let unread = self.unread.first();
        let removal = match self.writer.plan(unread, pressing) {
            Ok(Some(removal)) => removal,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "what the audit log takes cannot be seen");
                return;
            }
        };
        let through = removal.through();
        let detail = if unread <= through {
            tracing::warn!(
                through,
                unread,
                "the disk is full: records go that a sink has not read"
            );
            format!("the disk was full; sinks had not read those from {unread} on")
        } else {
            String::new()
        };
        // What says so is written first. On a full disk there is room for that, and for nothing else.
        if pressing {
            self.reserve.give_up();
        }
        let change = log_changed(LogChange {
            activity: "removed".to_owned(),
            through,
            detail,
            ..LogChange::default()
        });
        let removed = self
            .writer
            .append(&change.encode_body())
            .map_err(io::Error::other)
            .and_then(|_| self.writer.commit())
            .and_then(|()| self.writer.remove(removal));
        if let Err(error) = removed {
            tracing::warn!(%error, through, "records are kept longer than they should be");
        }
        self.reserve.fill();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.retry_at = Instant::now();
        self.flush();
        if let Some(error) = &self.failure {
            let records = self.waiting.len();
            tracing::error!(%error, records, "records are lost that could not be written");
        }
    }
}

#[cfg(test)]
mod tests;
