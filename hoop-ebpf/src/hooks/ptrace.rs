//! The LSM's `ptrace_access_check`: a task looks into another process, or reaches into it, by `ptrace`,
//! `/proc/PID/mem`, `process_vm_readv`, `pidfd_getfd` and others.
//!
//! Fails closed for a process of a workload that reaches into one outside. Looking is let through:
//! `ps` needs it.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use hoop_common::event::Hook;

use super::lsm_answer;
use crate::{
    guard::{self, Reach},
    kernel::{KernelPtr, Task},
    workload::Workload,
};

/// `PTRACE_MODE_ATTACH` of `include/linux/ptrace.h`.
const ATTACH: u32 = 2;

/// Entry.
#[lsm(hook = "ptrace_access_check")]
pub fn hoop_ptrace(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, ptrace_access_check, struct task_struct *child, unsigned int mode)
    let mode: u32 = ctx.arg(1);
    if mode & ATTACH == 0 {
        return 0;
    }
    let target: *const u8 = ctx.arg(0);
    lsm_answer(try_ptrace(Task(KernelPtr(target as u64))).is_some())
}

fn try_ptrace(target: Task) -> Option<()> {
    let workload = Workload::of_current_process()?;
    let inside = match Workload::of_process_of(target) {
        Some(other) => other.id == workload.id,
        None => false,
    };
    let reach = Reach {
        hook: Hook::Ptrace,
        target: target.process().key(),
        detail: 0,
    };
    (!inside && guard::denies(workload, reach, |policy| policy.ptrace_rule)).then_some(())
}
