//! Which workload owns this task or socket.
//!
//! The look-up goes over the levels at which workloads exist, from the root downward, so it finds
//! the tagged cgroup however deep below it a task hides. Workloads never nest: the first hit is
//! the only one.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    bindings::__sk_buff,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_ancestor_cgroup_id, bpf_loop, bpf_skb_ancestor_cgroup_id},
    },
};
use hoop_common::{
    exec::ExecEntry,
    limits::{MAX_POLICIES, MAX_TAG_LEVEL},
    policy::{Epoch, NO_POLICY, PolicyEntry, WorkloadEntry},
    state::ProcessEntry,
};

use crate::{
    kernel::{Cgroup, KernelPtr, Process, Task},
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
        Self::by_found(hoop_search_current())
    }

    /// The workload whose cgroup a task is in.
    #[inline(always)]
    pub fn of_task(task: Task) -> Option<Self> {
        if !exists() {
            return None;
        }
        let Cgroup(KernelPtr(cgroup)) = task.cgroup()?;
        Self::by_found(hoop_search_cgroup(cgroup))
    }

    /// The workload in whose cgroup the socket behind a packet was made.
    #[inline(always)]
    pub fn of_packet(skb: *mut __sk_buff) -> Option<Self> {
        // SAFETY: `skb` is the program's context.
        Self::by_found(unsafe { hoop_search_packet(skb) })
    }

    /// The workload with an id that a search gave, 0 for none.
    #[inline(always)]
    fn by_found(id: u64) -> Option<Self> {
        if id == 0 { None } else { Self::by_id(id) }
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

    /// The workload of the running process: that which it was last known to belong to, else that
    /// whose cgroup it is in.
    #[inline(always)]
    pub fn of_current_process() -> Option<Self> {
        if !exists() {
            return None;
        }
        // Most processes are in no workload, and nothing is read of them.
        let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        if PROCESSES.get_ptr(tgid).is_some()
            && let Some((workload, _)) = Self::of_process(Process::current())
        {
            return Some(workload);
        }
        Self::of_current()
    }

    /// The workload of any process, likewise.
    #[inline(always)]
    pub fn of_process_of(task: Task) -> Option<Self> {
        match Self::of_process(task.process()) {
            Some((workload, _)) => Some(workload),
            None => Self::of_task(task),
        }
    }

    /// What governs this workload now.
    #[inline(always)]
    pub fn governed(self) -> Governed<'static> {
        let epoch = epoch();
        Governed::at(epoch, self.policy(epoch))
    }

    /// Index of its policy in an epoch, or [`NO_POLICY`].
    #[inline(always)]
    pub fn policy(self, epoch: Epoch) -> u32 {
        if epoch.bank() == 0 {
            self.entry.policy[0]
        } else {
            self.entry.policy[1]
        }
    }
}

impl Governed<'static> {
    /// The policy with an index, in an epoch.
    #[inline(always)]
    pub fn at(epoch: Epoch, policy: u32) -> Self {
        let (index, policy, exec) = if policy == NO_POLICY {
            (None, None, None)
        } else {
            let index = epoch.bank() * MAX_POLICIES + policy;
            (Some(index), POLICIES.get(index), EXECS.get(index))
        };
        Self {
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

/// Number of this load: when it was made, in nanoseconds since boot.
#[inline(always)]
pub fn generation() -> u64 {
    GENERATION.load()
}

/// Whether the process programs have anything to do: there is a workload on this node, and this
/// load is the one that reports.
#[inline(always)]
pub fn reporting() -> bool {
    match STATE.get(0) {
        // SAFETY: a map value. Volatile: the daemon changes it at any time.
        Some(state) => unsafe {
            core::ptr::read_volatile(&raw const state.levels) != 0
                && core::ptr::read_volatile(&raw const state.generation) == generation()
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

// Global functions: the verifier follows each once, and its callers know nothing of the level at
// which it ended. They return the id of the tagged cgroup, or 0.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_search_current() -> u64 {
    // SAFETY: the helper takes no pointers.
    search(|level| unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) })
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_search_cgroup(cgroup: u64) -> u64 {
    let mut climb = Climb {
        cgroup,
        levels: levels(),
        found: 0,
    };
    // SAFETY: the callback takes a `Climb`, which outlives the call.
    unsafe {
        bpf_loop(
            MAX_TAG_LEVEL,
            climb_step as *mut c_void,
            (&raw mut climb).cast::<c_void>(),
            0,
        )
    };
    climb.found
}

struct Climb {
    cgroup: u64,
    levels: u64,
    found: u64,
}

/// One level of [`hoop_search_cgroup`], for `bpf_loop`: a turn has many instructions, and so the
/// verifier follows one for all. 1 ends the loop.
unsafe extern "C" fn climb_step(turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `hoop_search_cgroup` passes a `Climb`.
    let climb = unsafe { &mut *context.cast::<Climb>() };
    let level = turn + 1;
    let above = climb.levels >> (level & 63);
    if above == 0 {
        return 1;
    }
    if above & 1 == 1 {
        let id = Cgroup(KernelPtr(climb.cgroup)).ancestor_id(level);
        if id == 0 {
            return 1;
        }
        if Workload::by_id(id).is_some() {
            climb.found = id;
            return 1;
        }
    }
    0
}

/// # Safety
///
/// `skb` is the program's context.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn hoop_search_packet(skb: *mut __sk_buff) -> u64 {
    // SAFETY: as the caller says.
    search(|level| unsafe { bpf_skb_ancestor_cgroup_id(skb, level as i32) })
}

#[inline(always)]
fn search(ancestor: impl Fn(u32) -> u64) -> u64 {
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
            if Workload::by_id(id).is_some() {
                return id;
            }
        }
    }
    0
}
