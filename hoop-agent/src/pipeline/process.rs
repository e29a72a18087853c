//! The process table: who the processes of the workloads are. The only state that stages share.

mod bounds;
mod entry;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hoop_common::event::{
    EXEC_ARGS_TRUNCATED, EXEC_ARGS_UNREADABLE, EXEC_CWD_TRUNCATED, EXEC_PATH_TRUNCATED, ExecEvent,
    ProcessKey,
};

pub use self::bounds::Limits;
use self::bounds::{Charge, Recent};
use self::entry::CachedActor;
pub use self::entry::{Process, Program};
use super::event::Judgement;
use super::text;
use hoop_records::{Actor, Namespaces, Shared, User};

/// Nanoseconds of a clock tick as procfs counts it (`USER_HZ` is 100 on every architecture that
/// Hoop runs on).
pub const TICK_NS: u64 = 10_000_000;

/// Bytes of a command line that records of other facts than the exec itself repeat.
pub const COMMAND_LINE_BYTES: usize = 4096;

/// Stands before a working directory that is cut at its front.
const CUT: &[u8] = "…".as_bytes();

/// A process that was there first, from procfs.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    /// Process id in the initial PID namespace.
    pub tgid: u32,
    /// Field 22 of `/proc/PID/stat`: start in clock ticks since boot.
    pub start_ticks: u64,
    /// Process id of its parent.
    pub parent_tgid: u32,
    /// The parent's start in clock ticks since boot.
    pub parent_start_ticks: u64,
    /// Id of the tagged cgroup.
    pub workload: u64,
    /// Target of `/proc/PID/exe`.
    pub path: Vec<u8>,
    /// Target of `/proc/PID/cwd`.
    pub cwd: Vec<u8>,
    /// `/proc/PID/cmdline`: each argument ended by a NUL.
    pub args: Vec<u8>,
    /// From `/proc/PID/status`.
    pub user: Option<User>,
    /// From `/proc/PID/ns`.
    pub namespaces: Option<Namespaces>,
}

/// An exec with all of its arguments that there are.
#[derive(Clone, Copy, Debug)]
pub struct Executed<'a> {
    /// The event's fixed part.
    pub event: &'a ExecEvent,
    /// What was decided.
    pub judgement: Judgement,
    /// The program's path.
    pub path: &'a [u8],
    /// The working directory.
    pub cwd: &'a [u8],
    /// The arguments, each ended by a NUL.
    pub args: &'a [u8],
    /// Whether `args` is the whole argument vector.
    pub whole: bool,
}

/// Why a process is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It started before the table did.
    Before,
    /// The table was full.
    Evicted,
    /// Its first events were lost.
    Lost,
}

/// The processes of all workloads.
#[derive(Debug)]
pub struct ProcessTable {
    limits: Limits,
    since_ns: u64,
    /// By pid: more than one only while an earlier process of that pid is in its grace.
    processes: HashMap<u32, Vec<Process>>,
    len: usize,
    bytes: Arc<AtomicUsize>,
    /// Processes in the order of their arrival, for eviction. May name some that are gone.
    order: VecDeque<ProcessKey>,
    exits: VecDeque<(u64, ProcessKey)>,
    evicted: Recent,
    evictions: u64,
    /// Changes whenever cached actors may name an ancestor's former program.
    generation: u64,
}

impl ProcessTable {
    /// An empty table. `now_ns`: nanoseconds since boot.
    #[must_use]
    pub fn new(limits: Limits, now_ns: u64) -> Self {
        Self {
            limits,
            since_ns: now_ns,
            processes: HashMap::new(),
            len: 0,
            bytes: Arc::default(),
            order: VecDeque::new(),
            exits: VecDeque::new(),
            evicted: Recent::default(),
            evictions: 0,
            generation: 0,
        }
    }

    /// Takes processes that were there first. Those that events told of already stay as they are.
    pub fn seed(&mut self, seeds: impl IntoIterator<Item = Seed>) {
        let mut added = Vec::new();
        for seed in seeds {
            let key = rounded(seed.tgid, seed.start_ticks);
            let program = self
                .program(&seed.path, false, &seed.cwd, &seed.args, false)
                .0;
            if let Some(process) = self.find_mut(key) {
                if process.program.is_none() {
                    process.program = Some(program);
                    process.user = seed.user;
                    process.namespaces = seed.namespaces;
                    process.actor = None;
                }
                continue;
            }
            let parent = rounded(seed.parent_tgid, seed.parent_start_ticks);
            let mut process = Process::new(key, parent, seed.workload);
            process.program = Some(program);
            process.user = seed.user;
            process.namespaces = seed.namespaces;
            process.seeded = true;
            self.insert(process);
            added.push(key);
        }
        for &key in &added {
            self.hold_parent(key);
        }
        for key in added {
            let session = self.first_of_session(key);
            if let Some(process) = self.find_mut(key) {
                process.session = session;
            }
        }
        self.generation += 1;
    }

    /// A process was created.
    pub fn forked(&mut self, key: ProcessKey, parent_key: ProcessKey, workload: u64) {
        if self.find_mut(key).is_some() {
            return;
        }
        let mut process = Process::new(key, parent_key, workload);
        if let Some(parent) = self.find_mut(parent_key) {
            process.parent = parent.key;
            process.program.clone_from(&parent.program);
            process.user = parent.user;
            process.namespaces = parent.namespaces;
            process.counted = true;
            if parent.workload == workload {
                process.session = parent.session;
            }
            parent.forked = true;
            parent.children += 1;
        }
        self.insert(process);
    }

    /// A process runs another program. Returns the whole command line if the table keeps less.
    pub fn executed(&mut self, key: ProcessKey, exec: &Executed<'_>) -> Option<String> {
        let event = exec.event;
        let flag = |flag| event.flags & flag != 0;
        let cwd = [if flag(EXEC_CWD_TRUNCATED) { CUT } else { b"" }, exec.cwd].concat();
        let (program, whole) = self.program(
            exec.path,
            flag(EXEC_PATH_TRUNCATED),
            &cwd,
            exec.args,
            !exec.whole || flag(EXEC_ARGS_TRUNCATED | EXEC_ARGS_UNREADABLE),
        );
        // Its fork was not seen: it entered the workload, or the event is lost.
        self.forked(key, event.parent, event.header.workload);
        let generation = &mut self.generation;
        let Some(process) = find_mut(&mut self.processes, key) else {
            return whole;
        };
        process.program = Some(program);
        process.user = Some(User {
            uid: Some(event.uid),
            gid: Some(event.gid),
            euid: Some(event.euid),
            egid: Some(event.egid),
        });
        let [pid, net, mnt, user, uts, ipc, cgroup] = event.namespaces;
        process.namespaces = Some(Namespaces {
            pid,
            net,
            mnt,
            user,
            uts,
            ipc,
            cgroup,
        });
        process.actor = None;
        if process.forked {
            *generation += 1;
        }
        whole
    }

    /// A process entered or left a workload.
    pub fn moved(&mut self, key: ProcessKey, workload: u64, escaped: bool) {
        if self.find_mut(key).is_none() {
            self.forked(
                key,
                ProcessKey {
                    start_ns: 0,
                    tgid: 0,
                    reserved: 0,
                },
                workload,
            );
        }
        // Identity sticks: one that left is still the workload's.
        if escaped {
            return;
        }
        let Some(process) = self.find_mut(key) else {
            return;
        };
        if process.workload != workload {
            process.workload = workload;
            process.session = process.key;
            self.generation += 1;
        }
    }

    /// A process ended. It is remembered for its grace.
    pub fn exited(&mut self, key: ProcessKey, boot_ns: u64) {
        if let Some(process) = self.find_mut(key)
            && !process.exited
        {
            process.exited = true;
            self.exits.push_back((boot_ns, key));
        }
    }

    /// Forgets the processes whose grace is over. `now_ns`: nanoseconds since boot.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(&(exit_ns, key)) = self.exits.front() {
            if exit_ns.saturating_add(self.limits.grace_ns) > now_ns {
                break;
            }
            self.exits.pop_front();
            self.forget_exited(key);
        }
        if self.order.len() > 2 * self.len + 1024 {
            let processes = &self.processes;
            self.order.retain(|&key| find(processes, key).is_some());
        }
    }

    /// The process with this key. An exact key also finds the seeded process that it is.
    #[must_use]
    pub fn get(&self, key: ProcessKey) -> Option<&Process> {
        find(&self.processes, key)
    }

    /// Why [`ProcessTable::get`] has no process of this key.
    #[must_use]
    pub fn unseen(&self, key: ProcessKey) -> Unseen {
        if self.evicted.contains(key) {
            Unseen::Evicted
        } else if key.start_ns < self.since_ns {
            Unseen::Before
        } else {
            Unseen::Lost
        }
    }

    /// The processes above this one in its workload, nearest first.
    pub fn ancestry(&self, process: &Process) -> impl Iterator<Item = &Process> {
        let workload = process.workload;
        let above = move |process: &Process| {
            let parent = self.get(process.parent)?;
            (parent.workload == workload).then_some(parent)
        };
        std::iter::successors(above(process), move |process| above(process))
    }

    /// The actor that was last [cached](ProcessTable::cache) for this process, if it still holds.
    /// With it, whether its program was seen. Notes that the process is in use, and its exact key.
    pub fn cached(&mut self, key: ProcessKey) -> Option<(Shared<Actor>, bool)> {
        let generation = self.generation;
        let process = self.find_mut(key)?;
        let cached = process.actor.as_ref()?;
        let seen = process.program.is_some();
        (cached.generation == generation).then(|| (cached.actor.clone(), seen))
    }

    /// Keeps the actor until something that it says changes.
    pub fn cache(&mut self, key: ProcessKey, actor: &Shared<Actor>) {
        let generation = self.generation;
        let bytes = Arc::clone(&self.bytes);
        if let Some(process) = self.find_mut(key) {
            let text = process
                .program
                .as_ref()
                .map_or(0, |program| program.bytes());
            // The message and its JSON.
            let charge = Charge::new(bytes, 2 * text + 1024);
            process.actor = Some(CachedActor {
                actor: actor.clone(),
                generation,
                _charge: charge,
            });
        }
        self.shrink();
    }

    /// Processes in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Processes that were forgotten because the table was full.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    fn find_mut(&mut self, key: ProcessKey) -> Option<&mut Process> {
        find_mut(&mut self.processes, key)
    }

    fn insert(&mut self, process: Process) {
        self.order.push_back(process.key);
        self.processes
            .entry(process.key.tgid)
            .or_default()
            .push(process);
        self.len += 1;
        self.shrink();
    }

    fn hold_parent(&mut self, key: ProcessKey) {
        let Some(parent) = self.get(key).map(|process| process.parent) else {
            return;
        };
        if let Some(parent) = self.find_mut(parent) {
            parent.children += 1;
            parent.forked = true;
            if let Some(process) = self.find_mut(key) {
                process.counted = true;
            }
        }
    }

    fn first_of_session(&self, key: ProcessKey) -> ProcessKey {
        let Some(process) = self.get(key) else {
            return key;
        };
        // Bounded: what procfs says about parents while pids are reused need not be a tree.
        let top = self
            .ancestry(process)
            .take(self.len)
            .last()
            .unwrap_or(process);
        top.session
    }

    fn program(
        &self,
        path: &[u8],
        path_truncated: bool,
        cwd: &[u8],
        args: &[u8],
        args_truncated: bool,
    ) -> (Arc<Program>, Option<String>) {
        let mut command_line = text::command_line(args);
        let front = text::front(&command_line, COMMAND_LINE_BYTES);
        let mut command_line_truncated = args_truncated;
        let mut whole = None;
        if front.len() < command_line.len() {
            let front = front.to_owned();
            whole = Some(std::mem::replace(&mut command_line, front));
            command_line_truncated = true;
        }
        let (path, cwd) = (text::path(path), text::path(cwd));
        let bytes = path.len() + cwd.len() + command_line.len() + size_of::<Process>();
        let program = Program {
            path,
            path_truncated,
            cwd,
            command_line,
            command_line_truncated,
            _charge: Charge::new(Arc::clone(&self.bytes), bytes),
        };
        (Arc::new(program), whole)
    }

    /// Forgets an exited process, or leaves it to the last of its children.
    fn forget_exited(&mut self, key: ProcessKey) {
        match self.find_mut(key) {
            Some(process) if process.children > 0 => process.expired = true,
            Some(_) => self.remove(key),
            None => {}
        }
    }

    fn remove(&mut self, key: ProcessKey) {
        let mut next = Some(key);
        while let Some(process) = next.take().and_then(|key| self.take(key)) {
            if !process.counted {
                return;
            }
            if let Some(parent) = self.find_mut(process.parent) {
                parent.children = parent.children.saturating_sub(1);
                if parent.children == 0 && parent.expired {
                    next = Some(parent.key);
                }
            }
        }
    }

    fn take(&mut self, key: ProcessKey) -> Option<Process> {
        let same_pid = self.processes.get_mut(&key.tgid)?;
        let index = same_pid.iter().position(|process| process.is(key))?;
        let process = same_pid.swap_remove(index);
        if same_pid.is_empty() {
            self.processes.remove(&key.tgid);
        }
        self.len -= 1;
        Some(process)
    }

    /// Evicts until the table is within its limits: first what has ended, then what nothing
    /// happened to for the longest time, about (second chance).
    fn shrink(&mut self) {
        while self.len > self.limits.processes
            || self.len > 1 && self.bytes.load(Ordering::Relaxed) > self.limits.bytes
        {
            if let Some((_, key)) = self.exits.pop_front() {
                self.evictions += 1;
                self.evicted.add(key);
                self.forget_exited(key);
                continue;
            }
            let Some(key) = self.order.pop_front() else {
                return;
            };
            let processes = self.processes.get_mut(&key.tgid);
            let Some(process) = processes.and_then(|all| all.iter_mut().find(|one| one.is(key)))
            else {
                continue;
            };
            if std::mem::take(&mut process.used) {
                self.order.push_back(key);
                continue;
            }
            self.evictions += 1;
            self.evicted.add(process.key);
            self.remove(key);
        }
    }
}

fn find(processes: &HashMap<u32, Vec<Process>>, key: ProcessKey) -> Option<&Process> {
    processes
        .get(&key.tgid)?
        .iter()
        .find(|process| process.is(key))
}

/// Finds a process that something happens to: notes that, and its exact key.
fn find_mut(processes: &mut HashMap<u32, Vec<Process>>, key: ProcessKey) -> Option<&mut Process> {
    let process = processes
        .get_mut(&key.tgid)?
        .iter_mut()
        .find(|process| process.is(key))?;
    if process.seeded && !key.start_ns.is_multiple_of(TICK_NS) {
        process.key = key;
    }
    process.used = true;
    Some(process)
}

fn rounded(tgid: u32, start_ticks: u64) -> ProcessKey {
    let start_ns = start_ticks.saturating_mul(TICK_NS);
    ProcessKey {
        start_ns,
        tgid,
        reserved: 0,
    }
}
