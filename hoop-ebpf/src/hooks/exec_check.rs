//! The LSM's `bprm_creds_from_file`: a process is about to become another program, and can still be
//! told that it may not.
//!
//! Judges by everything but the arguments, which another thread could still change. Fails open:
//! `hooks/exec.rs` judges what gets through here, by all there is, and ends it.

use aya_ebpf::{helpers::generated::bpf_probe_read_kernel, macros::lsm, programs::LsmContext};
use hoop_common::{
    event::{EXEC_PATH_TRUNCATED, EventKind, GuardEvent, Hook},
    exec::{Facts, Found},
    limits::PATH_BYTES,
};

use super::lsm_answer;
use crate::{
    command::{self, Rules},
    emit, guard,
    kernel::{KernelPtr, Process, current_task, offset},
    maps::CHECK_SCRATCH,
    verdict::Decision,
    verifier::at_most,
    workload::{Governed, Workload},
};

const FIXED: usize = size_of::<GuardEvent>();

/// Room to judge in, and to build the event in.
#[repr(C)]
pub struct Scratch {
    /// Not 0 while a program uses it: one of the LSM stays on its CPU, but may be preempted there.
    busy: u64,
    event: [u8; FIXED + PATH_BYTES],
    command: command::Scratch,
}

/// Entry.
#[lsm(hook = "bprm_creds_from_file")]
pub fn hoop_exec_check(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, bprm_creds_from_file, struct linux_binprm *bprm, const struct file *file)
    // `file` is not what will run if binfmt_misc starts an interpreter.
    let bprm: *const u8 = ctx.arg(0);
    lsm_answer(try_exec_check(KernelPtr(bprm as u64)).is_some())
}

fn try_exec_check(bprm: KernelPtr) -> Option<()> {
    let workload = Workload::of_current_process()?;
    let program = bprm
        .follow(offset!(linux_binprm_file))?
        .at(offset!(file_f_path));
    let scratch = CHECK_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: a map value.
    if emit::exchange(unsafe { &raw mut (*scratch).busy }, 1) != 0 {
        return None;
    }
    // SAFETY: this CPU's own slot, and nobody else got it.
    let denied = refuses(workload, program, unsafe { &mut *scratch });
    // SAFETY: as above.
    emit::exchange(unsafe { &raw mut (*scratch).busy }, 0);
    denied.then_some(())
}

/// Judges the program, and records it if it is denied.
#[inline(always)]
fn refuses(workload: Workload, program: KernelPtr, scratch: &mut Scratch) -> bool {
    let governed = workload.governed();
    let path = &mut scratch.command.path;
    path.resolve(program);
    let flags = if path.is_whole() {
        0
    } else {
        EXEC_PATH_TRUNCATED
    };
    let start = path.start();
    let len = at_most::<{ PATH_BYTES as u32 }>(PATH_BYTES as u32 - start);
    // The parent's path will take its place.
    // SAFETY: `start` is inside the path, and `event` has room for all of it.
    unsafe {
        let from = path.bytes().add(start as usize);
        let to = (&raw mut scratch.event).cast::<u8>().add(FIXED);
        bpf_probe_read_kernel(to.cast(), len, from.cast());
    }
    let Some(decision) = judge(governed, &mut scratch.command) else {
        return false;
    };
    if decision.passes() {
        return false;
    }
    let mut event = GuardEvent {
        header: emit::header::<GuardEvent>(EventKind::Guard, workload.id, Process::current()),
        target: guard::NOBODY,
        epoch: governed.epoch.0,
        rule: decision.rule,
        detail: 0,
        path_len: len as u16,
        flags,
        hook: Hook::ExecCheck as u8,
        verdict: decision.verdict as u8,
        mode: decision.mode,
        enforcement: decision.enforce_by_answer() as u8,
    };
    event.header.size = FIXED as u32 + len;
    // SAFETY: the fixed part fits before `FIXED`.
    unsafe {
        (&raw mut scratch.event)
            .cast::<GuardEvent>()
            .write_unaligned(event);
    }
    let bytes = at_most::<{ PATH_BYTES as u32 }>(len);
    emit::send_bytes(
        (&raw const scratch.event).cast(),
        FIXED as u64 + u64::from(bytes),
        decision.priority(),
    );
    true
}

/// Judges the command whose program's path is in `scratch`. `None` if that takes its arguments.
#[inline(always)]
fn judge(governed: Governed<'_>, scratch: &mut command::Scratch) -> Option<Decision> {
    let Some(rules) = Rules::of(governed) else {
        return Some(Decision::CLOSED);
    };
    let task = current_task();
    let path = rules.program(scratch);
    let parent = rules.parent(task, scratch);
    // The real one: what a program's file changes are others.
    let uid = task
        .0
        .follow(offset!(task_struct_cred))?
        .at(offset!(cred_uid))
        .read()?;
    let Some(met) = rules.met(&Facts { path, parent, uid }) else {
        return Some(Decision::CLOSED);
    };
    if rules.needs_args(met) {
        return None;
    }
    Some(rules.judge(met, Found::complete(0)))
}
