//! Reaches of a workload's process into others, or into what Hoop keeps in the kernel.
//!
//! Only the LSM can refuse them. They are defence in depth: no policy relies on them.

use hoop_common::{
    event::{EventKind, GuardEvent, Hook, ProcessKey, Verdict},
    policy::PolicyEntry,
};

use crate::{
    emit,
    kernel::{KernelPtr, Process, offset},
    workload::{self, Workload},
};

/// `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// What is about no process.
pub const NOBODY: ProcessKey = ProcessKey {
    start_ns: 0,
    tgid: 0,
    reserved: 0,
};

/// What the running process does.
#[derive(Clone, Copy)]
pub struct Reach {
    /// Where it was seen, which says what it is.
    pub hook: Hook,
    /// The process that it reaches into, or [`NOBODY`].
    pub target: ProcessKey,
    /// See [`GuardEvent::detail`].
    pub detail: u32,
}

/// Judges it by the policy's rule against it, and records it. Returns whether it is denied.
#[inline(always)]
pub fn denies(workload: Workload, reach: Reach, rule: impl Fn(&PolicyEntry) -> u32) -> bool {
    let governed = workload.governed();
    let decision = governed.never(rule);
    // As in `family::judge`: only one load gets to deny.
    if decision.verdict as u8 != Verdict::Allow as u8
        && (!decision.passes() || workload::reporting())
    {
        let event = GuardEvent {
            header: emit::header::<GuardEvent>(EventKind::Guard, workload.id, Process::current()),
            target: reach.target,
            epoch: governed.epoch.0,
            rule: decision.rule,
            detail: reach.detail,
            path_len: 0,
            flags: 0,
            hook: reach.hook as u8,
            verdict: decision.verdict as u8,
            mode: decision.mode,
            enforcement: decision.enforce_by_answer() as u8,
        };
        emit::send(&event, decision.priority());
    }
    !decision.passes()
}

/// Whether a `super_block` is one of a BPF file system, in which Hoop has its pins.
#[inline(always)]
pub fn holds_pins(super_block: KernelPtr) -> bool {
    super_block.at(offset!(super_block_s_magic)).read() == Some(BPF_FS_MAGIC)
}
