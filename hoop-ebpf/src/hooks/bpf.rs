//! The LSM's `bpf`: a task calls `bpf(2)`.
//!
//! Fails closed for a process of a workload, whatever the command: which objects are Hoop's cannot be
//! told from all of them, and an agent has no use for any.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use hoop_common::event::Hook;

use super::lsm_answer;
use crate::{
    guard::{self, NOBODY, Reach},
    workload::Workload,
};

/// Entry.
#[lsm(hook = "bpf")]
pub fn hoop_bpf(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, bpf, int cmd, union bpf_attr *attr, unsigned int size)
    lsm_answer(try_bpf(ctx.arg(0)).is_some())
}

fn try_bpf(command: u32) -> Option<()> {
    let workload = Workload::of_current_process()?;
    let reach = Reach {
        hook: Hook::Bpf,
        target: NOBODY,
        detail: command,
    };
    guard::denies(workload, reach, |policy| policy.bpf_rule).then_some(())
}
