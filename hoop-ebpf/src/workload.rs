//! Which workload owns this task or socket.
//!
//! The look-up goes over the levels at which workloads exist, from the root downward, so it finds
//! the tagged cgroup however deep below it a task hides. Workloads never nest: the first hit is
//! the only one.

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id},
};
use hoop_common::{
    exec::ExecEntry,
    limits::{MAX_POLICIES, MAX_TAG_LEVEL},
    policy::{Epoch, NO_POLICY, PolicyEntry, WorkloadEntry},
    state::ProcessEntry,
};

use crate::{
    kernel::{Process, Task},
    maps::{EXECS, POLICIES, PROCESSES, STATE, WORKLOADS},
};

/// A workload as a hook needs it.
#[derive(Clone, Copy)]
pub struct Workload {
    /// Id of the tagged cgroup.
    pub id: u64,
    entry: WorkloadEntry,
}

/// The epoch in force, and the policy of one workload in it.
#[derive(Clone, Copy)]
pub struct Governed<'a> {
    pub epoch: Epoch,
    /// Index of the policy in `POLICIES`, if there is one.
    pub index: Option<u32>,
    /// `None`: the workload has no policy in this epoch, so nothing is allowed.
    pub policy: Option<&'a PolicyEntry>,
    /// Its exec rules.
    pub exec: Option<&'a ExecEntry>,
}

impl Workload {
    /// The workload with this cgroup id.
    #[inline(always)]
    pub fn by_id(id: u64) -> Option<Self> {
        // SAFETY: entries are 8 bytes and replaced whole; the copy is taken at once.
        let entry = unsafe { WORKLOADS.get(id) }?;
        Some(Self { id, entry: *entry })
    }

    /// The workload whose cgroup the running task is in.
    #[inline(always)]
    pub fn of_current() -> Option<Self> {
        // SAFETY: the helper takes no pointers.
        search(|level| unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) })
    }

    /// The workload whose cgroup a task is in.
    #[inline(always)]
    pub fn of_task(task: Task) -> Option<Self> {
        if !exists() {
            return None;
        }
        let cgroup = task.cgroup()?;
        search(|level| cgroup.ancestor_id(level))
    }

    /// The workload in whose cgroup the socket behind a packet was made.
    #[inline(always)]
    pub fn of_packet(skb: *mut __sk_buff) -> Option<Self> {
        // SAFETY: `skb` is the program's context.
        search(|level| unsafe { bpf_skb_ancestor_cgroup_id(skb, level as i32) })
    }

    /// The workload that a process was last known to belong to, wherever its cgroup is now.
    #[inline(always)]
    pub fn of_process(process: Process) -> Option<(Self, &'static mut ProcessEntry)> {
        let entry = PROCESSES.get_ptr_mut(process.tgid)?;
        // SAFETY: a map value; the verifier checks the access.
        let entry = unsafe { &mut *entry };
        if entry.start_ticks != process.start_ticks() {
            return None;
        }
        Some((Self::by_id(entry.workload)?, entry))
    }

    /// What governs this workload now.
    #[inline(always)]
    pub fn governed(self) -> Governed<'static> {
        let epoch = epoch();
        let bank = epoch.bank();
        let index = if bank == 0 {
            self.entry.policy[0]
        } else {
            self.entry.policy[1]
        };
        let (index, policy, exec) = if index == NO_POLICY {
            (None, None, None)
        } else {
            let index = bank * MAX_POLICIES + index;
            (Some(index), POLICIES.get(index), EXECS.get(index))
        };
        Governed {
            epoch,
            index,
            policy,
            exec,
        }
    }
}

/// The epoch in force.
#[inline(always)]
pub fn epoch() -> Epoch {
    Epoch(match STATE.get(0) {
        // SAFETY: a map value. Volatile: the daemon changes it at any time.
        Some(state) => unsafe { core::ptr::read_volatile(&raw const state.epoch) },
        None => 0,
    })
}

/// Number of this load of the programs, see [`hoop_common::state::State::generation`].
#[unsafe(no_mangle)]
static GENERATION: Global<u64> = Global::new(0);

/// Whether the process programs have anything to do: there is a workload on this node, and this
/// load is the one that reports.
#[inline(always)]
pub fn reporting() -> bool {
    match STATE.get(0) {
        // SAFETY: a map value. Volatile: the daemon changes it at any time.
        Some(state) => unsafe {
            core::ptr::read_volatile(&raw const state.levels) != 0
                && core::ptr::read_volatile(&raw const state.generation) == GENERATION.load()
        },
        None => false,
    }
}

/// Whether there is a workload on this node.
#[inline(always)]
pub fn exists() -> bool {
    levels() != 0
}

#[inline(always)]
fn levels() -> u64 {
    match STATE.get(0) {
        // SAFETY: a map value. Volatile: the daemon changes it at any time.
        Some(state) => unsafe { core::ptr::read_volatile(&raw const state.levels) },
        None => 0,
    }
}

#[inline(always)]
fn search(ancestor: impl Fn(u32) -> u64) -> Option<Workload> {
    let levels = levels();
    for level in 1..=MAX_TAG_LEVEL {
        let above = levels >> level;
        if above == 0 {
            break;
        }
        if above & 1 == 1 {
            let id = ancestor(level);
            if id == 0 {
                break;
            }
            if let Some(workload) = Workload::by_id(id) {
                return Some(workload);
            }
        }
    }
    None
}
