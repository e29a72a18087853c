//! Bounds that the kernel programs need at compile time and the daemon enforces on input.

/// Tagged cgroups at one time. The kernel's `WORKLOADS` map has this many entries.
pub const MAX_WORKLOADS: u32 = 4096;

/// Policies in force at one time.
pub const MAX_POLICIES: u32 = 1024;

/// Cells in the compiled table of all policies together, see [`crate::policy::Cell`]. One CIDR
/// needs at most two, and every distinct set of rules a few more.
pub const MAX_CELLS: u32 = 1 << 21;

/// Steps of a binary search over [`MAX_CELLS`] cells.
pub const SEARCH_STEPS: u32 = 22;

/// Deepest level below the cgroup v2 root at which a cgroup can be tagged. Cgroups *below* a
/// tagged one may be as deep as the kernel allows: the look-up goes from the root downward.
pub const MAX_TAG_LEVEL: u32 = 63;

/// Bytes of a path that an event carries (`PATH_MAX` of `include/uapi/linux/limits.h`).
pub const PATH_BYTES: usize = 4096;

/// Steps that the kernel side takes up a path, one for a component or a mount point. Enough for
/// every path of [`PATH_BYTES`] bytes; a longer one is flagged as truncated.
pub const PATH_STEPS: u32 = PATH_BYTES as u32;

/// Bytes that the kernel side walks through an automaton at a time: no path is longer, and longer
/// arguments come in chunks.
pub const TEXT_CHUNK: u32 = PATH_BYTES as u32;

/// Bytes of an argument vector that are recorded; beyond it the record says `truncated`, and of the
/// argument that is cut there, what may be half of a secret is left out.
pub const ARGS_BYTES: u32 = 128 * 1024;

/// Bytes of arguments in one event. Longer vectors arrive in chunks.
pub const ARGS_CHUNK: usize = 4096;

/// Size of the ring buffer for control events, in bytes. A power of two and a multiple of the
/// page size, as `kernel/bpf/ringbuf.c` asks.
pub const CONTROL_RING_BYTES: u32 = 8 << 20;

/// Once this much of the control ring waits to be read, only denials are still written to it, so
/// that a flood of allowed events cannot push a denial out of the record.
pub const CONTROL_RING_RESERVED_FROM: u64 = CONTROL_RING_BYTES as u64 / 4 * 3;

/// Unix sockets that all policies deny by path, in both banks together.
pub const MAX_UNIX_DENIED: u32 = 4096;

/// Processes inside workloads at one time whose identity the kernel side holds.
pub const MAX_PROCESSES: u32 = 65_536;

/// Cells in the automata of all policies together, see [`crate::matcher`]. A power of two, so that
/// the kernel bounds an index by a mask; 4 MiB, the most that one map value may have
/// (`KMALLOC_MAX_SIZE`, `kernel/bpf/arraymap.c`).
pub const MAX_MATCHER_CELLS: u32 = 1 << 20;

/// States of one automaton, when minimised.
pub const MAX_DFA_STATES: u32 = 4096;

/// Byte classes of one automaton: one for every byte value.
pub const MAX_DFA_CLASSES: u32 = 256;

/// Bits of the sets that an automaton reports: the exec rules of one policy, and for each `args`
/// the parts that `.*` separates beyond the first.
pub const MAX_PATTERNS: u32 = 64;

/// Size of the ring buffer for plaintext, in bytes, like [`CONTROL_RING_BYTES`].
pub const PAYLOAD_RING_BYTES: u32 = 16 << 20;

/// Room for plaintext in one piece. Pieces come in these sizes, so that a short call does not take the
/// room of a long one. The largest is that of a TLS record (RFC 8446, 5.1).
pub const PIECE_BYTES: [u32; 3] = [512, 4096, 16_384];

/// Largest `capture.maxBytesPerCall`, in bytes: a call comes in at most this many bytes of pieces.
pub const MAX_CALL_BYTES: u32 = 4 << 20;

/// Calls of TLS libraries that have not returned, at one time.
pub const MAX_TLS_CALLS: u32 = 16_384;

/// Pipes and Unix sockets of which it is known at one time whether JSON-RPC is written to them. The ones
/// that were not used for the longest time make room.
pub const MAX_CHANNELS: u32 = 16_384;

/// TLS connections at one time.
pub const MAX_TLS_CONNECTIONS: u32 = 32_768;
