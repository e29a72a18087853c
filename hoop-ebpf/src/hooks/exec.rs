//! `sched_process_exec`: a process has its new program and has not run an instruction of it.
//!
//! Judges the command, and whether the process is where it belongs: one that is outside its workload
//! runs nothing any more. What is denied is ended before its first instruction. The arguments are
//! read from the new program's own memory, which no other thread shares yet, so they are what the
//! program would see. Fails closed: what cannot be read may match any deny rule.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::{bpf_loop, bpf_probe_read_kernel, bpf_probe_read_user},
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
    payload::PieceKind,
    policy::Epoch,
    state::{ProcessEntry, Standing},
};

use crate::{
    command::{self, Rules},
    emit::{self, Priority},
    escape::Escape,
    kernel::{KernelPtr, Process, Task, current_task, offset},
    maps::{EXEC_SCRATCH, PROCESSES},
    payload,
    verdict::Decision,
    verifier::{at_most, opaque},
    workload::{self, Governed, Workload},
};

const FIXED: usize = size_of::<ExecEvent>();

/// Room to build events in.
#[repr(C)]
pub struct Scratch {
    event: [u8; FIXED + 3 * PATH_BYTES],
    command: command::Scratch,
    args: [u8; size_of::<ArgsEvent>() + ARGS_CHUNK],
}

/// Entry.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn hoop_exec(_ctx: RawTracePointContext) -> i32 {
    if workload::reporting() && try_exec().is_some() {
        // Its program may hold a TLS library.
        hoop_tell_exec();
    }
    0
}

/// A function of its own, as the stack of the rest is full.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_tell_exec() -> u32 {
    if let Some(workload) = Workload::of_current_process() {
        payload::tell(PieceKind::Mapped, workload, Process::current());
    }
    0
}

fn try_exec() -> Option<()> {
    let process = Process::current();
    let workload = match Workload::of_process(process) {
        Some((workload, _)) => {
            hoop_hold_exec();
            workload
        }
        None => {
            let workload = Workload::of_current()?;
            let entry = ProcessEntry {
                workload: workload.id,
                start_ticks: process.start_ticks(),
                standing: Standing::Inside as u64,
                recorded: 0,
            };
            let _ = PROCESSES.insert(process.tgid, entry, u64::from(BPF_ANY));
            workload
        }
    };
    report(current_task(), workload);
    Some(())
}

/// [`hold`] for the running process. Global, as [`hoop_judge_exec`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_hold_exec() -> u64 {
    let process = Process::current();
    if let Some((workload, entry)) = Workload::of_process(process) {
        hold(workload, current_task(), process, entry);
    }
    0
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

/// The functions called here are global and come one after another, so that their stacks do not
/// add up: all frames of a chain of calls share 512 bytes.
#[inline(always)]
fn report(task: Task, workload: Workload) {
    let (args_start, args_end) = task.arguments();
    let program = task.program().unwrap_or(KernelPtr(0));
    let (path_len, cut) = unpack_path(hoop_put_path(program.0, 0));
    let mut flags = cut * EXEC_PATH_TRUNCATED;
    let epoch = workload::epoch();
    let decision = Decision::unpack(hoop_judge_exec(
        epoch.0,
        workload.policy(epoch),
        u32::from(path_len != 0),
        args_start,
        args_end,
    ));
    let enforcement = decision.enforce_by_signal();
    let directory = task
        .0
        .follow(offset!(task_struct_fs))
        .map_or(KernelPtr(0), |fs| fs.at(offset!(fs_struct_pwd)));
    let (cwd_len, cut) = unpack_path(hoop_put_path(directory.0, path_len));
    flags |= cut * EXEC_CWD_TRUNCATED;
    let sent = hoop_send_exec(
        workload.id,
        epoch.0,
        decision.pack(),
        u64::from(path_len) << 32 | u64::from(cwd_len),
        u32::from(enforcement as u8) << 16 | u32::from(flags),
    );
    hoop_send_args(
        args_start,
        sent as u32,
        (sent >> 32) as u32,
        workload.id,
        u32::from(!decision.passes()),
    );
}

/// Sends the exec event, of which the paths are in place. Takes the workload's id, an epoch, a
/// packed [`Decision`], the lengths of both paths, and the enforcement above the flags. Returns how
/// many bytes of arguments are to be sent, above how many were. Global, as [`hoop_judge_exec`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_send_exec(
    workload: u64,
    epoch: u64,
    decision: u64,
    lengths: u64,
    flags: u32,
) -> u64 {
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's own slot, and tracepoint programs are not preempted.
    let scratch = unsafe { &mut *scratch };
    let task = current_task();
    let decision = Decision::unpack(decision);
    let (path_len, cwd_len) = ((lengths >> 32) as u32, lengths as u32);
    let enforcement = (flags >> 16) as u8;
    let mut flags = flags as u16;
    let (args_start, args_end) = task.arguments();

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
        header: emit::header::<ExecEvent>(EventKind::Exec, workload, Process::current()),
        parent: match task.parent() {
            Some(parent) => parent.process().key(),
            None => ProcessKey {
                start_ns: 0,
                tgid: 0,
                reserved: 0,
            },
        },
        uid: credential(task, offset!(cred_uid)),
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
        epoch,
        rule: decision.rule,
        hook: Hook::Exec as u8,
        verdict: decision.verdict as u8,
        mode: decision.mode,
        enforcement,
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
    let sent = if flags & EXEC_ARGS_UNREADABLE == 0 {
        args_len
    } else {
        wanted
    };
    u64::from(wanted) << 32 | u64::from(sent)
}

/// [`judge`] as a global function: the verifier follows it once, whatever its caller knows, and
/// the caller knows nothing of how it ended. Takes an epoch and the index of a policy in it, gives
/// a packed [`Decision`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_judge_exec(
    epoch: u64,
    policy: u32,
    path_known: u32,
    args_start: u64,
    args_end: u64,
) -> u64 {
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return Decision::CLOSED.pack();
    };
    let task = current_task();
    judge(
        Governed::at(Epoch(epoch), policy),
        task,
        credential(task, offset!(cred_uid)),
        path_known != 0,
        args_start,
        args_end,
        // SAFETY: as in `hoop_send_exec`, which does not run meanwhile.
        unsafe { &mut (*scratch).command },
    )
    .pack()
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

/// Sends the arguments that did not fit the exec event: those from `sent` up to `wanted` bytes
/// after `start`. Global, as [`hoop_judge_exec`], so it must return a number.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_send_args(
    start: u64,
    sent: u32,
    wanted: u32,
    workload: u64,
    denied: u32,
) -> u64 {
    if sent >= wanted {
        return 0;
    }
    let mut rest = Rest {
        start,
        workload,
        wanted,
        sent,
        denied,
    };
    // SAFETY: the callback takes a `Rest`, which outlives the call.
    unsafe {
        bpf_loop(
            ARGS_BYTES / ARGS_CHUNK as u32,
            send_chunk as *mut c_void,
            (&raw mut rest).cast::<c_void>(),
            0,
        )
    };
    0
}

struct Rest {
    start: u64,
    workload: u64,
    wanted: u32,
    sent: u32,
    denied: u32,
}

/// Sends one chunk, for `bpf_loop`; 1 ends the loop.
unsafe extern "C" fn send_chunk(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `hoop_send_args` passes a `Rest`.
    let rest = unsafe { &mut *context.cast::<Rest>() };
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return 1;
    };
    let offset = rest.sent;
    let len = at_most::<{ ARGS_CHUNK as u32 }>(rest.wanted.saturating_sub(offset));
    // SAFETY: as in `hoop_send_exec`, which does not run meanwhile.
    let to = unsafe { (&raw mut (*scratch).args).cast::<u8>() };
    // SAFETY: `args` has room for the fixed part and `ARGS_CHUNK` bytes.
    let result = unsafe {
        bpf_probe_read_user(
            to.add(size_of::<ArgsEvent>()).cast(),
            len,
            (rest.start + u64::from(offset)) as *const _,
        )
    };
    // What cannot be read ends the arguments early: fewer than promised, so flagged.
    let got = if result == 0 { len } else { 0 };
    rest.sent = offset + got;
    let last = got == 0 || rest.sent >= rest.wanted;
    let mut event = ArgsEvent {
        header: emit::header::<ArgsEvent>(EventKind::Args, rest.workload, Process::current()),
        offset,
        len: got as u16,
        last: u16::from(last),
    };
    event.header.size = size_of::<ArgsEvent>() as u32 + got;
    // SAFETY: as above.
    unsafe { to.cast::<ArgsEvent>().write_unaligned(event) };
    let bytes = at_most::<{ ARGS_CHUNK as u32 }>(got);
    emit::send_bytes(
        to,
        size_of::<ArgsEvent>() as u64 + u64::from(bytes),
        if rest.denied == 0 {
            Priority::Normal
        } else {
            Priority::Denial
        },
    );
    i64::from(last)
}

/// Puts the resolved path of the `struct path` at an address after the first `at` bytes behind the
/// fixed part. Returns its length, at most [`PATH_BYTES`], and [`PATH_CUT`] if that is not all of
/// it. Global, as [`hoop_judge_exec`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_put_path(path: u64, at: u32) -> u64 {
    if path == 0 {
        return PATH_CUT;
    }
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return PATH_CUT;
    };
    // SAFETY: as in `hoop_send_exec`, which does not run meanwhile.
    let scratch = unsafe { &mut *scratch };
    scratch.command.path.resolve(KernelPtr(path));
    let cut = if scratch.command.path.is_whole() {
        0
    } else {
        PATH_CUT
    };
    let start = scratch.command.path.start();
    let len = PATH_BYTES as u32 - start;
    let bytes = at_most::<{ PATH_BYTES as u32 }>(len);
    // SAFETY: `start` is inside `path`, and `at` is masked below twice `PATH_BYTES`, so the copy
    // ends inside `event`.
    unsafe {
        let from = scratch.command.path.bytes().add(start as usize);
        let to = (&raw mut scratch.event)
            .cast::<u8>()
            .add(FIXED + (opaque(at) as usize & (2 * PATH_BYTES - 1)));
        bpf_probe_read_kernel(to.cast(), bytes, from.cast());
    }
    cut | u64::from(len)
}

/// See [`hoop_put_path`].
const PATH_CUT: u64 = 1 << 32;

/// The length that [`hoop_put_path`] returned, and 1 if the path was cut, else 0.
#[inline(always)]
fn unpack_path(packed: u64) -> (u32, u16) {
    (packed as u32, (packed >> 32) as u16)
}

impl Task {
    /// Where the command line starts and ends in the memory of the process.
    #[inline(always)]
    fn arguments(self) -> (u64, u64) {
        let mm = self.0.follow_or_zero(offset!(task_struct_mm));
        (
            mm.at(offset!(mm_struct_arg_start)).read_or_zero(),
            mm.at(offset!(mm_struct_arg_end)).read_or_zero(),
        )
    }
}

#[inline(always)]
fn credential(task: Task, member: usize) -> u32 {
    let cred = task.0.follow_or_zero(offset!(task_struct_cred));
    // Nobody, and not root, if there is none.
    let unknown = if cred.0 == 0 { u32::MAX } else { 0 };
    cred.at(member).read_or_zero::<u32>() | unknown
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
