//! Events: one fact each, as the kernel wrote it.
//!
//! Every event starts with a [`Header`]. Variable parts follow the fixed part without padding;
//! [`Header::size`] is the length of both together.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::policy::Key;

/// What every event starts with.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// Number of the event on its CPU, from 1, taken before ring space is reserved.
    pub sequence: u64,
    /// `bpf_ktime_get_boot_ns()`.
    pub boot_ns: u64,
    /// Cgroup id of the tagged cgroup.
    pub workload: u64,
    /// Start of the process: `task_struct.start_boottime` of the thread group's leader,
    /// nanoseconds since boot. 0 if the process is not known.
    pub start_ns: u64,
    /// Process id in the initial PID namespace. 0 if the process is not known.
    pub tgid: u32,
    /// Thread id in the initial PID namespace.
    pub tid: u32,
    /// A [`EventKind`] as a number.
    pub kind: u16,
    /// CPU that numbered the event.
    pub cpu: u16,
    /// Length of the whole event in bytes.
    pub size: u32,
}

/// Kinds of event.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// [`ForkEvent`]
    Fork = 1,
    /// [`ExecEvent`]
    Exec = 2,
    /// [`ArgsEvent`]
    Args = 3,
    /// [`ExitEvent`]
    Exit = 4,
    /// [`NetEvent`]
    Net = 5,
    /// [`SocketEvent`]
    Socket = 6,
    /// [`MoveEvent`]
    Move = 7,
    /// [`GuardEvent`]
    Guard = 8,
}

impl EventKind {
    /// The inverse of `self as u16`.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Fork,
            2 => Self::Exec,
            3 => Self::Args,
            4 => Self::Exit,
            5 => Self::Net,
            6 => Self::Socket,
            7 => Self::Move,
            8 => Self::Guard,
            _ => return None,
        })
    }
}

/// A process and when it started.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessKey {
    /// `task_struct.start_boottime` of the leader, nanoseconds since boot.
    pub start_ns: u64,
    /// Process id in the initial PID namespace.
    pub tgid: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

/// A process was created. The header names the child.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ForkEvent {
    /// What every event starts with.
    pub header: Header,
    /// The process that called fork.
    pub parent: ProcessKey,
}

/// A process started to run a program. Followed by `path_len` bytes of path, `cwd_len` bytes of
/// working directory and `args_len` bytes of arguments, each argument ended by a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecEvent {
    /// What every event starts with.
    pub header: Header,
    /// The process's parent (`task_struct.real_parent`).
    pub parent: ProcessKey,
    /// Real, effective user and group ids in the initial user namespace.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Inode numbers of the namespaces: pid, net, mnt, user, uts, ipc, cgroup.
    pub namespaces: [u32; 7],
    /// `mm_struct.arg_end - arg_start`: bytes of the whole argument vector.
    pub args_total: u32,
    /// Bytes of arguments in this event. The rest follows in [`ArgsEvent`]s.
    pub args_len: u16,
    /// Bytes of path.
    pub path_len: u16,
    /// Bytes of working directory.
    pub cwd_len: u16,
    /// `EXEC_*` flags.
    pub flags: u16,
    /// Epoch of the policies that judged.
    pub epoch: u64,
    /// Number of the rule in the daemon's rule book.
    pub rule: u32,
    /// A [`Hook`] as a number.
    pub hook: u8,
    /// A [`Verdict`] as a number.
    pub verdict: u8,
    /// A [`crate::policy::Mode`] as a number.
    pub mode: u8,
    /// An [`Enforcement`] as a number.
    pub enforcement: u8,
}

/// The path is cut at its front.
pub const EXEC_PATH_TRUNCATED: u16 = 1;
/// The working directory is cut at its front.
pub const EXEC_CWD_TRUNCATED: u16 = 2;
/// The argument vector is longer than [`crate::limits::ARGS_BYTES`].
pub const EXEC_ARGS_TRUNCATED: u16 = 4;
/// Part of the arguments could not be read.
pub const EXEC_ARGS_UNREADABLE: u16 = 8;

/// More arguments of the exec that the same process reported last. Followed by `len` bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ArgsEvent {
    /// What every event starts with.
    pub header: Header,
    /// Where in the argument vector the bytes belong.
    pub offset: u32,
    /// How many bytes follow.
    pub len: u16,
    /// 1 if this is the exec's last event.
    pub last: u16,
}

/// A process ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitEvent {
    /// What every event starts with.
    pub header: Header,
    /// `task_struct.exit_code` of the leader: a wait status as in wait(2).
    pub status: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

/// A destination was judged.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NetEvent {
    /// What every event starts with.
    pub header: Header,
    /// Where to.
    pub destination: Key,
    /// Where from; zero if it was not bound yet.
    pub source: Key,
    /// `bpf_get_socket_cookie()`.
    pub cookie: u64,
    /// Epoch of the policies that judged.
    pub epoch: u64,
    /// Number of the rule in the daemon's rule book.
    pub rule: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
    /// Port at the destination, host order.
    pub destination_port: u16,
    /// Port at the source, host order.
    pub source_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// A [`Hook`] as a number.
    pub hook: u8,
    /// A [`Verdict`] as a number.
    pub verdict: u8,
    /// A [`crate::policy::Mode`] as a number.
    pub mode: u8,
}

/// A socket was asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketEvent {
    /// What every event starts with.
    pub header: Header,
    /// Epoch of the policies that judged.
    pub epoch: u64,
    /// Number of the rule in the daemon's rule book.
    pub rule: u32,
    /// `AF_*`
    pub family: u16,
    /// `SOCK_*` without flags.
    pub kind: u16,
    /// Protocol.
    pub protocol: u32,
    /// A [`Hook`] as a number.
    pub hook: u8,
    /// A [`Verdict`] as a number.
    pub verdict: u8,
    /// A [`crate::policy::Mode`] as a number.
    pub mode: u8,
    /// An [`Enforcement`] as a number.
    pub enforcement: u8,
}

/// A process was moved into or out of a workload's cgroup. The header's workload is the one that
/// the process belongs to: the new one if it entered, the old one if it left.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MoveEvent {
    /// What every event starts with.
    pub header: Header,
    /// Id of the cgroup that the process is in now.
    pub to: u64,
    /// The process that moved it, which may be itself.
    pub mover: ProcessKey,
    /// Epoch of the policies that judged.
    pub epoch: u64,
    /// Number of the rule in the daemon's rule book; 0 if nothing was judged.
    pub rule: u32,
    /// 1 if the process left its workload, 0 if it entered.
    pub escaped: u8,
    /// A [`Verdict`] as a number. 0 if nothing was judged: who enters breaks no rule, and a
    /// workload whose policy is being taken away has none.
    pub verdict: u8,
    /// A [`crate::policy::Mode`] as a number.
    pub mode: u8,
    /// A [`Hook`] as a number.
    pub hook: u8,
}

/// The LSM was asked about something else than a socket: a program that a process wants to run, or
/// a reach into another process or into Hoop. Followed by `path_len` bytes of path.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GuardEvent {
    /// What every event starts with.
    pub header: Header,
    /// The process that it is about; zero if it is about none.
    pub target: ProcessKey,
    /// Epoch of the policies that judged.
    pub epoch: u64,
    /// Number of the rule in the daemon's rule book.
    pub rule: u32,
    /// The signal's number, or the command of `bpf`; 0 elsewhere.
    pub detail: u32,
    /// Bytes of path: of the program that would have run.
    pub path_len: u16,
    /// [`EXEC_PATH_TRUNCATED`], or 0.
    pub flags: u16,
    /// A [`Hook`] as a number.
    pub hook: u8,
    /// A [`Verdict`] as a number.
    pub verdict: u8,
    /// A [`crate::policy::Mode`] as a number.
    pub mode: u8,
    /// An [`Enforcement`] as a number.
    pub enforcement: u8,
}

/// What was decided.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It happens.
    Allow = 1,
    /// It does not happen.
    Deny = 2,
    /// It happens; `enforce` would have denied it.
    Shadow = 3,
}

impl Verdict {
    /// The inverse of `self as u8`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Allow,
            2 => Self::Deny,
            3 => Self::Shadow,
            _ => return None,
        })
    }
}

/// What made a denied thing not happen.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Nothing was denied.
    None = 0,
    /// The system call failed with `EPERM`.
    Refused = 1,
    /// The packet was dropped.
    Dropped = 2,
    /// The process was ended by SIGKILL.
    Killed = 3,
    /// The signal could not be sent (`bpf_send_signal()` failed): it was denied and happened.
    Failed = 4,
}

impl Enforcement {
    /// The inverse of `self as u8`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Refused,
            2 => Self::Dropped,
            3 => Self::Killed,
            4 => Self::Failed,
            _ => return None,
        })
    }

    /// In records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
            Self::Killed => "killed",
            Self::Failed => "failed",
        }
    }
}

/// Where in the kernel a verdict was given.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `BPF_CGROUP_INET4_CONNECT`
    Connect4 = 1,
    /// `BPF_CGROUP_INET6_CONNECT`
    Connect6 = 2,
    /// `BPF_CGROUP_UDP4_SENDMSG`
    Sendmsg4 = 3,
    /// `BPF_CGROUP_UDP6_SENDMSG`
    Sendmsg6 = 4,
    /// `BPF_CGROUP_INET_EGRESS`
    Egress = 5,
    /// `BPF_CGROUP_INET_SOCK_CREATE`
    SockCreate = 6,
    /// The tracepoint `sched_process_exec`
    Exec = 7,
    /// The LSM's `socket_create`.
    SocketCreate = 8,
    /// The tracepoints of `socket` and `socketpair`.
    EnterSocket = 9,
    /// The LSM's `unix_stream_connect`.
    UnixConnect = 10,
    /// The LSM's `unix_may_send`.
    UnixSend = 11,
    /// The tracepoint of requests to `io_uring`.
    RingSocket = 12,
    /// The LSM's `bprm_creds_from_file`.
    ExecCheck = 13,
    /// The LSM's `ptrace_access_check`.
    Ptrace = 14,
    /// The LSM's `task_kill`.
    Signal = 15,
    /// The LSM's `bpf`.
    Bpf = 16,
    /// The LSM's `inode_unlink`.
    Unlink = 17,
    /// The LSM's `inode_rmdir`.
    Rmdir = 18,
    /// The LSM's `inode_rename`.
    Rename = 19,
    /// The tracepoint `cgroup_attach_task`
    CgroupMove = 20,
    /// The tracepoint `sched_process_fork`
    Fork = 21,
    /// The LSM's `sb_umount`.
    Umount = 22,
}

impl Hook {
    /// The inverse of `self as u8`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect4,
            2 => Self::Connect6,
            3 => Self::Sendmsg4,
            4 => Self::Sendmsg6,
            5 => Self::Egress,
            6 => Self::SockCreate,
            7 => Self::Exec,
            8 => Self::SocketCreate,
            9 => Self::EnterSocket,
            10 => Self::UnixConnect,
            11 => Self::UnixSend,
            12 => Self::RingSocket,
            13 => Self::ExecCheck,
            14 => Self::Ptrace,
            15 => Self::Signal,
            16 => Self::Bpf,
            17 => Self::Unlink,
            18 => Self::Rmdir,
            19 => Self::Rename,
            20 => Self::CgroupMove,
            21 => Self::Fork,
            22 => Self::Umount,
            _ => return None,
        })
    }

    /// The name of the hook's program, as in records and in `doctor`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Egress => "egress",
            Self::SockCreate => "sock_create",
            Self::Exec => "exec",
            Self::SocketCreate => "socket_create",
            Self::EnterSocket => "enter_socket",
            Self::UnixConnect => "unix_connect",
            Self::UnixSend => "unix_send",
            Self::RingSocket => "ring_socket",
            Self::ExecCheck => "exec_check",
            Self::Ptrace => "ptrace",
            Self::Signal => "signal",
            Self::Bpf => "bpf",
            Self::Unlink => "unlink",
            Self::Rmdir => "rmdir",
            Self::Rename => "rename",
            Self::CgroupMove => "cgroup_move",
            Self::Fork => "fork",
            Self::Umount => "umount",
        }
    }

    /// Whether the hook judges kinds of socket, in [`SocketEvent`]s, and not destinations.
    #[must_use]
    pub const fn judges_sockets(self) -> bool {
        matches!(
            self,
            Self::SockCreate
                | Self::SocketCreate
                | Self::EnterSocket
                | Self::UnixConnect
                | Self::UnixSend
                | Self::RingSocket
        )
    }

    /// Whether the hook reports in [`GuardEvent`]s.
    #[must_use]
    pub const fn guards(self) -> bool {
        matches!(
            self,
            Self::ExecCheck
                | Self::Ptrace
                | Self::Signal
                | Self::Bpf
                | Self::Unlink
                | Self::Rmdir
                | Self::Rename
                | Self::Umount
        )
    }
}

/// Why an event that was numbered did not reach the ring. The number is its index in the
/// kernel's `LOST` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// The ring had no space.
    RingFull = 0,
    /// The ring was past [`crate::limits::CONTROL_RING_RESERVED_FROM`] and the event was no denial.
    ReservedForDenials = 1,
}

impl LossCause {
    /// Every cause, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::RingFull, Self::ReservedForDenials];

    /// The cause in words, as in gap records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring full",
            Self::ReservedForDenials => "reserved for denials",
        }
    }
}

/// Stands for the kernel function `bpf_send_signal_task` in a call of the kernel programs, until
/// the daemon replaces it by the function's BTF id. No helper has such a number.
pub const KFUNC_SEND_SIGNAL_TASK: i32 = 0x6b66_0001;

/// Offsets of the kernel's struct members, from BTF, in bytes. The kernel programs read them as a
/// global that the daemon sets before it loads them; no other offset is baked in.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[expect(
    missing_docs,
    reason = "each field is named STRUCT_MEMBER after what it locates"
)]
pub struct Offsets {
    pub task_struct_pid: u32,
    pub task_struct_tgid: u32,
    pub task_struct_start_boottime: u32,
    pub task_struct_group_leader: u32,
    pub task_struct_real_parent: u32,
    pub task_struct_mm: u32,
    pub task_struct_fs: u32,
    pub task_struct_cred: u32,
    pub task_struct_nsproxy: u32,
    pub task_struct_signal: u32,
    pub task_struct_exit_code: u32,
    pub task_struct_cgroups: u32,
    pub task_struct_thread_pid: u32,
    pub signal_struct_live: u32,
    pub css_set_dfl_cgrp: u32,
    pub cgroup_kn: u32,
    pub cgroup_level: u32,
    /// `cgroup.ancestors` (Linux 6.1 and later), or 0.
    pub cgroup_ancestors: u32,
    /// `cgroup.ancestor_ids` (before Linux 6.1), or 0.
    pub cgroup_ancestor_ids: u32,
    pub kernfs_node_id: u32,
    pub mm_struct_arg_start: u32,
    pub mm_struct_arg_end: u32,
    pub mm_struct_exe_file: u32,
    pub file_f_path: u32,
    pub fs_struct_pwd: u32,
    pub path_mnt: u32,
    pub path_dentry: u32,
    pub dentry_d_parent: u32,
    /// `dentry.d_name` is a `struct qstr`; this is the offset of `d_name.name`.
    pub dentry_d_name_name: u32,
    /// The offset of `d_name.len`.
    pub dentry_d_name_len: u32,
    pub vfsmount_mnt_root: u32,
    /// `struct mount` embeds the `vfsmount` that a path points to.
    pub mount_mnt: u32,
    pub mount_mnt_parent: u32,
    pub mount_mnt_mountpoint: u32,
    pub cred_uid: u32,
    pub cred_gid: u32,
    pub cred_euid: u32,
    pub cred_egid: u32,
    pub cred_user_ns: u32,
    pub nsproxy_uts_ns: u32,
    pub nsproxy_ipc_ns: u32,
    pub nsproxy_mnt_ns: u32,
    pub nsproxy_net_ns: u32,
    pub nsproxy_cgroup_ns: u32,
    pub pid_level: u32,
    pub pid_numbers: u32,
    pub upid_size: u32,
    pub upid_ns: u32,
    pub pid_namespace_ns_inum: u32,
    pub uts_namespace_ns_inum: u32,
    pub ipc_namespace_ns_inum: u32,
    pub mnt_namespace_ns_inum: u32,
    pub net_ns_inum: u32,
    pub user_namespace_ns_inum: u32,
    pub user_namespace_level: u32,
    pub mount_mnt_ns: u32,
    pub mnt_namespace_user_ns: u32,
    pub cgroup_namespace_ns_inum: u32,
    pub linux_binprm_file: u32,
    pub inode_i_sb: u32,
    pub super_block_s_magic: u32,
    pub vfsmount_mnt_sb: u32,
    pub socket_sk: u32,
    pub sock_common_skc_family: u32,
    pub sock_common_skc_daddr: u32,
    pub sock_common_skc_rcv_saddr: u32,
    pub sock_common_skc_dport: u32,
    pub sock_common_skc_num: u32,
    pub sock_common_skc_v6_daddr: u32,
    pub sock_common_skc_v6_rcv_saddr: u32,
    /// `unix_sock.path`; 0 where the kernel's type information does not have it.
    pub unix_sock_path: u32,
    /// The next five are 0 where `io_uring` makes no sockets, before Linux 6.0.
    pub io_kiocb_opcode: u32,
    pub io_kiocb_cmd: u32,
    pub io_socket_domain: u32,
    pub io_socket_type: u32,
    pub io_socket_protocol: u32,
    pub task_struct_files: u32,
    pub files_struct_fdt: u32,
    pub fdtable_max_fds: u32,
    pub fdtable_fd: u32,
    pub file_f_inode: u32,
    pub file_private_data: u32,
    pub inode_i_ino: u32,
    pub sock_sk_socket: u32,
    pub socket_alloc_socket: u32,
    pub socket_alloc_vfs_inode: u32,
    /// `unix_sock.peer`; 0 where the kernel's type information does not have it.
    pub unix_sock_peer: u32,
}

impl Offsets {
    /// No offset is known. The daemon never loads programs with it.
    #[expect(
        clippy::disallowed_methods,
        reason = "zerocopy's macro is the checked form"
    )]
    pub const ZERO: Self = zerocopy::transmute!([0u32; size_of::<Self>() / 4]);
}

const _: () = {
    assert!(size_of::<Header>() == 48);
    assert!(size_of::<ProcessKey>() == 16);
    assert!(size_of::<ForkEvent>() == 64);
    assert!(size_of::<ExecEvent>() == 136);
    assert!(size_of::<ArgsEvent>() == 56);
    assert!(size_of::<ExitEvent>() == 56);
    assert!(size_of::<NetEvent>() == 112);
    assert!(size_of::<SocketEvent>() == 72);
    assert!(size_of::<MoveEvent>() == 88);
    assert!(size_of::<GuardEvent>() == 88);
};
