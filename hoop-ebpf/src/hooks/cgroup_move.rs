//! `cgroup_attach_task`: a process was moved to another cgroup.
//!
//! Observes only: an identity, once given, sticks to the process.

use aya_ebpf::{bindings::BPF_ANY, macros::raw_tracepoint, programs::RawTracePointContext};
use hoop_common::{
    event::{EventKind, MoveEvent},
    state::ProcessEntry,
};

use crate::{
    emit::{self, Priority},
    kernel::{KernelPtr, Task},
    maps::PROCESSES,
    workload::{self, Workload},
};

/// Entry.
#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn hoop_cgroup_move(ctx: RawTracePointContext) -> i32 {
    if workload::reporting() {
        // TP_PROTO(struct cgroup *dst_cgrp, const char *path, struct task_struct *task,
        //          bool threadgroup)
        // The tracepoint fires for v1 hierarchies too, so the task is asked where it is in v2.
        try_cgroup_move(Task(KernelPtr(ctx.arg(2))));
    }
    0
}

fn try_cgroup_move(task: Task) -> Option<()> {
    let process = task.process();
    let now_in = Workload::of_task(task);
    let (workload, escaped) = match (Workload::of_process(process), now_in) {
        (Some((known, entry)), now_in) => {
            let outside = match now_in {
                Some(now_in) => now_in.id != known.id,
                None => true,
            };
            if (entry.escaped == 1) == outside {
                return None;
            }
            entry.escaped = u64::from(outside);
            (known, outside)
        }
        (None, Some(entered)) => {
            let entry = ProcessEntry {
                workload: entered.id,
                start_ticks: process.start_ticks(),
                escaped: 0,
            };
            let _ = PROCESSES.insert(process.tgid, entry, u64::from(BPF_ANY));
            (entered, false)
        }
        (None, None) => return None,
    };
    let event = MoveEvent {
        header: emit::header::<MoveEvent>(EventKind::Move, workload.id, process),
        to: task.cgroup()?.id(),
        escaped: u64::from(escaped),
    };
    emit::send(&event, Priority::Normal);
    Some(())
}
