//! Lists and destroys the sockets of a network namespace, by netlink: `sock_diag(7)`.
//!
//! Calls block while the kernel walks its tables: not for a thread that serves the async runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use thiserror::Error;
use zerocopy::byteorder::network_endian::U16 as NetworkU16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::netns::NetNs;
use crate::eintr::retry;

// include/uapi/linux/sock_diag.h and inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const INET_DIAG_CGROUP_ID: u16 = 21;
// include/uapi/linux/netlink.h
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLA_TYPE_MASK: u16 = 0x3fff;
// include/net/tcp_states.h
const TCP_TIME_WAIT: u8 = 6;
const TCP_LISTEN: u8 = 10;

/// The kernel fills at most 32 KiB of a dump at once (`netlink_dump`).
const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers within the call that asks; this only ends a wait that nothing could.
const ANSWER_SECONDS: i64 = 10;
/// A dump that changes while it is read is read again this often, then taken as it is: the sockets
/// that it missed are newer than the first attempt.
const DUMP_ATTEMPTS: u32 = 8;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`
    V4,
    /// `AF_INET6`, with the sockets that speak to v4-mapped addresses.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn number(self) -> u8 {
        match self {
            Self::V4 => libc::AF_INET as u8,
            Self::V6 => libc::AF_INET6 as u8,
        }
    }
}

/// A protocol whose sockets the kernel can list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP, the subflows of MPTCP connections among them.
    Tcp,
    /// UDP
    Udp,
    /// UDP-Lite, until Linux 7.1 removed it.
    UdpLite,
    /// MPTCP connections (Linux 5.9 and later, module `mptcp_diag`).
    Mptcp,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::UdpLite, Self::Mptcp];

    /// The IANA protocol number of its packets.
    #[must_use]
    pub const fn on_the_wire(self) -> u8 {
        match self {
            Self::Tcp | Self::Mptcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
            Self::UdpLite => libc::IPPROTO_UDPLITE as u8,
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u32,
            Self::Udp => libc::IPPROTO_UDP as u32,
            Self::UdpLite => libc::IPPROTO_UDPLITE as u32,
            Self::Mptcp => libc::IPPROTO_MPTCP as u32,
        }
    }
}

/// A socket as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its family.
    pub family: Family,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its own address; v4-mapped where a v6 socket speaks IPv4.
    pub source: SocketAddr,
    /// Its peer; the unspecified address and port 0 if it has none.
    pub destination: SocketAddr,
    /// Index of the interface that it is bound to, or 0.
    pub interface: u32,
    /// `bpf_get_socket_cookie()`
    pub cookie: u64,
    /// `TCP_*` of `include/net/tcp_states.h`. Of UDP: 1 with a peer, 7 without.
    pub state: u8,
    /// Inode number in sockfs; 0 if no process has the socket open.
    pub inode: u32,
    /// Id of the cgroup v2 that opened it. `None` before the connection is complete on the
    /// accepting side, or from a kernel without `CONFIG_SOCK_CGROUP_DATA`.
    pub cgroup_id: Option<u64>,
    /// Owner in this process's user namespace.
    pub uid: u32,
}

/// Why sockets cannot be listed or destroyed.
#[derive(Debug, Error)]
pub enum SockDiagError {
    /// The kernel has no support for this protocol.
    #[error("this kernel cannot list {protocol:?} sockets: load tcp_diag, udp_diag or mptcp_diag")]
    NoProtocol {
        /// Which.
        protocol: Protocol,
    },
    /// The kernel can list sockets of this protocol, but not destroy them.
    #[error("this kernel cannot destroy {protocol:?} sockets (CONFIG_INET_DIAG_DESTROY)")]
    NoDestroy {
        /// Which.
        protocol: Protocol,
    },
    /// The socket is there, but the kernel finds another one at its address (`SO_REUSEPORT`).
    #[error("socket {cookie} shares its address with another, and the kernel finds only that one")]
    Hidden {
        /// The cookie of the socket that was to be destroyed.
        cookie: u64,
    },
    /// The kernel's answer is none that `sock_diag(7)` describes.
    #[error("the kernel's answer on sockets is malformed")]
    Malformed,
    /// The kernel refused. `PermissionDenied` without `CAP_NET_ADMIN` in the namespace's owner.
    #[error("netlink sock_diag")]
    Io(#[from] io::Error),
}

impl From<Errno> for SockDiagError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// A connection to the kernel about the sockets of one network namespace.
#[derive(Debug)]
pub struct SockDiag {
    netlink: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl SockDiag {
    /// Asks about the sockets in `netns`. The calling thread stays in its own namespace.
    ///
    /// # Errors
    /// As setns(2) and socket(2).
    pub fn open(netns: &NetNs) -> io::Result<Self> {
        let netlink = netns.run(connected)??;
        Ok(Self {
            netlink,
            sequence: 0,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Lists the sockets of a family and protocol, in all states but listening and time-wait.
    ///
    /// # Errors
    /// [`SockDiagError::NoProtocol`], [`SockDiagError::Io`].
    pub fn dump(
        &mut self,
        family: Family,
        protocol: Protocol,
    ) -> Result<Vec<Socket>, SockDiagError> {
        let mut attempt = 1;
        loop {
            let (sockets, interrupted) = self.dump_once(family, protocol)?;
            if !interrupted || attempt == DUMP_ATTEMPTS {
                return Ok(sockets);
            }
            attempt += 1;
        }
    }

    /// Destroys a socket: the program sees `ECONNABORTED`, a TCP peer a reset. A socket that is
    /// gone already is no error. The cookie decides which socket is meant.
    ///
    /// A UDP socket is told once and loses its peer, but stays open and can be used again. Linux
    /// up to 6.18 cannot destroy MPTCP connections; one whose subflows, which are listed as TCP,
    /// are all destroyed ends after `net.mptcp.close_timeout`, 60 s if nobody changed it.
    ///
    /// # Errors
    /// [`SockDiagError::NoDestroy`], [`SockDiagError::Hidden`], [`SockDiagError::Io`].
    pub fn destroy(&mut self, socket: &Socket) -> Result<(), SockDiagError> {
        let request = Request {
            states: u32::MAX,
            id: SocketId::of(socket),
            ..Request::new(socket.family, socket.protocol)
        };
        self.send(SOCK_DESTROY, NLM_F_ACK, &request, socket.protocol)?;
        match self.acknowledged() {
            Err(SockDiagError::Io(error)) => match error.raw_os_error() {
                Some(libc::EOPNOTSUPP) => Err(SockDiagError::NoDestroy {
                    protocol: socket.protocol,
                }),
                Some(libc::ENOENT) => self.check_gone(socket),
                _ => Err(SockDiagError::Io(error)),
            },
            done => done,
        }
    }

    /// The kernel finds UDP sockets by address before it looks at the cookie, so "not found" may
    /// mean that it found another one.
    fn check_gone(&mut self, socket: &Socket) -> Result<(), SockDiagError> {
        let hidden = matches!(socket.protocol, Protocol::Udp | Protocol::UdpLite)
            && self
                .dump(socket.family, socket.protocol)?
                .iter()
                .any(|found| found.cookie == socket.cookie);
        if hidden {
            Err(SockDiagError::Hidden {
                cookie: socket.cookie,
            })
        } else {
            Ok(())
        }
    }

    fn dump_once(
        &mut self,
        family: Family,
        protocol: Protocol,
    ) -> Result<(Vec<Socket>, bool), SockDiagError> {
        let request = Request {
            states: !(1 << TCP_TIME_WAIT | 1 << TCP_LISTEN),
            ..Request::new(family, protocol)
        };
        self.send(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request, protocol)?;
        let mut sockets = Vec::new();
        let mut interrupted = false;
        loop {
            let length = self.receive()?;
            let mut rest = &self.buffer[..length];
            while !rest.is_empty() {
                let (header, body);
                (header, body, rest) = split_message(rest)?;
                if header.sequence != self.sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.kind {
                    SOCK_DIAG_BY_FAMILY => sockets.extend(parse_socket(body, protocol)),
                    // Both may carry a negative error number; DONE without one is the end.
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match error_of(body) {
                            Some(Errno::ENOENT) => Err(SockDiagError::NoProtocol { protocol }),
                            Some(errno) => Err(errno.into()),
                            None => Ok((sockets, interrupted)),
                        };
                    }
                    NLMSG_OVERRUN => return Err(Errno::ENOBUFS.into()),
                    _ => {}
                }
            }
        }
    }

    fn acknowledged(&mut self) -> Result<(), SockDiagError> {
        loop {
            let length = self.receive()?;
            let mut rest = &self.buffer[..length];
            while !rest.is_empty() {
                let (header, body);
                (header, body, rest) = split_message(rest)?;
                if header.sequence == self.sequence && header.kind == NLMSG_ERROR {
                    return match error_of(body) {
                        Some(errno) => Err(errno.into()),
                        None => Ok(()),
                    };
                }
            }
        }
    }

    fn send(
        &mut self,
        kind: u16,
        flags: u16,
        request: &Request,
        protocol: Protocol,
    ) -> Result<(), SockDiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        // The request's own field for the protocol is a byte, and MPTCP's number is 262.
        let attribute = AttributeHeader {
            length: (size_of::<AttributeHeader>() + size_of::<u32>()) as u16,
            kind: INET_DIAG_REQ_PROTOCOL,
        };
        let number = protocol.number();
        let attribute: &[&[u8]] = match protocol {
            Protocol::Mptcp => &[attribute.as_bytes(), number.as_bytes()],
            Protocol::Tcp | Protocol::Udp | Protocol::UdpLite => &[],
        };
        let attribute = attribute.concat();
        let header = MessageHeader {
            length: (size_of::<MessageHeader>() + size_of::<Request>() + attribute.len()) as u32,
            kind,
            flags: NLM_F_REQUEST | flags,
            sequence: self.sequence,
            port: 0,
        };
        let message = [header.as_bytes(), request.as_bytes(), &attribute].concat();
        let sent = retry(|| send(self.netlink.as_raw_fd(), &message, MsgFlags::empty()))?;
        // Netlink takes a message whole or not at all.
        if sent == message.len() {
            Ok(())
        } else {
            Err(SockDiagError::Malformed)
        }
    }

    fn receive(&mut self) -> Result<usize, SockDiagError> {
        let Self {
            netlink, buffer, ..
        } = self;
        let length = retry(|| recv(netlink.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC))?;
        // With MSG_TRUNC the length is the message's, even where the buffer was too short for it.
        if length == 0 || length > buffer.len() {
            return Err(SockDiagError::Malformed);
        }
        Ok(length)
    }
}

fn connected() -> io::Result<OwnedFd> {
    let netlink = retry(|| {
        socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )
    })?;
    setsockopt(
        &netlink,
        sockopt::ReceiveTimeout,
        &TimeVal::seconds(ANSWER_SECONDS),
    )?;
    // Connected to the kernel, so that no other process's message is taken for its answer.
    retry(|| connect(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0)))?;
    Ok(netlink)
}

/// `struct nlmsghdr`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct MessageHeader {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// `struct nlattr`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct AttributeHeader {
    length: u16,
    kind: u16,
}

/// `struct inet_diag_req_v2`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Request {
    family: u8,
    protocol: u8,
    extensions: u8,
    reserved: u8,
    states: u32,
    id: SocketId,
}

impl Request {
    fn new(family: Family, protocol: Protocol) -> Self {
        Self {
            family: family.number(),
            // 0 for MPTCP: the attribute says it.
            protocol: u8::try_from(protocol.number()).unwrap_or(0),
            extensions: 0,
            reserved: 0,
            states: 0,
            id: SocketId::new_zeroed(),
        }
    }
}

/// `struct inet_diag_sockid`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct SocketId {
    source_port: NetworkU16,
    destination_port: NetworkU16,
    source: Address,
    destination: Address,
    interface: u32,
    cookie: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct Address([u8; 16]);

impl Address {
    /// An IPv4 address is in the first four bytes.
    fn of(address: IpAddr) -> Self {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes = address.octets(),
        }
        Self(bytes)
    }

    fn ip(self, family: Family) -> IpAddr {
        let [a, b, c, d, ..] = self.0;
        match family {
            Family::V4 => Ipv4Addr::new(a, b, c, d).into(),
            Family::V6 => Ipv6Addr::from(self.0).into(),
        }
    }
}

impl SocketId {
    fn of(socket: &Socket) -> Self {
        Self {
            source_port: socket.source.port().into(),
            destination_port: socket.destination.port().into(),
            source: Address::of(socket.source.ip()),
            destination: Address::of(socket.destination.ip()),
            interface: socket.interface,
            cookie: [socket.cookie as u32, (socket.cookie >> 32) as u32],
        }
    }
}

/// `struct inet_diag_msg`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Message {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: SocketId,
    expires: u32,
    receive_queue: u32,
    send_queue: u32,
    uid: u32,
    inode: u32,
}

const _: () = {
    assert!(size_of::<MessageHeader>() == 16);
    assert!(size_of::<Request>() == 56);
    assert!(size_of::<Message>() == 72);
};

/// Splits the first message off: its header, its body, and what follows.
pub(super) fn split_message(bytes: &[u8]) -> Result<(MessageHeader, &[u8], &[u8]), SockDiagError> {
    let (header, _) =
        MessageHeader::read_from_prefix(bytes).map_err(|_| SockDiagError::Malformed)?;
    let length = header.length as usize;
    let body = bytes
        .get(size_of::<MessageHeader>()..length)
        .ok_or(SockDiagError::Malformed)?;
    let next = length.next_multiple_of(4).min(bytes.len());
    Ok((header, body, &bytes[next..]))
}

/// The error that an `NLMSG_ERROR` or `NLMSG_DONE` begins with; 0 is none.
pub(super) fn error_of(body: &[u8]) -> Option<Errno> {
    match i32::read_from_prefix(body) {
        Ok((0, _)) | Err(_) => None,
        Ok((number, _)) => Some(Errno::from_raw(number.saturating_neg())),
    }
}

/// `None` for what is not a socket of a known family.
pub(super) fn parse_socket(body: &[u8], protocol: Protocol) -> Option<Socket> {
    let (message, attributes) = Message::read_from_prefix(body).ok()?;
    let family = Family::ALL
        .into_iter()
        .find(|family| family.number() == message.family)?;
    let id = message.id;
    let [low, high] = id.cookie;
    Some(Socket {
        family,
        protocol,
        source: SocketAddr::new(id.source.ip(family), id.source_port.get()),
        destination: SocketAddr::new(id.destination.ip(family), id.destination_port.get()),
        interface: id.interface,
        cookie: u64::from(high) << 32 | u64::from(low),
        state: message.state,
        inode: message.inode,
        cgroup_id: attribute(attributes, INET_DIAG_CGROUP_ID)
            .and_then(|value| Some(u64::read_from_prefix(value).ok()?.0)),
        uid: message.uid,
    })
}

fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let (header, _) = AttributeHeader::read_from_prefix(bytes).ok()?;
        let length = usize::from(header.length);
        let value = bytes.get(size_of::<AttributeHeader>()..length)?;
        if header.kind & NLA_TYPE_MASK == kind {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{INET_DIAG_CGROUP_ID, Protocol, attribute, parse_socket, split_message};

    #[test]
    fn what_is_cut_short_is_refused_and_never_read_past() {
        let mut message = vec![0; 20];
        message[0] = 20;
        assert!(split_message(&message).is_ok());
        for length in 0..20 {
            assert!(split_message(&message[..length]).is_err());
        }
        for claimed in [0, 15, 21] {
            message[0] = claimed;
            assert!(split_message(&message).is_err());
        }
        assert!(parse_socket(&[2; 71], Protocol::Tcp).is_none());
    }

    #[test]
    fn attributes_are_found_behind_padding_and_flags() {
        let attributes = [5, 0, 3, 0, 9, 0, 0, 0, 6, 0, 21, 0x80, 7, 8];
        let (odd, cgroup) = (attribute(&attributes, 3), attribute(&attributes, 21));
        assert_eq!((odd, cgroup), (Some(&[9][..]), Some(&[7, 8][..])));
        for broken in [&[0, 0, 0, 0][..], &[3, 0, 21, 0], &[8, 0, 21, 0, 1], &[4]] {
            assert_eq!(attribute(broken, INET_DIAG_CGROUP_ID), None);
        }
    }
}
