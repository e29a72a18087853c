//! Argument vectors that arrive in chunks are put together before their exec is written.

use std::collections::HashMap;

use hoop_common::event::{EXEC_ARGS_UNREADABLE, ExecEvent, Header, ProcessKey};
use hoop_common::limits::ARGS_BYTES;

use super::event::{Args, Exec, Judgement, process_key};

/// How long an exec waits for its arguments, in nanoseconds.
const PATIENCE_NS: u64 = 200_000_000;

/// Bytes that may wait in all execs together.
const MAX_BYTES: usize = 8 << 20;

/// An exec that waits, or waited, for its arguments.
#[derive(Debug)]
pub struct Pending {
    /// The event's fixed part.
    pub event: ExecEvent,
    /// What was decided.
    pub judgement: Judgement,
    /// The program's path.
    pub path: Vec<u8>,
    /// The working directory.
    pub cwd: Vec<u8>,
    /// The arguments up to the first byte that is missing.
    pub args: Vec<u8>,
    /// Whether no byte is missing.
    pub whole: bool,
    /// How many events this is: the exec and its chunks.
    pub events: u64,
}

impl Pending {
    fn bytes(&self) -> usize {
        self.path.len() + self.cwd.len() + self.args.len() + size_of::<Self>()
    }
}

/// Whether an exec event brought all of its arguments that will come.
#[must_use]
pub fn is_complete(exec: &Exec<'_>) -> bool {
    exec.args.len() >= expected(&exec.fixed) || exec.fixed.flags & EXEC_ARGS_UNREADABLE != 0
}

/// Execs that wait for arguments, at most one per process.
#[derive(Debug, Default)]
pub struct Execs {
    pending: HashMap<ProcessKey, Pending>,
    bytes: usize,
}

impl Execs {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Lets an exec wait. The process must have none that waits.
    pub fn wait(&mut self, exec: &Exec<'_>) {
        let pending = Pending {
            event: exec.fixed,
            judgement: exec.judgement,
            path: exec.path.to_vec(),
            cwd: exec.cwd.to_vec(),
            args: exec.args.to_vec(),
            whole: false,
            events: 1,
        };
        self.bytes += pending.bytes();
        self.pending
            .insert(process_key(&exec.fixed.header), pending);
    }

    /// Adds a chunk; the exec is returned if it was the last. False if no exec waits for it.
    pub fn add(&mut self, chunk: &Args<'_>) -> Result<Option<Pending>, NoExec> {
        let key = process_key(&chunk.fixed.header);
        let pending = self.pending.get_mut(&key).ok_or(NoExec)?;
        pending.events += 1;
        // After a lost chunk there is no telling where an argument begins: the front is kept.
        if chunk.fixed.offset as usize == pending.args.len() {
            let room = (ARGS_BYTES as usize).saturating_sub(pending.args.len());
            let bytes = &chunk.bytes[..chunk.bytes.len().min(room)];
            pending.args.extend_from_slice(bytes);
            self.bytes += bytes.len();
        }
        let complete = pending.args.len() >= expected(&pending.event);
        if chunk.fixed.last == 0 && !complete {
            return Ok(None);
        }
        pending.whole = pending.args.len() >= pending.event.args_total as usize;
        Ok(self.take(key))
    }

    /// The exec that waits of this process.
    pub fn take(&mut self, key: ProcessKey) -> Option<Pending> {
        let pending = self.pending.remove(&key)?;
        self.bytes -= pending.bytes();
        Some(pending)
    }

    /// An exec that waited long enough, or is too many. `now_ns`: nanoseconds since boot, or
    /// `u64::MAX` for every one.
    pub fn overdue(&mut self, now_ns: u64) -> Option<Pending> {
        let boot_ns = |pending: &Pending| header(pending).boot_ns;
        let oldest = self
            .pending
            .values()
            .min_by_key(|pending| boot_ns(pending))?;
        let due = boot_ns(oldest).saturating_add(PATIENCE_NS) <= now_ns;
        let key = process_key(header(oldest));
        if due || self.bytes > MAX_BYTES {
            self.take(key)
        } else {
            None
        }
    }

    /// Whether more waits than may.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.bytes > MAX_BYTES
    }
}

/// Arguments arrived of which no exec is known: its event was lost, or written without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoExec;

fn expected(event: &ExecEvent) -> usize {
    event.args_total.min(ARGS_BYTES) as usize
}

fn header(pending: &Pending) -> &Header {
    &pending.event.header
}
