//! `sched_process_exit`: a thread ends; the last one of a process is recorded.
//!
//! Observes only.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use hoop_common::{
    event::{EventKind, ExitEvent},
    payload::PieceKind,
};

use crate::{
    emit::{self, Priority},
    kernel::{KernelPtr, Task},
    maps::PROCESSES,
    payload,
    workload::{self, Workload},
};

/// Entry.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn hoop_exit(ctx: RawTracePointContext) -> i32 {
    if workload::reporting() {
        // TP_PROTO(struct task_struct *p, ...)
        try_exit(Task(KernelPtr(ctx.arg(0))));
    }
    0
}

fn try_exit(task: Task) -> Option<()> {
    let process = task.process();
    let (workload, _) = Workload::of_process(process)?;
    // Two last threads may both find `live` at 0. Only one of them removes the entry.
    if !task.is_last_thread() || PROCESSES.remove(process.tgid).is_err() {
        return None;
    }
    let event = ExitEvent {
        header: emit::header::<ExitEvent>(EventKind::Exit, workload.id, process),
        status: task.exit_status(),
        reserved: 0,
    };
    emit::send(&event, Priority::Normal);
    payload::tell(PieceKind::Ended, workload, process);
    Some(())
}
