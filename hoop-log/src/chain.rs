//! The records of a log as they follow one another: each has the next number and names the one before.

use crate::merkle::{Frontier, Hash, leaf_hash};
use crate::note::Checkpoint;
use crate::segment::{Record, SegmentStart};

/// Where a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Number of the log's first record.
    log_first: u64,
    tree: Frontier,
    previous: u64,
}

/// How a record does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlinked {
    /// It has another number than the next.
    Number,
    /// It has the next number, and the one before is not what it says.
    Previous,
}

impl Chain {
    /// A log without records.
    pub(crate) fn new(log_first: u64) -> Self {
        Self {
            log_first,
            tree: Frontier::default(),
            previous: 0,
        }
    }

    /// Where a log is at the start of a segment, by what stands there. None if that is impossible.
    pub(crate) fn of(start: &SegmentStart) -> Option<Self> {
        let size = start.first.checked_sub(start.log_first)?;
        let roots = start.frontier.iter().map(|root| root.as_slice().try_into());
        let roots: Result<Vec<Hash>, _> = roots.collect();
        let empty = start.previous == 0 && start.checkpoint.is_empty();
        if start.log_first == 0 || (size == 0 && !empty) {
            return None;
        }
        Some(Self {
            log_first: start.log_first,
            tree: Frontier::new(size, roots.ok()?)?,
            previous: start.previous,
        })
    }

    /// The start of a segment that goes on from here.
    pub(crate) fn start(&self, checkpoint: String) -> SegmentStart {
        SegmentStart {
            first: self.next(),
            log_first: self.log_first,
            frontier: self.tree.roots().iter().map(|root| root.to_vec()).collect(),
            previous: self.previous,
            checkpoint,
        }
    }

    /// Number of the log's first record.
    pub(crate) fn log_first(&self) -> u64 {
        self.log_first
    }

    /// Number of the next record.
    pub(crate) fn next(&self) -> u64 {
        self.log_first.saturating_add(self.tree.size())
    }

    /// `Record.previous` of the next record.
    pub(crate) fn previous(&self) -> u64 {
        self.previous
    }

    /// The tree of the records.
    pub(crate) fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// Whether the checkpoint is of these records.
    pub(crate) fn is(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.size == self.tree.size() && checkpoint.root == self.tree.root()
    }

    /// Appends a record, if it follows.
    pub(crate) fn push(&mut self, record: &Record<'_>) -> Result<Hash, Unlinked> {
        if record.number != self.next() || record.number == u64::MAX {
            return Err(Unlinked::Number);
        }
        if record.previous != self.previous {
            return Err(Unlinked::Previous);
        }
        Ok(self.append(record.bytes))
    }

    /// Appends the bytes of a record that has the number and names the one before.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Hash {
        let hash = leaf_hash(bytes);
        let [a, b, c, d, e, f, g, h, ..] = hash;
        self.previous = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        self.tree.push(hash);
        hash
    }
}
