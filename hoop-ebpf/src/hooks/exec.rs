//! `sched_process_exec`: a process has its new program and has not run an instruction of it.
//!
//! Judges the command, and whether the process is where it belongs: one that is outside its workload
//! runs nothing any more. What is denied is ended before its first instruction. The arguments are
//! read from the new program's own memory, which no other thread shares yet, so they are what the
//! program would see. Fails closed: what cannot be read may match any deny rule.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use hoop_common::{
    event::{
        ArgsEvent, EXEC_ARGS_TRUNCATED, EXEC_ARGS_UNREADABLE, EXEC_CWD_TRUNCATED,
        EXEC_PATH_TRUNCATED, EventKind, ExecEvent, Hook, ProcessKey,
    },
    exec::{Facts, Found},
    limits::{ARGS_BYTES, ARGS_CHUNK, PATH_BYTES},
    state::{ProcessEntry, Standing},
};

use crate::{
    command::{self, Rules},
    emit,
    escape::Escape,
    kernel::{KernelPtr, Process, Task, current_task, offset},
    maps::{EXEC_SCRATCH, PROCESSES},
    verdict::Decision,
    verifier::{Forgotten, at_most, opaque},
    workload::{self, Governed, Workload},
};

const FIXED: usize = size_of::<ExecEvent>();

/// Room to build events in.
#[repr(C)]
pub struct Scratch {
    event: [u8; FIXED + 3 * PATH_BYTES],
    command: command::Scratch,
    args: [u8; size_of::<ArgsEvent>() + ARGS_CHUNK],
    /// Bytes of arguments that were sent.
    sent: Forgotten<u32>,
}

/// Entry.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn hoop_exec(_ctx: RawTracePointContext) -> i32 {
    if workload::reporting() {
        try_exec();
    }
    0
}

fn try_exec() -> Option<()> {
    let task = current_task();
    let process = Process::current();
    let workload = match Workload::of_process(process) {
        Some((workload, entry)) => {
            hold(workload, task, process, entry);
            workload
        }
        None => {
            let workload = Workload::of_current()?;
            let entry = ProcessEntry {
                workload: workload.id,
                start_ticks: process.start_ticks(),
                standing: Standing::Inside as u64,
            };
            let _ = PROCESSES.insert(process.tgid, entry, u64::from(BPF_ANY));
            workload
        }
    };
    let scratch = EXEC_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's own slot, and tracepoint programs are not preempted.
    let scratch = unsafe { &mut *scratch };
    report(task, process, workload, scratch);
    Some(())
}

/// Ends the process if it must not be where it is.
#[inline(always)]
fn hold(workload: Workload, task: Task, process: Process, entry: &mut ProcessEntry) {
    let outside = workload.is_left_by_current();
    if (outside || entry.standing == Standing::Condemned as u64)
        && workload.holds()
        && let Some(cgroup) = task.cgroup()
    {
        let escape = Escape {
            workload,
            process,
            to: cgroup.id(),
            hook: Hook::Exec,
        };
        // It was recorded when it was condemned.
        let news = entry.standing != Standing::Condemned as u64;
        entry.standing = escape.judge(news) as u64;
    }
}

#[inline(always)]
fn report(task: Task, process: Process, workload: Workload, scratch: &mut Scratch) {
    let mm = task
        .0
        .follow(offset!(task_struct_mm))
        .unwrap_or(KernelPtr(0));
    let mut flags = 0;

    let args_start: u64 = mm.at(offset!(mm_struct_arg_start)).read_or_zero();
    let args_end: u64 = mm.at(offset!(mm_struct_arg_end)).read_or_zero();
    let path_len = put_path(scratch, task.program(), 0, EXEC_PATH_TRUNCATED, &mut flags);
    let governed = workload.governed();
    let uid = credential(task, offset!(cred_uid));
    let path_known = path_len != 0;
    let decision = judge(
        governed,
        task,
        uid,
        path_known,
        args_start,
        args_end,
        &mut scratch.command,
    );
    let enforcement = decision.enforce_by_signal();
    let directory = task
        .0
        .follow(offset!(task_struct_fs))
        .map(|fs| fs.at(offset!(fs_struct_pwd)));
    let cwd_len = put_path(scratch, directory, path_len, EXEC_CWD_TRUNCATED, &mut flags);

    let total = args_end.saturating_sub(args_start);
    let wanted = if total > u64::from(ARGS_BYTES) {
        flags |= EXEC_ARGS_TRUNCATED;
        ARGS_BYTES
    } else {
        total as u32
    };
    let first = if wanted > ARGS_CHUNK as u32 {
        ARGS_CHUNK as u32
    } else {
        wanted
    };
    let at = path_len + cwd_len;
    let mut args_len = at_most::<{ ARGS_CHUNK as u32 }>(first);
    // SAFETY: `at` is below twice `PATH_BYTES` and `args_len` at most one more.
    let result = unsafe {
        let to = (&raw mut scratch.event)
            .cast::<u8>()
            .add(FIXED + (opaque(at) as usize & (2 * PATH_BYTES - 1)));
        bpf_probe_read_user(to.cast(), args_len, args_start as *const _)
    };
    if result != 0 {
        flags |= EXEC_ARGS_UNREADABLE;
        args_len = 0;
    }

    let event = ExecEvent {
        header: emit::header::<ExecEvent>(EventKind::Exec, workload.id, process),
        parent: match task.parent() {
            Some(parent) => parent.process().key(),
            None => ProcessKey {
                start_ns: 0,
                tgid: 0,
                reserved: 0,
            },
        },
        uid,
        gid: credential(task, offset!(cred_gid)),
        euid: credential(task, offset!(cred_euid)),
        egid: credential(task, offset!(cred_egid)),
        namespaces: namespaces(task),
        args_total: if total > u64::from(u32::MAX) {
            u32::MAX
        } else {
            total as u32
        },
        args_len: args_len as u16,
        path_len: path_len as u16,
        cwd_len: cwd_len as u16,
        flags,
        epoch: governed.epoch.0,
        rule: decision.rule,
        hook: Hook::Exec as u8,
        verdict: decision.verdict as u8,
        mode: decision.mode,
        enforcement: enforcement as u8,
    };
    let len = at + args_len;
    // SAFETY: the fixed part fits before `FIXED`, and `len` is at most three times `PATH_BYTES`.
    unsafe {
        let to = (&raw mut scratch.event).cast::<ExecEvent>();
        to.write_unaligned(event);
        (*to).header.size = FIXED as u32 + len;
    }
    let bytes = at_most::<{ 3 * PATH_BYTES as u32 }>(len);
    emit::send_bytes(
        (&raw const scratch.event).cast(),
        FIXED as u64 + u64::from(bytes),
        decision.priority(),
    );
    scratch.sent.set(if flags & EXEC_ARGS_UNREADABLE == 0 {
        args_len
    } else {
        wanted
    });
    send_rest(process, workload, scratch, args_start, wanted, decision);
}

/// Judges the command whose program's path is in `scratch`.
#[inline(always)]
fn judge(
    governed: Governed<'_>,
    task: Task,
    uid: u32,
    path_known: bool,
    args_start: u64,
    args_end: u64,
    scratch: &mut command::Scratch,
) -> Decision {
    let Some(rules) = Rules::of(governed) else {
        return Decision::CLOSED;
    };
    let path = if path_known {
        rules.program(scratch)
    } else {
        Found::UNREADABLE
    };
    let parent = rules.parent(task, scratch);
    let Some(met) = rules.met(&Facts { path, parent, uid }) else {
        return Decision::CLOSED;
    };
    let args = if rules.needs_args(met) {
        rules.args(args_start, args_end, scratch)
    } else {
        Found::complete(0)
    };
    rules.judge(met, args)
}

/// Sends the arguments that did not fit the exec event.
#[inline(always)]
fn send_rest(
    process: Process,
    workload: Workload,
    scratch: &mut Scratch,
    start: u64,
    wanted: u32,
    decision: Decision,
) {
    for _ in 0..ARGS_BYTES / ARGS_CHUNK as u32 {
        let offset = scratch.sent.get();
        if offset >= wanted {
            return;
        }
        let len = at_most::<{ ARGS_CHUNK as u32 }>(wanted - offset);
        let to = (&raw mut scratch.args).cast::<u8>();
        // SAFETY: `args` has room for the fixed part and `ARGS_CHUNK` bytes.
        let result = unsafe {
            bpf_probe_read_user(
                to.add(size_of::<ArgsEvent>()).cast(),
                len,
                (start + u64::from(offset)) as *const _,
            )
        };
        // What cannot be read ends the arguments early: fewer than promised, so flagged.
        let got = if result == 0 { len } else { 0 };
        let next = offset + got;
        let last = got == 0 || next >= wanted;
        let mut event = ArgsEvent {
            header: emit::header::<ArgsEvent>(EventKind::Args, workload.id, process),
            offset,
            len: got as u16,
            last: u16::from(last),
        };
        event.header.size = size_of::<ArgsEvent>() as u32 + got;
        // SAFETY: as above.
        unsafe { to.cast::<ArgsEvent>().write_unaligned(event) };
        scratch.sent.set(if last { wanted } else { next });
        let bytes = at_most::<{ ARGS_CHUNK as u32 }>(got);
        emit::send_bytes(
            to,
            size_of::<ArgsEvent>() as u64 + u64::from(bytes),
            decision.priority(),
        );
    }
}

/// Puts the resolved path of a `struct path` after the first `at` bytes behind the fixed part;
/// returns its length, at most [`PATH_BYTES`].
#[inline(always)]
fn put_path(
    scratch: &mut Scratch,
    path: Option<KernelPtr>,
    at: u32,
    truncated: u16,
    flags: &mut u16,
) -> u32 {
    let Some(path) = path else {
        *flags |= truncated;
        return 0;
    };
    scratch.command.path.resolve(path);
    if !scratch.command.path.is_whole() {
        *flags |= truncated;
    }
    let start = scratch.command.path.start();
    let len = PATH_BYTES as u32 - start;
    let bytes = at_most::<{ PATH_BYTES as u32 }>(len);
    // SAFETY: `start` is inside `path`, and `at` is below `PATH_BYTES`, so the copy ends inside
    // `event`.
    unsafe {
        let from = scratch.command.path.bytes().add(start as usize);
        let to = (&raw mut scratch.event)
            .cast::<u8>()
            .add(FIXED + (opaque(at) as usize & (2 * PATH_BYTES - 1)));
        bpf_probe_read_kernel(to.cast(), bytes, from.cast());
    }
    len
}

#[inline(always)]
fn credential(task: Task, member: usize) -> u32 {
    match task.0.follow(offset!(task_struct_cred)) {
        Some(cred) => cred.at(member).read().unwrap_or(u32::MAX),
        None => u32::MAX,
    }
}

/// Inode numbers of pid, net, mnt, user, uts, ipc and cgroup namespaces, 0 for what cannot be read.
#[inline(always)]
fn namespaces(task: Task) -> [u32; 7] {
    let proxy = task.0.follow_or_zero(offset!(task_struct_nsproxy));
    let by_proxy =
        |member: usize, inum: usize| proxy.follow_or_zero(member).at(inum).read_or_zero();
    let user = task
        .0
        .follow_or_zero(offset!(task_struct_cred))
        .follow_or_zero(offset!(cred_user_ns))
        .at(offset!(user_namespace_ns_inum))
        .read_or_zero();
    [
        pid_namespace(task),
        by_proxy(offset!(nsproxy_net_ns), offset!(net_ns_inum)),
        by_proxy(offset!(nsproxy_mnt_ns), offset!(mnt_namespace_ns_inum)),
        user,
        by_proxy(offset!(nsproxy_uts_ns), offset!(uts_namespace_ns_inum)),
        by_proxy(offset!(nsproxy_ipc_ns), offset!(ipc_namespace_ns_inum)),
        by_proxy(
            offset!(nsproxy_cgroup_ns),
            offset!(cgroup_namespace_ns_inum),
        ),
    ]
}

/// `task_active_pid_ns()`: the namespace of the pid's deepest level.
#[inline(always)]
fn pid_namespace(task: Task) -> u32 {
    let pid = task.0.follow_or_zero(offset!(task_struct_thread_pid));
    let level: u32 = pid.at(offset!(pid_level)).read_or_zero();
    pid.at(offset!(pid_numbers) + level as usize * offset!(upid_size))
        .follow_or_zero(offset!(upid_ns))
        .at(offset!(pid_namespace_ns_inum))
        .read_or_zero()
}
