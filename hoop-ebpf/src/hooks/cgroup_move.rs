//! `cgroup_attach_task`: a process was moved to another cgroup, by the running process.
//!
//! Fails open where an identity is not known: a process that the full process map does not hold
//! leaves unseen. An identity, once given, sticks to the process; in `enforce` one that leaves its
//! workload is ended, and so is a process of the workload that moved it.

use aya_ebpf::{bindings::BPF_ANY, macros::raw_tracepoint, programs::RawTracePointContext};
use hoop_common::{
    event::Hook,
    state::{ProcessEntry, Standing},
};

use crate::{
    emit::{self, Priority},
    escape::{self, Escape},
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
    let Some((workload, entry)) = Workload::of_process(process) else {
        return enter(task);
    };
    let standing = entry.standing;
    if workload.is_left_by(task) {
        let escape = Escape {
            workload,
            process,
            to: task.cgroup()?.id(),
            hook: Hook::CgroupMove,
        };
        let news = entry.recorded == 0;
        entry.recorded = 1;
        // Judged even if it is no news: what was only recorded before may be forbidden now.
        entry.standing = escape.judge(news) as u64;
    } else if standing == Standing::Outside as u64 {
        entry.standing = Standing::Inside as u64;
        entry.recorded = 0;
        report(workload, task);
    }
    Some(())
}

#[inline(always)]
fn enter(task: Task) -> Option<()> {
    let workload = Workload::of_task(task)?;
    let process = task.process();
    let entry = ProcessEntry {
        workload: workload.id,
        start_ticks: process.start_ticks(),
        standing: Standing::Inside as u64,
        recorded: 0,
    };
    let _ = PROCESSES.insert(process.tgid, entry, u64::from(BPF_ANY));
    report(workload, task);
    Some(())
}

#[inline(always)]
fn report(workload: Workload, task: Task) {
    let to = match task.cgroup() {
        Some(cgroup) => cgroup.id(),
        None => 0,
    };
    let event = escape::moved(workload, task.process(), to, Hook::CgroupMove);
    emit::send(&event, Priority::Normal);
}
