//! A log in memory, for tests and for embedders that keep none on disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::source::{Entry, Limit, Log, Source, SourceError};

/// A log that keeps its records in memory.
#[derive(Clone, Debug)]
pub struct MemoryLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    records: Mutex<Records>,
    /// Number of the newest record.
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct Records {
    /// Number of the first of `kept`.
    first: u64,
    kept: std::collections::VecDeque<Bytes>,
    closed: bool,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self(Arc::new(Shared {
            records: Mutex::new(Records {
                first: 1,
                kept: std::collections::VecDeque::new(),
                closed: false,
            }),
            last: watch::Sender::new(0),
        }))
    }
}

impl MemoryLog {
    /// Appends an encoded record; returns its number.
    pub fn append(&self, record: impl Into<Bytes>) -> u64 {
        let mut records = self.records();
        records.kept.push_back(record.into());
        let number = records.first + records.kept.len() as u64 - 1;
        drop(records);
        self.0.last.send_modify(|last| *last = number.max(*last));
        number
    }

    /// Removes the records before `first`, as retention does.
    pub fn remove_before(&self, first: u64) {
        let mut records = self.records();
        while records.first < first && records.kept.pop_front().is_some() {
            records.first += 1;
        }
    }

    /// Says that no record follows.
    pub fn close(&self) {
        self.records().closed = true;
        self.0.last.send_modify(|_| ());
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for MemoryLog {
    type Source = MemorySource;

    fn open(&self, from: u64) -> MemorySource {
        MemorySource {
            log: self.clone(),
            last: self.0.last.subscribe(),
            next: from.max(1),
        }
    }

    fn last(&self) -> u64 {
        *self.0.last.borrow()
    }
}

/// A reader of a [`MemoryLog`].
#[derive(Debug)]
pub struct MemorySource {
    log: MemoryLog,
    last: watch::Receiver<u64>,
    next: u64,
}

impl MemorySource {
    /// What is there now; empty at the end.
    fn take(&mut self, limit: Limit) -> Result<Vec<Entry>, SourceError> {
        let records = self.log.records();
        if self.next < records.first {
            self.next = records.first;
            return Err(SourceError::Gone {
                first_kept: records.first,
            });
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        let skip = usize::try_from(self.next - records.first).unwrap_or(usize::MAX);
        for record in records.kept.range(skip.min(records.kept.len())..) {
            bytes += record.len();
            if !entries.is_empty() && (entries.len() >= limit.records || bytes > limit.bytes) {
                break;
            }
            entries.push(Entry {
                number: self.next,
                record: record.clone(),
            });
            self.next += 1;
        }
        if entries.is_empty() && records.closed {
            return Err(SourceError::Closed);
        }
        Ok(entries)
    }
}

impl Source for MemorySource {
    async fn next(&mut self, limit: Limit) -> Result<Vec<Entry>, SourceError> {
        loop {
            self.last.mark_unchanged();
            let entries = self.take(limit)?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            if self.last.changed().await.is_err() {
                return Err(SourceError::Closed);
            }
        }
    }
}
