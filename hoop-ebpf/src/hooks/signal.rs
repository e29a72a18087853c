//! The LSM's `task_kill`: a task sends a signal.
//!
//! Fails closed for a process of a workload that signals the daemon. Signal 0, which only asks whether
//! there is such a process, is let through.

use aya_ebpf::{Global, macros::lsm, programs::LsmContext};
use hoop_common::event::Hook;

use super::lsm_answer;
use crate::{
    guard::{self, Reach},
    kernel::{KernelPtr, Task},
    workload::{self, Workload},
};

/// The process id of the daemon that loaded this program.
#[unsafe(no_mangle)]
static DAEMON: Global<u32> = Global::new(0);

/// Entry.
#[lsm(hook = "task_kill")]
pub fn hoop_signal(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, task_kill, struct task_struct *p, struct kernel_siginfo *info, int sig,
    //          const struct cred *cred)
    let target: *const u8 = ctx.arg(0);
    let signal: i32 = ctx.arg(2);
    if signal == 0 {
        return 0;
    }
    lsm_answer(try_signal(Task(KernelPtr(target as u64)), signal.cast_unsigned()).is_some())
}

fn try_signal(target: Task, signal: u32) -> Option<()> {
    let target = target.process();
    // Another process that has the id now started after the daemon loaded this.
    if target.tgid != DAEMON.load() || target.start_ns > workload::generation() {
        return None;
    }
    let workload = Workload::of_current_process()?;
    let reach = Reach {
        hook: Hook::Signal,
        target: target.key(),
        detail: signal,
    };
    guard::denies(workload, reach, |policy| policy.tamper_rule).then_some(())
}
