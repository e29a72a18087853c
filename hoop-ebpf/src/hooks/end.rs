//! `sched_process_fork` and `cgroup_attach_task` once more, as programs that the kernel trusts with
//! a task: they end a process outside its workload that is not the running one.
//!
//! Fails open: where the kernel lacks `bpf_send_signal_task` (before Linux 6.13) they are not
//! loaded, and the daemon ends such a process. Everything is judged anew here, so it does not
//! matter which of two programs at one tracepoint runs first.

use core::arch::asm;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use hoop_common::{event::KFUNC_SEND_SIGNAL_TASK, state::Standing};

use crate::{
    kernel::{KernelPtr, Process, Task},
    verdict::SIGKILL,
    workload::{self, Workload},
};

/// `PIDTYPE_TGID` of `include/linux/pid_types.h`: the whole process.
const PIDTYPE_TGID: u64 = 1;

/// Entry for children. The kernel has not woken them yet.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn hoop_end_child(ctx: BtfTracePointContext) -> i32 {
    if workload::exists() {
        let child: *const u8 = ctx.arg(1);
        if try_end_child(Task(KernelPtr(child as u64))).is_some() {
            end(child);
        }
    }
    0
}

/// Entry for processes that were moved.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn hoop_end_moved(ctx: BtfTracePointContext) -> i32 {
    if workload::exists() {
        let task: *const u8 = ctx.arg(2);
        if try_end_moved(Task(KernelPtr(task as u64))).is_some() {
            end(task);
        }
    }
    0
}

fn try_end_child(child: Task) -> Option<()> {
    let creator = Process::current();
    let (workload, condemned) = match Workload::of_process(creator) {
        Some((workload, entry)) => (workload, entry.standing == Standing::Condemned as u64),
        None => (Workload::of_current()?, false),
    };
    let ends = (condemned || workload.is_left_by(child))
        && child.process().tgid != creator.tgid
        && workload.holds();
    ends.then_some(())
}

fn try_end_moved(task: Task) -> Option<()> {
    let (workload, _) = Workload::of_process(task.process())?;
    (workload.is_left_by(task) && workload.holds()).then_some(())
}

/// `bpf_send_signal_task(task, SIGKILL, PIDTYPE_TGID, 0)`. rustc cannot name a kernel function, so
/// the daemon puts this one's number into the call before it loads the program.
#[inline(always)]
fn end(task: *const u8) {
    // SAFETY: the calling convention of BPF; the verifier knows the function's arguments.
    unsafe {
        asm!(
            "call {function}",
            function = const KFUNC_SEND_SIGNAL_TASK,
            inout("r1") task => _,
            inout("r2") u64::from(SIGKILL) => _,
            inout("r3") PIDTYPE_TGID => _,
            inout("r4") 0_u64 => _,
            lateout("r0") _,
            lateout("r5") _,
        );
    }
}
