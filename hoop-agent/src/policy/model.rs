//! Policies as the rest of the agent sees them: validated, nothing left to check.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use globset::GlobMatcher;
use hoop_common::policy::{Mode, SocketKind};
use ipnet::IpNet;

use super::exec::Exec;
use crate::diagnostic::Position;

/// The rule that answers when no rule of the file matches.
pub const DEFAULT_RULE: &str = "default";
/// The rule that answers for everything in `observe` mode.
pub const OBSERVE_RULE: &str = "observe";
/// The rule that answers for kinds of socket.
pub const SOCKETS_RULE: &str = "builtin/sockets";
/// The rule that answers for Unix sockets that are denied by path.
pub const UNIX_RULE: &str = "builtin/unix";
/// The rule that answers for packets that hide their destination.
pub const OPAQUE_RULE: &str = "builtin/opaque";
/// The rule that answers for processes that leave their workload.
pub const ESCAPE_RULE: &str = "builtin/escape";
/// The rule that answers for processes that reach into another outside their workload.
pub const PTRACE_RULE: &str = "builtin/ptrace";
/// The rule that answers for calls of `bpf`.
pub const BPF_RULE: &str = "builtin/bpf";
/// The rule that answers for what would take Hoop apart in another way.
pub const TAMPER_RULE: &str = "builtin/tamper";

/// Why [`DEFAULT_RULE`] denies.
pub const DEFAULT_BECAUSE: &str = "no rule allows it";
/// Why [`SOCKETS_RULE`] denies.
pub const SOCKETS_BECAUSE: &str = "not in sockets.allow";
/// Why [`OPAQUE_RULE`] denies.
pub const OPAQUE_BECAUSE: &str = "hides its destination";
/// Why [`ESCAPE_RULE`] denies.
pub const ESCAPE_BECAUSE: &str = "left its workload";
/// Why [`PTRACE_RULE`] denies.
pub const PTRACE_BECAUSE: &str = "reaches into a process outside its workload";
/// Why [`BPF_RULE`] denies.
pub const BPF_BECAUSE: &str = "could change what Hoop enforces";
/// Why [`TAMPER_RULE`] denies.
pub const TAMPER_BECAUSE: &str = "would take Hoop apart";

/// IANA protocol numbers that the policy language has words for.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// What an identity may do.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `metadata.name`: unique among the policies of an epoch.
    pub name: String,
    /// The SPIFFE ID of its workloads.
    pub identity: String,
    /// The human or service that the workloads act for.
    pub on_behalf_of: Option<String>,
    /// Which cgroups it tags. Empty when cgroups are only tagged by hand.
    pub cgroups: Vec<CgroupPattern>,
    /// How it acts.
    pub mode: Mode,
    /// Where its workloads may send packets.
    pub egress: Egress,
    /// Which commands its workloads may run.
    pub exec: Exec,
    /// Bit set of [`SocketKind::bit`]: which kinds of socket its workloads may open.
    pub sockets: u32,
    /// Where the file states `sockets`; if it does not, [`DEFAULT_SOCKETS`] holds.
    pub sockets_stated: Option<Position>,
    /// Unix sockets that its workloads may not turn to.
    pub unix_deny: Vec<UnixPath>,
    /// What is taken of the plaintext of its workloads' TLS connections. `None`: nothing is.
    pub capture: Option<Capture>,
    /// What is masked in it, and how.
    pub masking: hoop_mask::Config,
    /// What is not applied of the files that it names, or otherwise than they mean it.
    pub notes: Vec<String>,
    /// Whether it may be installed on a kernel that cannot enforce all of it.
    pub allow_degraded: bool,
    /// The file it was read from.
    pub file: PathBuf,
    /// Where its name stands in that file.
    pub position: Position,
}

impl Policy {
    /// Whether the policy tags the cgroup with this path, relative to the cgroup v2 mount and
    /// starting with `/`. The root cgroup is never tagged.
    #[must_use]
    pub fn matches_cgroup(&self, path: &str) -> bool {
        self.cgroups.iter().any(|cgroup| cgroup.matches(path))
    }

    /// The rules in the order in which they are asked: deny before allow, then as written.
    pub fn rules_by_precedence(&self) -> impl Iterator<Item = &Rule> {
        let of = |action| {
            self.egress
                .rules
                .iter()
                .filter(move |rule| rule.action == action)
        };
        of(Action::Deny).chain(of(Action::Allow))
    }
}

/// What is taken of the plaintext of TLS connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Whether JSON-RPC that is written to pipes and Unix sockets is taken too. While a policy asks for it, a
    /// program runs at every system call of the node.
    pub stdio: bool,
    /// Most bytes that are taken of one call of a TLS library, 1 to
    /// [`MAX_CALL_BYTES`](hoop_common::limits::MAX_CALL_BYTES). What is longer is flagged.
    pub max_bytes_per_call: u32,
    /// Most bytes that a record holds of one body, masked. What is longer is flagged.
    pub max_body_bytes: u32,
    /// Where `capture` stands in the policy's file.
    pub position: Position,
}

impl Capture {
    /// [`Capture::max_bytes_per_call`] of a policy that does not say it.
    pub const DEFAULT_BYTES_PER_CALL: u32 = 1 << 20;
    /// [`Capture::max_body_bytes`] of a policy that does not say it.
    pub const DEFAULT_BODY_BYTES: u32 = 256 << 10;
    /// The largest [`Capture::max_body_bytes`].
    pub const LARGEST_BODY_BYTES: u32 = 16 << 20;
}

/// A Unix socket that a policy denies by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPath {
    /// The path as written: absolute, without `.`, `..` and repeated slashes.
    pub text: String,
    /// The same without symbolic links in its directory, if those led elsewhere when the file was
    /// read: the kernel knows a socket by that path only.
    pub resolved: Option<String>,
    /// Where it stands in the policy's file.
    pub position: Position,
}

/// A glob over cgroup paths.
#[derive(Clone, Debug)]
pub struct CgroupPattern {
    /// The glob as written.
    pub text: String,
    /// The glob compiled: `*` and `?` stay within one path component, `**` does not.
    pub matcher: GlobMatcher,
    /// Where it stands in the policy's file.
    pub position: Position,
}

impl CgroupPattern {
    /// Whether the pattern matches this path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        path.len() > 1 && self.matcher.is_match(path)
    }

    /// The deepest directory that every match lies below, for a watcher to begin at: `/hoop` for
    /// `/hoop/copilot-*`, `/` for `/copilot`.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        let literal = self
            .text
            .find(['*', '?', '[', '{', '\\'])
            .unwrap_or(self.text.len());
        match self.text[..literal].rfind('/') {
            None | Some(0) => "/",
            Some(end) => &self.text[..end],
        }
    }
}

/// Where workloads may send packets.
///
/// A policy file that leaves `egress` out denies every destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// What happens to destinations that no rule matches.
    pub default: Action,
    /// The rules, in file order.
    pub rules: Vec<Rule>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Lets it happen.
    Allow,
    /// Does not.
    Deny,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// One rule: every destination whose address, protocol and port all match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique within the policy.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Why. Never empty in a deny rule; may be empty in an allow rule.
    pub because: String,
    /// The addresses, v4-mapped ones as IPv4. `None` matches every address. An IPv6 network never
    /// matches an IPv4 address, even where it would contain its v4-mapped form.
    pub cidrs: Option<Vec<IpNet>>,
    /// The ports. Empty matches every port, and protocols that have none.
    pub ports: Vec<PortRange>,
    /// The protocols.
    pub protocol: Protocol,
    /// Where its name stands in the policy's file.
    pub position: Position,
}

/// Ports from `first` to `last`, both included, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port, at least `first`.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// Which protocols a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP and UDP: an allow rule that names none, and every rule that has ports but names none
    /// (or `any`), because ports exist only there.
    Transport,
    /// Every protocol: `any` without ports, and a deny rule that names neither protocol nor port.
    Any,
    /// ICMP towards IPv4 addresses, `ICMPv6` towards IPv6 addresses.
    Icmp,
    /// One protocol, by its IANA number.
    Number(u8),
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Transport => f.write_str("tcp, udp"),
            Self::Any => f.write_str("any"),
            Self::Icmp => f.write_str("icmp"),
            Self::Number(number) => f.write_str(&protocol_name(number)),
        }
    }
}

/// Kinds of socket that a policy allows when it does not state `sockets`: TCP, UDP and Unix. The
/// netlink that ordinary programs need is always allowed
/// ([`SocketKind::is_common_netlink`]).
pub const DEFAULT_SOCKETS: u32 =
    SocketKind::Tcp.bit() | SocketKind::Udp.bit() | SocketKind::Unix.bit();

/// Every kind of socket, as a bit set.
pub const ALL_SOCKETS: u32 = (1 << SocketKind::ALL.len()) - 1;

/// The word for a kind of socket in `sockets.allow`.
#[must_use]
pub fn socket_name(kind: SocketKind) -> &'static str {
    match kind {
        SocketKind::Tcp => "tcp",
        SocketKind::Udp => "udp",
        SocketKind::Unix => "unix",
        SocketKind::Icmp => "icmp",
        SocketKind::Raw => "raw",
        SocketKind::OtherInet => "other-inet",
        SocketKind::Netlink => "netlink",
        SocketKind::Packet => "packet",
        SocketKind::Vsock => "vsock",
        SocketKind::Alg => "alg",
        SocketKind::Other => "other",
    }
}

/// The word for a mode in `spec.mode`.
#[must_use]
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Shadow => "shadow",
        Mode::Enforce => "enforce",
    }
}

/// The word for what becomes of a secret, in `masking.actions`.
#[must_use]
pub fn masking_action_name(action: hoop_mask::Action) -> &'static str {
    match action {
        hoop_mask::Action::Placeholder => "placeholder",
        hoop_mask::Action::Full => "full",
        hoop_mask::Action::KeepLast4 => "keep-last-4",
        hoop_mask::Action::Drop => "drop",
        hoop_mask::Action::Allow => "allow",
    }
}

/// The word for a protocol, or its number where the policy language has no word.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    match number {
        ICMP => "icmp".to_owned(),
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        ICMPV6 => "icmpv6".to_owned(),
        _ => number.to_string(),
    }
}

/// Whether the policy language knows ports of this protocol.
#[must_use]
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP)
}

/// The address that a destination is judged by: a v4-mapped IPv6 address is the IPv4 address, and
/// the unspecified addresses are loopback, because the kernel delivers them to this host
/// (`ip_route_output_key_hash_rcu`, `tcp_v6_connect`).
#[must_use]
pub fn judged_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}
