//! What a prober can be told to do, and what it answers. One JSON value per line each way.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One thing to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Get `text` to `to` by `route`, on a socket that is closed afterwards.
    Reach {
        /// The way.
        route: Route,
        /// Where to.
        to: SocketAddr,
        /// What to say.
        text: String,
    },
    /// One `sendmmsg` with a datagram to each destination.
    SendMany {
        /// Where to; all of one family.
        to: Vec<SocketAddr>,
        /// What to say to each.
        text: String,
    },
    /// A packet to `outer` that carries a UDP datagram to `inner`, on a raw socket.
    Tunnel {
        /// IPIP, IPV6 or GRE.
        protocol: u8,
        /// Where the packet goes.
        outer: IpAddr,
        /// Where its load goes.
        inner: SocketAddr,
        /// What to say.
        text: String,
    },
    /// A UDP datagram to `to` with a loose source route by way of `via`, which is where the kernel
    /// then sends it.
    SourceRoute {
        /// The first hop.
        via: IpAddr,
        /// Where to.
        to: SocketAddr,
        /// What to say.
        text: String,
    },
    /// `socket(family, kind, protocol)`; closed again.
    Socket {
        /// `AF_*`
        family: i32,
        /// `SOCK_*`
        kind: i32,
        /// Protocol.
        protocol: i32,
    },
    /// The same by a request to `io_uring`.
    SocketByRing {
        /// `AF_*`
        family: i32,
        /// `SOCK_*`
        kind: i32,
        /// Protocol.
        protocol: i32,
    },
    /// Make a socket without using it. Answers with its descriptor.
    Open {
        /// Of which kind.
        stream: Stream,
        /// For IPv6.
        v6: bool,
    },
    /// Connect a socket, and wait until that is done.
    Connect {
        /// The socket.
        fd: i32,
        /// Where to.
        to: SocketAddr,
    },
    /// Send on a connected socket.
    Send {
        /// The socket.
        fd: i32,
        /// What to say.
        text: String,
    },
    /// Send a datagram on an unconnected socket.
    SendTo {
        /// The socket.
        fd: i32,
        /// Where to.
        to: SocketAddr,
        /// What to say.
        text: String,
    },
    /// Wait until there is something to read, or the end. Answers with it.
    Receive {
        /// The socket.
        fd: i32,
    },
    /// Take a socket that the listener at `path` passes. Answers with its descriptor.
    TakeSocket {
        /// A Unix socket.
        path: PathBuf,
    },
    /// Copy a descriptor out of another process (`pidfd_getfd`). Answers with the copy.
    TakeDescriptor {
        /// The process.
        pid: u32,
        /// Its descriptor.
        fd: i32,
    },
    /// Connect to the stream socket at `path`.
    ConnectUnix {
        /// A Unix socket.
        path: PathBuf,
    },
    /// Send a datagram to the socket at `path`.
    SendUnix {
        /// A Unix socket.
        path: PathBuf,
    },
    /// Fork, take the steps, do it, answer what came of it.
    After {
        /// Taken in order.
        steps: Vec<Step>,
        /// Done last.
        act: Box<Act>,
    },
    /// Run a program to its end. Answers with its wait status and pid.
    Run {
        /// The program.
        program: PathBuf,
        /// All of its arguments, the zeroth included.
        argv: Vec<Vec<u8>>,
        /// Its working directory.
        directory: Option<PathBuf>,
        /// Its real and effective user and group.
        user: Option<u32>,
    },
    /// Run a copy of a program from memory (`memfd_create`, `execveat`). Answers as `Run` does.
    RunFromMemory {
        /// The program.
        program: PathBuf,
        /// All of its arguments, the zeroth included.
        argv: Vec<Vec<u8>>,
    },
    /// Run a program from another's place, over which it is mounted in a mount namespace of its own.
    /// Answers as `Run` does.
    RunMounted {
        /// The program.
        program: PathBuf,
        /// The place.
        over: PathBuf,
        /// All of its arguments, the zeroth included.
        argv: Vec<Vec<u8>>,
        /// Whether in a user namespace of its own, as anybody may.
        user_namespace: bool,
    },
    /// Run a program over and over, while another thread writes one of two texts of equal length
    /// over its last argument. Answers with how often it ended well.
    RunRacing {
        /// The program.
        program: PathBuf,
        /// All of its arguments but the last.
        argv: Vec<Vec<u8>>,
        /// The two texts.
        texts: [Vec<u8>; 2],
        /// How often.
        times: u32,
    },
    /// Create processes that end at once, one after another. Answers with how many.
    Spawn {
        /// How many.
        count: u32,
    },
    /// Connect UDP sockets over and over, from several processes at once. Answers with how many
    /// connects did what they should: succeed, or fail with EPERM.
    Flood {
        /// Where to.
        to: SocketAddr,
        /// How many processes.
        processes: u32,
        /// How many connects in each.
        each: u32,
    },
    /// Do the same over and over until there is a file `until`. Answers with how often; the text has
    /// a line for each outcome, `ok VALUE` or the name of the error, and how often that came of it.
    Repeat {
        /// What to do.
        act: Box<Act>,
        /// How often a second, as far as that goes.
        per_second: u32,
        /// What ends it.
        until: PathBuf,
    },
    /// Aim at each destination, on a socket of its own. Answers with the errno of each attempt, or
    /// 0, separated by spaces.
    Aim {
        /// IANA protocol numbers and addresses.
        at: Vec<(u8, SocketAddr)>,
    },
    /// Run a program over and over, from several processes at once, each time with the pid of the
    /// process that starts it as its only argument. Answers with how many times.
    Execs {
        /// The program.
        program: PathBuf,
        /// How many processes.
        processes: u32,
        /// How many times in each.
        each: u32,
    },
    /// Write to a file that is there.
    Write {
        /// The file.
        path: PathBuf,
        /// What to write.
        text: String,
    },
    /// Reach into another process, or into what keeps the daemon's programs attached.
    Tamper(Tamper),
    /// Make the file `sign`, wait to be moved to another cgroup, then send datagrams on new sockets,
    /// again and again. There is no answer.
    Flee {
        /// Made when the waiting begins.
        sign: PathBuf,
        /// Where to.
        to: SocketAddr,
        /// What to say.
        text: String,
    },
    /// End, without an answer.
    Exit {
        /// The exit code.
        code: i32,
    },
}

/// Ways to reach into another process, or into what keeps the daemon's programs attached.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tamper {
    /// `PTRACE_SEIZE`
    Seize {
        /// The process.
        pid: u32,
    },
    /// Open a file to read it.
    Open {
        /// The file.
        path: PathBuf,
    },
    /// `kill`
    Signal {
        /// The process.
        pid: u32,
        /// The signal, or 0.
        signal: i32,
    },
    /// `BPF_OBJ_GET`. Answers with a descriptor.
    GetPin {
        /// The pin.
        path: PathBuf,
    },
    /// `unlink`
    Remove {
        /// The file.
        path: PathBuf,
    },
    /// `rmdir`
    RemoveDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// `rename`
    Rename {
        /// What.
        from: PathBuf,
        /// Where to.
        to: PathBuf,
    },
    /// `umount2` with `MNT_DETACH`
    Unmount {
        /// Where it is mounted.
        path: PathBuf,
    },
}

/// Ways to get a message to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `connect`, `send`
    TcpConnect,
    /// The same to `::ffff:a.b.c.d`.
    TcpMapped,
    /// `bind` to a source address, `connect`, `send`.
    TcpBound,
    /// `sendto` with `MSG_FASTOPEN`.
    TcpFastOpen,
    /// `TCP_FASTOPEN_CONNECT`, `connect`, `send`.
    TcpFastOpenConnect,
    /// Multipath TCP.
    Mptcp,
    /// `IORING_OP_CONNECT`
    TcpRing,
    /// `connect`, `send`
    UdpConnect,
    /// `sendto`
    UdpSendto,
    /// `sendto` to `::ffff:a.b.c.d`.
    UdpMapped,
    /// `sendmsg` with the address in the header.
    UdpSendmsg,
    /// `sendmmsg`
    UdpSendmmsg,
    /// `IORING_OP_SENDMSG`
    UdpRing,
    /// An ICMP echo request on a datagram socket.
    Ping,
    /// An ICMP echo request on a raw socket.
    RawPing,
    /// A UDP datagram on a raw socket; the kernel makes the IP header.
    RawUdp,
    /// A UDP datagram with an IP header by hand, and another's source address in it.
    RawForged,
    /// A UDP datagram cut into two fragments by hand.
    RawFragments,
    /// A frame on a packet socket.
    Frame,
}

impl Route {
    /// Routes over TCP, by what the destination sees.
    pub const TCP: &[Self] = &[
        Self::TcpConnect,
        Self::TcpMapped,
        Self::TcpBound,
        Self::TcpFastOpen,
        Self::TcpFastOpenConnect,
        Self::Mptcp,
        Self::TcpRing,
    ];

    /// Routes over UDP whose socket knows the destination.
    pub const UDP: &[Self] = &[
        Self::UdpConnect,
        Self::UdpSendto,
        Self::UdpMapped,
        Self::UdpSendmsg,
        Self::UdpSendmmsg,
        Self::UdpRing,
    ];

    /// Routes over UDP on raw sockets.
    pub const RAW: &[Self] = &[Self::RawUdp, Self::RawForged];

    /// Routes over ICMP.
    pub const ICMP: &[Self] = &[Self::Ping, Self::RawPing];

    /// Whether the route leads to addresses of this family.
    #[must_use]
    pub const fn leads_to(self, address: IpAddr) -> bool {
        match self {
            Self::TcpMapped | Self::UdpMapped | Self::RawFragments => address.is_ipv4(),
            _ => true,
        }
    }
}

/// Kinds of socket to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Steps on the way to an act.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Fork again and let the parent end: the child belongs to init.
    Orphan,
    /// `setsid`
    Setsid,
    /// `unshare(CLONE_NEWUSER)`
    NewUser,
    /// `unshare(CLONE_NEWNET)`, with its loopback up.
    NewNetwork,
    /// `setns` to the network namespace at this path.
    EnterNetwork(PathBuf),
    /// Move to another cgroup, which is made if it is not there.
    MoveTo(PathBuf),
    /// Move a thread of its own to another threaded cgroup.
    MoveThreadTo(PathBuf),
    /// Go on as a child that `clone3` starts in another cgroup.
    BornIn(PathBuf),
    /// `unshare(CLONE_NEWCGROUP)`
    NewCgroup,
    /// Exec the prober again; descriptors are inherited. The rest is up to the new program.
    Exec,
    /// Become another user and group, without capabilities.
    Become(u32),
}

/// What came of an act.
pub type Outcome = Result<Done, Failure>;

/// What an act brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// A descriptor, a count, or a wait status.
    pub value: i64,
    /// The process that acted.
    pub pid: u32,
    /// What was received.
    pub text: String,
}

/// The system call that failed, and how.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Name of the call.
    pub call: String,
    /// The error number.
    pub errno: i32,
}

impl Failure {
    /// The failure of `call` with `errno`.
    #[must_use]
    pub fn new(call: &str, errno: i32) -> Self {
        Self {
            call: call.to_owned(),
            errno,
        }
    }

    /// Whether the call was not permitted: EPERM, as the policy's verdicts come out.
    #[must_use]
    pub const fn is_denial(&self) -> bool {
        self.errno == libc::EPERM
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.call,
            nix::errno::Errno::from_raw(self.errno)
        )
    }
}
