//! Compiled policy: what `policy/compile.rs` in the agent writes and the kernel programs search.
//!
//! All policies of one epoch live in one table of [`Cell`]s, sorted within segments. Judging a
//! destination is two floor searches: the policy's address segment gives a port segment, and the
//! port segment gives a [`Ruling`]. Which rule wins was decided when the table was compiled; the
//! kernel only looks the answer up.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::limits::SEARCH_STEPS;

/// One entry of the compiled table: from this key up to the next cell of its segment, `value`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cell {
    /// The key where this cell begins.
    pub key: Key,
    /// A [`Segment`] in an address cell, a [`Ruling`] in a port cell.
    pub value: u64,
}

/// A 128-bit key, ordered by `hi` then `lo`.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct Key {
    /// Most significant half, in host order.
    pub hi: u64,
    /// Least significant half, in host order.
    pub lo: u64,
}

impl Key {
    /// The key of an IPv4 address: its v4-mapped IPv6 form (RFC 4291, 2.5.5.2), so that
    /// `192.0.2.1` and `::ffff:192.0.2.1` are one destination.
    #[must_use]
    #[inline(always)]
    pub const fn from_v4(address: u32) -> Self {
        Self {
            hi: 0,
            lo: 0xffff_0000_0000 | address as u64,
        }
    }

    /// The key of an IPv6 address.
    #[must_use]
    #[inline(always)]
    pub const fn from_v6(octets: [u8; 16]) -> Self {
        let bits = u128::from_be_bytes(octets);
        Self {
            hi: (bits >> 64) as u64,
            lo: bits as u64,
        }
    }

    /// The key of a protocol number and port. Protocols without ports use port 0.
    #[must_use]
    #[inline(always)]
    pub const fn from_port(protocol: u8, port: u16) -> Self {
        Self {
            hi: 0,
            lo: (protocol as u64) << 16 | port as u64,
        }
    }

    /// The key as one number.
    #[must_use]
    pub const fn bits(self) -> u128 {
        (self.hi as u128) << 64 | self.lo as u128
    }

    /// Whether this is an IPv4 address in its v4-mapped form.
    #[must_use]
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.hi == 0 && self.lo >> 32 == 0xffff
    }
}

/// A run of cells in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of its first cell.
    pub start: u32,
    /// Number of cells, at least 1: the first cell of every segment has key 0.
    pub len: u32,
}

impl Segment {
    /// Packs the segment into a cell's value.
    #[must_use]
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.start as u64) << 32 | self.len as u64
    }

    /// The inverse of [`Segment::pack`].
    #[must_use]
    #[inline(always)]
    pub const fn unpack(value: u64) -> Self {
        Self {
            start: (value >> 32) as u32,
            len: value as u32,
        }
    }
}

/// What a policy says about a destination: which rule decides, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Number of the rule in the daemon's rule book.
    pub rule: u32,
    /// Whether the rule allows.
    pub allow: bool,
}

impl Ruling {
    /// Packs the ruling into a cell's value.
    #[must_use]
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.allow as u64) << 32 | self.rule as u64
    }

    /// The inverse of [`Ruling::pack`].
    #[must_use]
    #[inline(always)]
    pub const fn unpack(value: u64) -> Self {
        Self {
            rule: value as u32,
            allow: value >> 32 & 1 == 1,
        }
    }
}

/// Finds the last cell of `segment` whose key is at most `key`.
///
/// `cell` reads the table; it returns `None` outside it, and then so does the search. Both sides
/// of the kernel boundary use this one function.
#[inline(always)]
pub fn floor<'a>(
    segment: Segment,
    key: Key,
    cell: impl Fn(u32) -> Option<&'a Cell>,
) -> Option<u64> {
    let mut low = segment.start;
    let mut len = segment.len;
    let mut value = None;
    // Bounded so that the verifier sees the end; 2^SEARCH_STEPS exceeds the largest table.
    for _ in 0..SEARCH_STEPS {
        if len == 0 {
            break;
        }
        let half = len / 2;
        let middle = cell(low.wrapping_add(half))?;
        let at_or_below =
            middle.key.hi < key.hi || middle.key.hi == key.hi && middle.key.lo <= key.lo;
        if at_or_below {
            value = Some(middle.value);
            low = low.wrapping_add(half + 1);
            len -= half + 1;
        } else {
            len = half;
        }
    }
    value
}

/// Judges a destination against a policy's address segment. `port` is a [`Key::from_port`].
///
/// `None` means that the table is not what it should be; callers fail closed.
#[inline(always)]
pub fn judge<'a>(
    addresses: Segment,
    address: Key,
    port: Key,
    cell: impl Fn(u32) -> Option<&'a Cell> + Copy,
) -> Option<Ruling> {
    let ports = Segment::unpack(floor(addresses, address, cell)?);
    floor(ports, port, cell).map(Ruling::unpack)
}

/// One policy of one epoch.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct PolicyEntry {
    /// First cell of its address segment.
    pub start: u32,
    /// Length of its address segment; 0 marks an unused entry, which denies everything.
    pub len: u32,
    /// A [`Mode`] as a number.
    pub mode: u32,
    /// Bit `n` allows the [`SocketKind`] with number `n`.
    pub sockets: u32,
    /// Rule number reported when a socket kind is allowed.
    pub sockets_allow_rule: u32,
    /// Rule number reported when a socket kind is denied.
    pub sockets_deny_rule: u32,
    /// Rule number reported for packets that hide their destination (fragments made by hand,
    /// source routes, headers that cannot be followed).
    pub opaque_rule: u32,
    /// Rule number reported for processes that leave the workload.
    pub escape_rule: u32,
    /// Rule number reported for processes that reach into another outside the workload.
    pub ptrace_rule: u32,
    /// Rule number reported for calls of `bpf`.
    pub bpf_rule: u32,
    /// Rule number reported for what would take Hoop apart in another way.
    pub tamper_rule: u32,
    /// Most bytes of plaintext that are taken of one call of a TLS library; 0: none is.
    pub capture_bytes: u32,
}

/// How a policy acts.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything is allowed and recorded; rules are not consulted.
    Observe = 0,
    /// Everything is allowed; what `enforce` would have denied is recorded as `shadow`.
    Shadow = 1,
    /// What the policy does not allow does not happen.
    Enforce = 2,
}

impl Mode {
    /// The inverse of `self as u32`. An unknown number enforces: fail closed.
    #[must_use]
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Observe,
            1 => Self::Shadow,
            _ => Self::Enforce,
        }
    }
}

/// Kinds of socket that a policy can allow or deny. The number is the bit in
/// [`PolicyEntry::sockets`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketKind {
    /// `SOCK_STREAM` over IPv4 or IPv6 with TCP or MPTCP.
    Tcp = 0,
    /// `SOCK_DGRAM` over IPv4 or IPv6 with UDP or UDP-Lite.
    Udp = 1,
    /// `AF_UNIX`, any type.
    Unix = 2,
    /// `SOCK_DGRAM` with ICMP or ICMPv6: unprivileged ping.
    Icmp = 3,
    /// `SOCK_RAW` over IPv4 or IPv6.
    Raw = 4,
    /// SCTP, DCCP, SMC and every other transport over IPv4 or IPv6.
    OtherInet = 5,
    /// `AF_NETLINK`.
    Netlink = 6,
    /// `AF_PACKET`.
    Packet = 7,
    /// `AF_VSOCK`.
    Vsock = 8,
    /// `AF_ALG`.
    Alg = 9,
    /// Every other address family.
    Other = 10,
}

impl SocketKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Tcp,
        Self::Udp,
        Self::Unix,
        Self::Icmp,
        Self::Raw,
        Self::OtherInet,
        Self::Netlink,
        Self::Packet,
        Self::Vsock,
        Self::Alg,
        Self::Other,
    ];

    /// The kind of `socket(family, kind, protocol)`. `kind` is the socket type without the flags
    /// `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
    #[must_use]
    #[inline(always)]
    pub const fn of(family: u32, kind: u32, protocol: u32) -> Self {
        match family {
            1 => Self::Unix,
            // AF_INET, AF_INET6
            2 | 10 => match (kind, protocol) {
                // SOCK_STREAM: default, TCP, MPTCP
                (1, 0 | 6 | 262) => Self::Tcp,
                // SOCK_DGRAM: default, UDP, UDP-Lite
                (2, 0 | 17 | 136) => Self::Udp,
                // SOCK_DGRAM: ICMP, ICMPv6
                (2, 1 | 58) => Self::Icmp,
                (3, _) => Self::Raw,
                _ => Self::OtherInet,
            },
            16 => Self::Netlink,
            17 => Self::Packet,
            38 => Self::Alg,
            40 => Self::Vsock,
            _ => Self::Other,
        }
    }

    /// Whether no cgroup hook sees such sockets: their family is neither IPv4 nor IPv6.
    #[must_use]
    pub const fn is_of_other_family(self) -> bool {
        matches!(
            self,
            Self::Unix | Self::Netlink | Self::Packet | Self::Vsock | Self::Alg | Self::Other
        )
    }

    /// Whether `socket(family, _, protocol)` is netlink that ordinary programs need, which no policy
    /// denies: the routing tables, which the C library reads to resolve names and list interfaces;
    /// audit messages, which `sudo`, `useradd` and D-Bus send; device events, which browsers
    /// receive. Each of them changes nothing without a capability.
    #[must_use]
    #[inline(always)]
    pub const fn is_common_netlink(family: u32, protocol: u32) -> bool {
        // NETLINK_ROUTE, NETLINK_AUDIT, NETLINK_KOBJECT_UEVENT
        family == 16 && matches!(protocol, 0 | 9 | 15)
    }

    /// The bit of this kind in [`PolicyEntry::sockets`].
    #[must_use]
    #[inline(always)]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A tagged cgroup. The key in the kernel's map is its cgroup id.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WorkloadEntry {
    /// Index of its policy in bank 0 and in bank 1 (see [`Epoch`]), or [`NO_POLICY`].
    pub policy: [u32; 2],
}

/// The workload has no policy in this bank: nothing is allowed.
pub const NO_POLICY: u32 = u32::MAX;

/// The epoch in force. Policies and their table exist in two banks; a reload fills the idle bank
/// and then changes this one number, so every policy changes at the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The bank that this epoch reads: its lowest bit.
    #[must_use]
    #[inline(always)]
    pub const fn bank(self) -> u32 {
        (self.0 & 1) as u32
    }

    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

const _: () = {
    assert!(size_of::<Cell>() == 24);
    assert!(size_of::<PolicyEntry>() == 48);
    assert!(size_of::<WorkloadEntry>() == 8);
    assert!(1u64 << SEARCH_STEPS > crate::limits::MAX_CELLS as u64);
};
