//! Plaintext: what a program handed to its TLS library, and what it was given.
//!
//! Pieces come through a ring of their own, so that a flood of payload pushes out no verdict. Each
//! starts with a [`PieceHeader`]; [`PieceHeader::len`] bytes of plaintext follow. A piece may
//! reserve more room than it needs: what follows its plaintext means nothing.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What every piece starts with.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PieceHeader {
    /// `bpf_ktime_get_boot_ns()`.
    pub boot_ns: u64,
    /// Cgroup id of the tagged cgroup.
    pub workload: u64,
    /// Start of the process: `task_struct.start_boottime` of the leader, nanoseconds since boot.
    pub start_ns: u64,
    /// Process id in the initial PID namespace.
    pub tgid: u32,
    /// Thread id in the initial PID namespace.
    pub tid: u32,
    /// Address of the connection in the process: of its `SSL`, its `gnutls_session_t`, ...
    /// [`PieceKind::Piped`]: inode number of the pipe, or of the socket at its reading end.
    pub object: u64,
    /// When the connection was first seen, nanoseconds since boot: tells it from an earlier one at
    /// the same address.
    pub since_ns: u64,
    /// [`PieceKind::Data`]: where the bytes are in their direction's plaintext. Others: bytes that the
    /// process sent so far.
    pub offset: u64,
    /// [`PieceKind::Joined`] and [`PieceKind::Hello`]: `bpf_get_socket_cookie()`. [`PieceKind::Closed`]: bytes that the process
    /// received. [`PieceKind::Piped`]: the channel, as `object` names it, that the process reads as its standard
    /// input, if it wrote to its standard output; else 0.
    pub other: u64,
    /// Bytes of plaintext that follow.
    pub len: u32,
    /// Bytes of the same call that come after these, and that no piece has: the call was longer than
    /// the policy records, or they could not be read.
    pub skipped: u32,
    /// A [`PieceKind`] as a number.
    pub kind: u8,
    /// [`SENT`] or [`RECEIVED`].
    pub direction: u8,
    /// [`PieceKind::Joined`]: a [`Join`] as a number.
    pub join: u8,
    /// A [`TlsCall`] as a number.
    pub call: u8,
    /// CPU.
    pub cpu: u32,
}

/// The process sent it.
pub const SENT: u8 = 0;
/// The process received it.
pub const RECEIVED: u8 = 1;

/// [`PieceHeader::join`] of [`PieceKind::Piped`]: the process wrote to its standard output.
pub const STANDARD_OUTPUT: u8 = 1;

/// What is known of a pipe, or of a Unix socket, that a workload writes to.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Channel {
    /// When JSON-RPC was first seen on it, nanoseconds since boot.
    pub since_ns: u64,
    /// Bytes that were written to it since.
    pub written: u64,
    /// A [`Carries`] as a number.
    pub carries: u32,
    /// Writes that did not look like JSON-RPC.
    pub others: u32,
}

/// What a [`Channel`] carries.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Not known yet: none of the few first writes looked like JSON-RPC.
    Unknown = 0,
    /// What looks like JSON-RPC.
    JsonRpc = 1,
    /// Something else, which is not looked at again.
    Other = 2,
}

/// Kinds of piece.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Plaintext.
    Data = 1,
    /// The connection was joined to a socket. A [`SocketPair`] follows.
    Joined = 2,
    /// The library forgot the connection.
    Closed = 3,
    /// The process maps a file to run code from it, or began to run a program. About no connection.
    Mapped = 4,
    /// The process ended. About no connection.
    Ended = 5,
    /// A TLS `ClientHello` left on a TCP socket (RFC 8446, 4.1.2), whose cookie is in
    /// [`PieceHeader::other`]. A [`SocketPair`] follows. About no connection of a library that is known.
    Hello = 6,
    /// What a process wrote to a pipe, or to a Unix socket, and that looks like JSON-RPC. It is at
    /// [`PieceHeader::offset`] of what was written there since it did.
    Piped = 7,
}

impl PieceKind {
    /// The inverse of `self as u8`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Data,
            2 => Self::Joined,
            3 => Self::Closed,
            4 => Self::Mapped,
            5 => Self::Ended,
            6 => Self::Hello,
            7 => Self::Piped,
            _ => return None,
        })
    }
}

/// How a connection was joined to its socket.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// The thread used the socket inside the call of the library: certain.
    Nested = 1,
    /// The same, of a goroutine: the thread may have been given another one meanwhile.
    NestedInGoroutine = 2,
    /// The library only encrypted into memory, and the thread's next send on a TCP socket was as long
    /// as the TLS records of that plaintext are: likely.
    NextSend = 3,
}

impl Join {
    /// The inverse of `self as u8`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Nested,
            2 => Self::NestedInGoroutine,
            3 => Self::NextSend,
            _ => return None,
        })
    }
}

/// The two ends of a socket, as the kernel has them in `struct sock_common`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketPair {
    /// Remote address in network order; IPv4 in the first four bytes.
    pub remote: [u8; 16],
    /// Local address, likewise.
    pub local: [u8; 16],
    /// Remote port, host order.
    pub remote_port: u16,
    /// Local port, host order.
    pub local_port: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// Keeps the size a multiple of eight.
    pub reserved: u16,
}

/// What a probed function is, as the probe's cookie says it: which way the plaintext goes, where the
/// arguments are, and what the return value means.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsCall {
    /// `int f(object, const void *, int)`, which returns how many bytes were sent: `SSL_write`.
    Write = 1,
    /// `int f(object, void *, int)`, which returns how many bytes were received: `SSL_read`.
    Read = 2,
    /// `int f(object, const void *, size_t, size_t *written)`, which returns 1 on success:
    /// `SSL_write_ex`, `SSL_write_early_data`.
    WriteEx = 3,
    /// `int f(object, void *, size_t, size_t *readbytes)`, which returns 1 on success: `SSL_read_ex`,
    /// `SSL_read_early_data`.
    ReadEx = 4,
    /// `ssize_t f(object, const void *, size_t, ...)`: `gnutls_record_send2`.
    WriteSized = 5,
    /// `ssize_t f(object, void *, size_t, ...)`: `gnutls_record_recv`.
    ReadSized = 6,
    /// `void f(object)`, after which the object is gone: `SSL_free`, `gnutls_deinit`.
    Close = 7,
    /// `func (c *Conn) Write(b []byte) (int, error)` of Go's `crypto/tls`.
    GoWrite = 8,
    /// `func (c *Conn) Read(b []byte) (int, error)`.
    GoRead = 9,
    /// `func (c *Conn) Close() error`. The connection is of no more use.
    GoClose = 10,
    /// `fn CommonState::buffer_plaintext(&mut self, payload: OutboundChunks<'_>, ...) -> usize` of
    /// rustls 0.23, see `hoop_locate::Function::RustlsBufferPlaintext`.
    RustlsWrite = 11,
    /// `fn CommonState::take_received_plaintext(&mut self, bytes: Payload<'_>)` of rustls: all of it is
    /// moved.
    RustlsRead = 12,
    /// `fn CommonState::send_some_plaintext(&mut self, data: &[u8]) -> usize` of rustls 0.20 to 0.22.
    RustlsWriteSome = 13,
}

impl TlsCall {
    /// The inverse of `self as u8`.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Write,
            2 => Self::Read,
            3 => Self::WriteEx,
            4 => Self::ReadEx,
            5 => Self::WriteSized,
            6 => Self::ReadSized,
            7 => Self::Close,
            8 => Self::GoWrite,
            9 => Self::GoRead,
            10 => Self::GoClose,
            11 => Self::RustlsWrite,
            12 => Self::RustlsRead,
            13 => Self::RustlsWriteSome,
            _ => return None,
        })
    }

    /// Whether nothing says when a connection of this library ends, so that another may be at the same
    /// address.
    #[must_use]
    #[inline(always)]
    pub const fn is_endless(self) -> bool {
        matches!(
            self,
            Self::RustlsRead | Self::RustlsWrite | Self::RustlsWriteSome
        )
    }

    /// [`SENT`] or [`RECEIVED`].
    #[must_use]
    #[inline(always)]
    pub const fn direction(self) -> u8 {
        match self {
            Self::Read | Self::ReadEx | Self::ReadSized | Self::GoRead | Self::RustlsRead => {
                RECEIVED
            }
            _ => SENT,
        }
    }
}

/// Why plaintext did not reach the ring. The number is its index in the kernel's `PAYLOAD_LOST` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadLoss {
    /// Pieces for which the ring had no space.
    Pieces = 0,
    /// The bytes in them.
    Bytes = 1,
    /// Calls of which nothing was taken, since the table of calls or that of connections was full.
    Calls = 2,
}

impl PayloadLoss {
    /// How many there are.
    pub const COUNT: usize = 3;
}

const _: () = {
    assert!(size_of::<PieceHeader>() == 80);
    assert!(size_of::<SocketPair>() == 40);
    assert!(size_of::<Channel>() == 24);
};
