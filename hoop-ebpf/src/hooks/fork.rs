//! `sched_process_fork`: a process was created. Threads are no processes and pass unseen.
//!
//! Observes only. If the process map is full the child is still found by its cgroup.

use aya_ebpf::{bindings::BPF_ANY, macros::raw_tracepoint, programs::RawTracePointContext};
use hoop_common::{
    event::{EventKind, ForkEvent},
    state::ProcessEntry,
};

use crate::{
    emit::{self, Priority},
    kernel::{KernelPtr, Process, Task},
    maps::PROCESSES,
    workload::{self, Workload},
};

/// Entry.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn hoop_fork(ctx: RawTracePointContext) -> i32 {
    if workload::reporting() {
        // TP_PROTO(struct task_struct *parent, struct task_struct *child)
        try_fork(Task(KernelPtr(ctx.arg(0))), Task(KernelPtr(ctx.arg(1))));
    }
    0
}

fn try_fork(parent: Task, child: Task) -> Option<()> {
    let creator = Process::current();
    let workload = match Workload::of_process(creator) {
        Some((workload, _)) => workload,
        None => match Workload::of_current() {
            Some(workload) => workload,
            // clone3 with CLONE_INTO_CGROUP starts a child in another cgroup.
            None if parent.css_set() != child.css_set() => Workload::of_task(child)?,
            None => return None,
        },
    };
    let process = child.process();
    if process.tgid == creator.tgid {
        return None;
    }
    let entry = ProcessEntry {
        workload: workload.id,
        start_ticks: process.start_ticks(),
        escaped: 0,
    };
    let _ = PROCESSES.insert(process.tgid, entry, u64::from(BPF_ANY));
    let event = ForkEvent {
        header: emit::header::<ForkEvent>(EventKind::Fork, workload.id, process),
        parent: creator.key(),
    };
    emit::send(&event, Priority::Normal);
    Some(())
}
