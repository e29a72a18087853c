//! What the table holds of one process.

use std::sync::Arc;

use hoop_common::event::ProcessKey;

use super::TICK_NS;
use super::bounds::Charge;
use crate::pipeline::text;
use hoop_records::{Actor, Namespaces, Shared, User};

/// A program as a process runs it.
#[derive(Debug)]
pub struct Program {
    /// Path.
    pub path: String,
    /// Whether the path is cut.
    pub path_truncated: bool,
    /// Working directory when it started.
    pub cwd: String,
    /// Arguments, up to [`super::COMMAND_LINE_BYTES`].
    pub command_line: String,
    /// Whether the command line is cut.
    pub command_line_truncated: bool,
    pub(super) _charge: Charge,
}

/// A process of a workload.
#[derive(Debug)]
pub struct Process {
    /// Its key. Its start is rounded to a tick as long as only procfs told of it.
    pub key: ProcessKey,
    /// The process that created it.
    pub parent: ProcessKey,
    /// Id of its tagged cgroup.
    pub workload: u64,
    /// The first process of the session. A session that was there first keeps the rounded start.
    pub session: ProcessKey,
    /// What it runs; `None` if that was never seen.
    pub program: Option<Arc<Program>>,
    /// Its user, as of its last exec.
    pub user: Option<User>,
    /// Its namespaces, as of its last exec.
    pub namespaces: Option<Namespaces>,
    pub(super) seeded: bool,
    /// It is the parent of another one that is in the table, or was.
    pub(super) forked: bool,
    /// Children in the table that hold it there.
    pub(super) children: u32,
    /// It is counted in its parent's `children`.
    pub(super) counted: bool,
    pub(super) exited: bool,
    /// Its grace is over; only its children keep it.
    pub(super) expired: bool,
    /// Something happened to it since eviction last considered it.
    pub(super) used: bool,
    pub(super) actor: Option<CachedActor>,
}

#[derive(Debug)]
pub(super) struct CachedActor {
    pub(super) actor: Shared<Actor>,
    pub(super) generation: u64,
    pub(super) _charge: Charge,
}

impl Process {
    pub(super) fn new(key: ProcessKey, parent: ProcessKey, workload: u64) -> Self {
        Self {
            key,
            parent,
            workload,
            session: key,
            program: None,
            user: None,
            namespaces: None,
            seeded: false,
            forked: false,
            children: 0,
            counted: false,
            exited: false,
            expired: false,
            used: true,
            actor: None,
        }
    }

    /// Whether the key names this process. Either may be rounded to a tick.
    pub(super) fn is(&self, key: ProcessKey) -> bool {
        let start_ns = self.key.start_ns;
        let rounded = self.seeded || key.start_ns.is_multiple_of(TICK_NS);
        self.key.tgid == key.tgid
            && (start_ns == key.start_ns || rounded && start_ns / TICK_NS == key.start_ns / TICK_NS)
    }
}

impl Program {
    /// Last component of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        text::name(&self.path)
    }

    pub(super) fn bytes(&self) -> usize {
        self.path.len() + self.cwd.len() + self.command_line.len()
    }
}
