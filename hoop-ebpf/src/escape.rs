//! Processes outside their workload: judged, condemned, and ended where the kernel can.
//!
//! A signal reaches the running process at once. Another process is ended by `hooks/end.rs` where
//! the kernel has the function for it; otherwise by the daemon, and at its next fork or exec.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_send_signal};
use hoop_common::{
    event::{EventKind, Hook, MoveEvent},
    policy::{Mode, Ruling},
    state::Standing,
};

use crate::{
    emit::{self, Priority},
    kernel::{Process, Task},
    maps::{PROCESSES, STATE},
    verdict::{Decision, SIGKILL, decide},
    workload::{Governed, Workload},
};

impl Workload {
    /// Whether a task is in a cgroup that is not this workload's.
    #[inline(always)]
    pub fn is_left_by(self, task: Task) -> bool {
        match Workload::of_task(task) {
            Some(now_in) => now_in.id != self.id,
            None => true,
        }
    }

    /// Whether the running task is in a cgroup that is not this workload's.
    #[inline(always)]
    pub fn is_left_by_current(self) -> bool {
        match Workload::of_current() {
            Some(now_in) => now_in.id != self.id,
            None => true,
        }
    }

    /// Whether the running process is this workload's, wherever it is.
    #[inline(always)]
    pub fn has_current(self) -> bool {
        match Workload::of_process(Process::current()) {
            Some((workload, _)) => workload.id == self.id,
            None => !self.is_left_by_current(),
        }
    }

    /// Whether who leaves this workload is ended.
    #[inline(always)]
    pub fn holds(self) -> bool {
        match self.governed().escape() {
            Some(decision) => !decision.passes(),
            None => false,
        }
    }
}

impl Governed<'_> {
    /// Judges a process that left its workload. `None` without a policy: then the workload is being
    /// given up, and nobody is ended for leaving it.
    #[inline(always)]
    fn escape(self) -> Option<Decision> {
        let policy = self.policy?;
        if policy.len == 0 {
            return None;
        }
        let ruling = Ruling {
            rule: policy.escape_rule,
            allow: false,
        };
        Some(decide(policy.mode, ruling))
    }
}

/// A process that left its workload.
#[derive(Clone, Copy)]
pub struct Escape {
    pub workload: Workload,
    pub process: Process,
    /// Id of the cgroup that it is in.
    pub to: u64,
    /// Where that was seen.
    pub hook: Hook,
}

impl Escape {
    /// Judges the escape, records it if it is `news`, and ends the running process if that is the
    /// workload's. Returns what becomes of the process.
    #[inline(always)]
    pub fn judge(self, news: bool) -> Standing {
        let governed = self.workload.governed();
        let decision = governed.escape();
        let denied = match decision {
            Some(decision) => !decision.passes(),
            None => false,
        };
        if denied {
            if self.workload.has_current() {
                end_current();
            }
            count();
        }
        if news {
            let mut event = moved(self.workload, self.process, self.to, self.hook);
            event.escaped = 1;
            event.epoch = governed.epoch.0;
            if let Some(decision) = decision {
                event.rule = decision.rule;
                event.verdict = decision.verdict as u8;
                event.mode = decision.mode;
            }
            emit::send(
                &event,
                if denied {
                    Priority::Denial
                } else {
                    Priority::Normal
                },
            );
        }
        if denied {
            Standing::Condemned
        } else {
            Standing::Outside
        }
    }
}

/// Ends the running process if it must not be where it is, or was condemned: it asks for a socket,
/// and outside its workload no cgroup hook would judge that. Returns whether it did.
#[inline(always)]
pub fn stop_current() -> bool {
    // Most processes are in no workload, and return here.
    if PROCESSES
        .get_ptr((bpf_get_current_pid_tgid() >> 32) as u32)
        .is_none()
    {
        return false;
    }
    let process = Process::current();
    let Some((workload, entry)) = Workload::of_process(process) else {
        return false;
    };
    let condemned = entry.standing == Standing::Condemned as u64;
    if !(condemned || workload.is_left_by_current()) || !workload.holds() {
        return false;
    }
    let escape = Escape {
        workload,
        process,
        to: 0,
        hook: Hook::CgroupMove,
    };
    // The move is recorded where the kernel announces it, which may be a moment after the process
    // was moved: only there it is known who did it.
    entry.standing = escape.judge(false) as u64;
    true
}

/// An event of a process that is in another cgroup than before, not judged.
#[inline(always)]
pub fn moved(workload: Workload, process: Process, to: u64, hook: Hook) -> MoveEvent {
    MoveEvent {
        header: emit::header::<MoveEvent>(EventKind::Move, workload.id, process),
        to,
        mover: Process::current().key(),
        epoch: 0,
        rule: 0,
        escaped: 0,
        verdict: 0,
        mode: Mode::Observe as u8,
        hook: hook as u8,
    }
}

/// Ends the running process before it returns to its program. The kernel keeps one signal per CPU
/// while interrupts are off, so this fails where `hooks/end.rs` just ended the process that this
/// one moved: for that it is condemned too.
#[inline(always)]
fn end_current() {
    if let Some((_, entry)) = Workload::of_process(Process::current()) {
        entry.standing = Standing::Condemned as u64;
    }
    // SAFETY: the helper takes no pointers.
    unsafe { bpf_send_signal(SIGKILL) };
}

/// Tells the daemon, even if the ring is full.
#[inline(always)]
fn count() {
    if let Some(state) = STATE.get_ptr_mut(0) {
        // SAFETY: a map value.
        emit::fetch_add(unsafe { &raw mut (*state).condemned }, 1);
    }
}
