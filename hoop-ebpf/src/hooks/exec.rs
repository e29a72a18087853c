//! `sched_process_exec`: a process has its new program and has not run an instruction of it.
//!
//! Observes only. The arguments are read from the new program's own memory, which no other
//! thread shares yet, so they are what the program will see.

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
        EXEC_PATH_TRUNCATED, EventKind, ExecEvent, ProcessKey,
    },
    limits::{ARGS_BYTES, ARGS_CHUNK, PATH_BYTES, PATH_COMPONENTS},
    state::ProcessEntry,
};

use crate::{
    emit::{self, Priority},
    kernel::{KernelPtr, Process, Task, current_task, offset},
    maps::{EXEC_SCRATCH, PROCESSES},
    workload::{self, Workload},
};

/// Longest name of a directory entry (`NAME_MAX` of `include/uapi/linux/limits.h`).
const NAME_MAX: u32 = 255;

const FIXED: usize = size_of::<ExecEvent>();

/// Room to build events in.
#[repr(C)]
pub struct Scratch {
    event: [u8; FIXED + 3 * PATH_BYTES],
    /// A path grows here from the end of the first [`PATH_BYTES`] toward the front.
    path: [u8; PATH_BYTES + NAME_MAX as usize + 1],
    args: [u8; size_of::<ArgsEvent>() + ARGS_CHUNK],
    /// Where the path starts.
    at: Forgotten<u32>,
    /// Whether the path is whole, as 0 or 1.
    whole: Forgotten<u32>,
    /// Bytes of arguments that were sent.
    sent: Forgotten<u32>,
    /// The `vfsmount` that the walk is in.
    mount: Forgotten<u64>,
    /// The `dentry` that the walk is at.
    dentry: Forgotten<u64>,
}

/// A number that lives in memory, so that the verifier forgets what it knew of it. Otherwise it
/// follows every way out of a loop with every value separately, and gives up.
#[repr(transparent)]
struct Forgotten<T>(T);

impl<T: Copy> Forgotten<T> {
    #[inline(always)]
    fn set(&mut self, value: T) {
        // SAFETY: an exclusive reference.
        unsafe { core::ptr::write_volatile(&raw mut self.0, value) };
    }

    #[inline(always)]
    fn get(&self) -> T {
        // SAFETY: a reference.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }
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
        Some((workload, _)) => workload,
        None => {
            let workload = Workload::of_current()?;
            let entry = ProcessEntry {
                workload: workload.id,
                start_ticks: process.start_ticks(),
                escaped: 0,
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

#[inline(always)]
fn report(task: Task, process: Process, workload: Workload, scratch: &mut Scratch) {
    let mm = task
        .0
        .follow(offset!(task_struct_mm))
        .unwrap_or(KernelPtr(0));
    let mut flags = 0;

    let program = mm
        .follow(offset!(mm_struct_exe_file))
        .map(|file| file.at(offset!(file_f_path)));
    let path_len = put_path(scratch, program, 0, EXEC_PATH_TRUNCATED, &mut flags);
    let directory = task
        .0
        .follow(offset!(task_struct_fs))
        .map(|fs| fs.at(offset!(fs_struct_pwd)));
    let cwd_len = put_path(scratch, directory, path_len, EXEC_CWD_TRUNCATED, &mut flags);

    let args_start: u64 = mm.at(offset!(mm_struct_arg_start)).read_or_zero();
    let args_end: u64 = mm.at(offset!(mm_struct_arg_end)).read_or_zero();
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
        Priority::Normal,
    );
    scratch.sent.set(if flags & EXEC_ARGS_UNREADABLE == 0 {
        args_len
    } else {
        wanted
    });
    send_rest(process, workload, scratch, args_start, wanted);
}

/// Sends the arguments that did not fit the exec event.
#[inline(always)]
fn send_rest(process: Process, workload: Workload, scratch: &mut Scratch, start: u64, wanted: u32) {
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
            Priority::Normal,
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
    resolve(scratch, path);
    if scratch.whole.get() == 0 {
        *flags |= truncated;
    }
    let start = scratch.at.get() & (PATH_BYTES as u32 - 1);
    let len = PATH_BYTES as u32 - start;
    let bytes = at_most::<{ PATH_BYTES as u32 }>(len);
    // SAFETY: `start` is inside `path`, and `at` is below `PATH_BYTES`, so the copy ends inside
    // `event`.
    unsafe {
        let from = (&raw const scratch.path).cast::<u8>().add(start as usize);
        let to = (&raw mut scratch.event)
            .cast::<u8>()
            .add(FIXED + (opaque(at) as usize & (2 * PATH_BYTES - 1)));
        bpf_probe_read_kernel(to.cast(), bytes, from.cast());
    }
    len
}

/// Writes a path as `d_path` would, to the root of the mount namespace. It ends at [`PATH_BYTES`]
/// in `scratch.path`; `scratch.at` and `scratch.whole` say the rest.
#[inline(always)]
fn resolve(scratch: &mut Scratch, path: KernelPtr) {
    scratch.at.set(PATH_BYTES as u32);
    scratch.whole.set(0);
    scratch.mount.set(path.at(offset!(path_mnt)).read_or_zero());
    scratch
        .dentry
        .set(path.at(offset!(path_dentry)).read_or_zero());
    // SAFETY: the callback takes no context.
    unsafe {
        bpf_loop(
            PATH_COMPONENTS,
            step as *mut c_void,
            core::ptr::null_mut(),
            0,
        )
    };
    if scratch.at.get() == PATH_BYTES as u32 {
        // The root directory itself.
        put_slash(scratch);
    }
}

/// [`climb`] for `bpf_loop`, of which the verifier follows one turn for all; 1 ends the loop.
unsafe extern "C" fn step(_turn: u32, _context: *mut c_void) -> i64 {
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: as in `try_exec`, whose reference sleeps meanwhile.
    i64::from(climb(unsafe { &mut *scratch }).is_none())
}

/// One step up: over a mount point, or over a name, which it writes. `None` at the top.
#[inline(always)]
fn climb(scratch: &mut Scratch) -> Option<()> {
    let (mount, dentry) = (
        KernelPtr(scratch.mount.get()),
        KernelPtr(scratch.dentry.get()),
    );
    if mount.at(offset!(vfsmount_mnt_root)).read::<u64>()? == dentry.0 {
        let outer = KernelPtr(mount.0.wrapping_sub(offset!(mount_mnt) as u64));
        let parent: u64 = outer.at(offset!(mount_mnt_parent)).read()?;
        if parent == outer.0 {
            scratch.whole.set(1);
            return None;
        }
        scratch
            .mount
            .set(KernelPtr(parent).at(offset!(mount_mnt)).0);
        scratch
            .dentry
            .set(outer.at(offset!(mount_mnt_mountpoint)).read()?);
        return Some(());
    }
    let parent: u64 = dentry.at(offset!(dentry_d_parent)).read()?;
    let name: u64 = dentry.at(offset!(dentry_d_name_name)).read()?;
    let len: u32 = dentry.at(offset!(dentry_d_name_len)).read()?;
    // `NAME_MAX` is a mask too.
    let len = opaque(len) & NAME_MAX;
    let at = scratch.at.get();
    if at < len + 2 {
        return None;
    }
    let at = opaque(at - len) & (PATH_BYTES as u32 - 1);
    // SAFETY: `at` is below `PATH_BYTES` and the buffer is `NAME_MAX` longer.
    unsafe {
        let bytes = (&raw mut scratch.path).cast::<u8>();
        bpf_probe_read_kernel(bytes.add(at as usize).cast(), len, name as *const _);
    }
    scratch.at.set(at);
    put_slash(scratch);
    if parent == dentry.0 {
        // The root of a file system that is mounted nowhere: a memfd.
        scratch.whole.set(1);
        return None;
    }
    scratch.dentry.set(parent);
    Some(())
}

/// Puts a slash before what is there.
#[inline(always)]
fn put_slash(scratch: &mut Scratch) {
    let at = (scratch.at.get().wrapping_sub(1)) & (PATH_BYTES as u32 - 1);
    // SAFETY: `at` is below `PATH_BYTES`.
    unsafe { *(&raw mut scratch.path).cast::<u8>().add(at as usize) = b'/' };
    scratch.at.set(at);
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

/// Hides a value from the optimiser, so that a bound which it could prove stays in the program
/// for the verifier to see. A move onto itself: an empty statement would leave two line records
/// at one instruction, which the kernel refuses.
#[inline(always)]
fn opaque(value: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: changes nothing.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags));
    };
    value as u32
}

/// The smaller of `value` and `MAX`, compared in the very register that is used from here on: of a
/// copy, the verifier of Linux 6.1 would not learn the bound.
#[inline(always)]
fn at_most<const MAX: u32>(value: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: changes one register.
    unsafe {
        core::arch::asm!(
            "if {0} <= {max} goto +1",
            "{0} = {max}",
            inout(reg) value,
            max = const MAX,
            options(nomem, nostack),
        );
    };
    value as u32
}
