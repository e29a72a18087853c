//! The maps. Their names and layouts are the contract with the daemon's `kernel/` and with the
//! daemon of another build that adopts them: a change of layout changes the pin directory.

use aya_ebpf::{
    bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE, bpf_spin_lock},
    btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    macros::btf_map,
};
use hoop_common::{
    event::LossCause,
    exec::ExecEntry,
    limits::{
        CONTROL_RING_BYTES, MAX_CHANNELS, MAX_MATCHER_CELLS, MAX_POLICIES, MAX_PROCESSES,
        MAX_TLS_CALLS, MAX_TLS_CONNECTIONS, MAX_UNIX_DENIED, MAX_WORKLOADS, PAYLOAD_RING_BYTES,
    },
    payload::{Channel, PayloadLoss},
    policy::{Cell, Key, PolicyEntry, WorkloadEntry},
    state::{ProcessEntry, State},
    unix_path::UnixKey,
};

use crate::{
    payload::{Call, CallKey, Connection, ConnectionKey, Turn},
    stdio::Standard,
};

/// Control events on their way to the daemon.
#[btf_map]
pub static EVENTS: RingBuf<u64, { CONTROL_RING_BYTES as usize }> = RingBuf::new();

/// Events numbered so far, per CPU.
#[btf_map]
pub static NUMBERED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Events that were numbered and did not fit, per CPU, by [`LossCause`].
#[btf_map]
pub static LOST: PerCpuArray<u64, { LossCause::ALL.len() }> = PerCpuArray::new();

/// What changes for all workloads at once. Mapped by the daemon, which stores whole words.
#[btf_map]
pub static STATE: Array<State, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Tagged cgroups by cgroup id. They never nest.
#[btf_map]
pub static WORKLOADS: HashMap<u64, WorkloadEntry, { MAX_WORKLOADS as usize }> = HashMap::new();

/// Policies: bank 0, then bank 1.
#[btf_map]
pub static POLICIES: Array<PolicyEntry, { 2 * MAX_POLICIES as usize }> = Array::new();

/// The exec rules of the same policies.
#[btf_map]
pub static EXECS: Array<ExecEntry, { 2 * MAX_POLICIES as usize }> = Array::new();

/// The automata of each bank, see [`hoop_common::matcher`]. Mapped by the daemon, which fills the
/// idle one.
#[btf_map]
pub static MATCHER: Array<[u32; MAX_MATCHER_CELLS as usize], 2, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// The compiled table of each bank.
#[btf_map]
pub static TABLES: ArrayOfMaps<Table, 2> = ArrayOfMaps::new();

/// A table; the daemon makes one of the right length for every epoch.
pub type Table = Array<Cell, 1, { BPF_F_INNER_MAP as usize }>;

/// Unix sockets that policies deny by path: the rule's number.
#[btf_map]
pub static UNIX_DENIED: HashMap<UnixKey, u32, { MAX_UNIX_DENIED as usize }> = HashMap::new();

/// Processes of workloads by tgid, so that an identity survives a move to another cgroup and a
/// process's end is reported once.
#[btf_map]
pub static PROCESSES: HashMap<u32, ProcessEntry, { MAX_PROCESSES as usize }> = HashMap::new();

/// What is known of a socket.
#[btf_map]
pub static SOCKETS: SkStorage<SocketState> = SkStorage::new();

/// Room for one exec event: it does not fit on the stack. Only `hooks/exec.rs` uses it, and
/// tracepoint programs are not preempted.
#[btf_map]
pub static EXEC_SCRATCH: PerCpuArray<crate::hooks::exec::Scratch, 1> = PerCpuArray::new();

/// Room to judge and report a command in before it runs. Only `hooks/exec_check.rs` uses it.
#[btf_map]
pub static CHECK_SCRATCH: PerCpuArray<crate::hooks::exec_check::Scratch, 1> = PerCpuArray::new();

/// Plaintext on its way to the daemon. This map and the next six are not pinned: without a daemon
/// that reads it nothing is taken.
#[btf_map]
pub static PAYLOAD: RingBuf<u64, { PAYLOAD_RING_BYTES as usize }> = RingBuf::new();

/// Plaintext that did not fit, per CPU, by [`PayloadLoss`].
#[btf_map]
pub static PAYLOAD_LOST: PerCpuArray<u64, { PayloadLoss::COUNT }> = PerCpuArray::new();

/// Calls of TLS libraries that have not returned. The oldest make room: a thread may end, or jump out
/// of a call.
#[btf_map]
pub static CALLS: LruHashMap<CallKey, Call, { MAX_TLS_CALLS as usize }> = LruHashMap::new();

/// TLS connections. The ones that were not used for the longest time make room.
#[btf_map]
pub static CONNECTIONS: LruHashMap<ConnectionKey, Connection, { MAX_TLS_CONNECTIONS as usize }> =
    LruHashMap::new();

/// Threads whose next use of a socket says which socket a TLS connection has, by `pid_tgid`.
#[btf_map]
pub static TURNS: LruHashMap<u64, Turn, { MAX_TLS_CALLS as usize }> = LruHashMap::new();

/// Pipes and Unix sockets that workloads write to, by inode number: whether it is JSON-RPC. The daemon
/// enters those of which it knows better.
#[btf_map]
pub static CHANNELS: LruHashMap<u64, Channel, { MAX_CHANNELS as usize }> = LruHashMap::new();

/// Standard input and output of processes when they began their programs, by process id.
#[btf_map]
pub static STANDARD: LruHashMap<u32, Standard, { MAX_PROCESSES as usize }> = LruHashMap::new();

/// See [`SOCKETS`].
#[repr(C)]
pub struct SocketState {
    /// The workload that made the socket, or 0.
    pub workload: u64,
    /// Start of the process that made or first used the socket, or 0.
    pub start_ns: u64,
    /// That process, or 0.
    pub tgid: u32,
    /// 1 once it is known whether TLS is spoken on it.
    pub tasted: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
    /// Guards `judged`: threads and soft interrupts on several CPUs may use one socket.
    pub lock: bpf_spin_lock,
    /// The last judgement.
    pub judged: Judged,
}

/// A judgement that can be used again for the same destination in the same epoch.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Epoch of the policies that judged, or 0 for none.
    pub epoch: u64,
    /// The destination.
    pub destination: Key,
    /// The rule that decided.
    pub rule: u32,
    /// Port at the destination.
    pub port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// The [`hoop_common::event::Verdict`] as a number.
    pub verdict: u8,
}
