//! `sched_process_fork`: a process was created. Threads are no processes and pass unseen.
//!
//! A child that starts outside its workload is an escape: of a process that is outside already, or
//! by `CLONE_INTO_CGROUP`. In `enforce` its creator is ended here, and the child by `hooks/end.rs`
//! or the daemon. Fails open if the process map is full: the child is then found by its cgroup.

use aya_ebpf::{bindings::BPF_ANY, macros::raw_tracepoint, programs::RawTracePointContext};
use hoop_common::{
    event::{EventKind, ForkEvent, Hook},
    state::{ProcessEntry, Standing},
};

use crate::{
    emit::{self, Priority},
    escape::Escape,
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
    // clone3 with CLONE_INTO_CGROUP starts a child in another cgroup.
    let elsewhere = parent.css_set() != child.css_set();
    let (workload, standing) = match Workload::of_process(creator) {
        Some((workload, entry)) => (workload, entry.standing),
        None => match Workload::of_current() {
            Some(workload) => (workload, Standing::Inside as u64),
            None if elsewhere => (Workload::of_task(child)?, Standing::Inside as u64),
            None => return None,
        },
    };
    let process = child.process();
    if process.tgid == creator.tgid {
        return None;
    }
    let escaped = if standing == Standing::Inside as u64 {
        elsewhere && workload.is_left_by(child)
    } else {
        standing == Standing::Condemned as u64 || workload.is_left_by(child)
    };
    let mut entry = ProcessEntry {
        workload: workload.id,
        start_ticks: process.start_ticks(),
        standing: Standing::Inside as u64,
        recorded: u64::from(escaped),
    };
    let event = ForkEvent {
        header: emit::header::<ForkEvent>(EventKind::Fork, workload.id, process),
        parent: creator.key(),
    };
    emit::send(&event, Priority::Normal);
    if escaped {
        let escape = Escape {
            workload,
            process,
            to: child.cgroup()?.id(),
            hook: Hook::Fork,
        };
        // Who is outside already was recorded; so is everybody who is ended.
        let news = standing == Standing::Inside as u64 || workload.holds();
        entry.standing = escape.judge(news) as u64;
    }
    let _ = PROCESSES.insert(process.tgid, entry, u64::from(BPF_ANY));
    Some(())
}
