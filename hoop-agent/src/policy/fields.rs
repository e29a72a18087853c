//! The small languages inside a policy file: CIDRs, ports, protocols, SPIFFE IDs, cgroup globs.
//!
//! Every function returns what is wrong as a message and the next step.

use std::net::{IpAddr, Ipv4Addr};

use globset::{GlobBuilder, GlobMatcher};
use hoop_common::unix_path::{self, MAX_NAMES, NAME_BYTES};
use ipnet::{IpNet, Ipv4Net};

use super::exec::UidRange;
use super::model::{ICMPV6, PortRange, TCP, UDP};

/// A message and the next step.
pub(super) type Wrong = (String, String);

fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err((message.into(), help.into()))
}

/// A network, or one address. v4-mapped IPv6 networks become IPv4 networks.
pub(super) fn cidr(text: &str) -> Result<IpNet, Wrong> {
    let example = "write an address and a prefix length, like 192.0.2.0/24 or 2001:db8::/32";
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong(format!("`{text}` is not a CIDR"), example);
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(prefix) => match prefix.parse::<u8>() {
            Ok(number) if number <= bits && !prefix.starts_with('+') => number,
            _ => {
                return wrong(
                    format!("`{text}` is not a CIDR: the prefix length is not 0 to {bits}"),
                    example,
                );
            }
        },
    };
    let net = match IpNet::new(address, prefix) {
        Ok(net) => net,
        Err(error) => return wrong(format!("`{text}` is not a CIDR: {error}"), example),
    };
    if net.trunc() != net {
        return wrong(
            format!("`{text}` is not a network: host bits are set"),
            format!(
                "did you mean {}? For the one address, write {address}",
                net.trunc()
            ),
        );
    }
    let net = canonical(net);
    if net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len() {
        let loopback = if net.addr().is_ipv4() {
            "127.0.0.1"
        } else {
            "::1"
        };
        return wrong(
            format!("`{text}` can never be a destination: the kernel takes it for this host"),
            format!("write {loopback}, or a whole network"),
        );
    }
    Ok(net)
}

fn canonical(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(net) if net.prefix_len() >= 96 => match net.addr().to_ipv4_mapped() {
            Some(address) => v4(address, net.prefix_len() - 96).unwrap_or(IpNet::V6(net)),
            None => IpNet::V6(net),
        },
        net => net,
    }
}

fn v4(address: Ipv4Addr, prefix: u8) -> Option<IpNet> {
    Ipv4Net::new(address, prefix).ok().map(IpNet::V4)
}

/// A port or a range of ports.
pub(super) fn ports(text: &str) -> Result<PortRange, Wrong> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| match text.trim().parse::<u16>() {
        Ok(number) if number > 0 && !text.starts_with('+') => Ok(number),
        _ => wrong(
            format!("`{}` is not a port", text.trim()),
            "write a number from 1 to 65535, or a range like \"8000-8999\"",
        ),
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return wrong(
            format!("the port range `{text}` is reversed"),
            format!("write \"{last}-{first}\""),
        );
    }
    Ok(PortRange { first, last })
}

/// A user id or a range of user ids.
pub(super) fn uids(text: &str) -> Result<UidRange, Wrong> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| match text.trim().parse::<u32>() {
        // 2^32 - 1 is no user: the kernel takes it for "do not change".
        Ok(number) if number < u32::MAX && !text.starts_with('+') => Ok(number),
        _ => wrong(
            format!("`{}` is not a user id", text.trim()),
            "write a number from 0 to 4294967294, or a range like \"1000-1999\"",
        ),
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return wrong(
            format!("the range of user ids `{text}` is reversed"),
            format!("write \"{last}-{first}\""),
        );
    }
    Ok(UidRange { first, last })
}

/// A protocol as the file states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatedProtocol {
    Any,
    Icmp,
    Number(u8),
}

/// A protocol: a word or an IANA number.
pub(super) fn protocol(text: &str) -> Result<StatedProtocol, Wrong> {
    Ok(match text {
        "any" => StatedProtocol::Any,
        "icmp" => StatedProtocol::Icmp,
        "icmpv6" => StatedProtocol::Number(ICMPV6),
        "tcp" => StatedProtocol::Number(TCP),
        "udp" => StatedProtocol::Number(UDP),
        _ => match text.parse::<u8>() {
            Ok(number) if !text.starts_with('+') => StatedProtocol::Number(number),
            _ => {
                return wrong(
                    format!("`{text}` is not a protocol"),
                    "write tcp, udp, icmp, icmpv6, any, or an IANA protocol number from 0 to 255",
                );
            }
        },
    })
}

/// The name of a policy or a rule.
pub(super) fn name(text: &str) -> Result<(), Wrong> {
    const MAX: usize = 253;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if text.is_empty() {
        wrong(
            "the name is empty",
            "give it a name of a-z, 0-9, `.`, `_` and `-`",
        )
    } else if let Some(c) = text.chars().find(|&c| !allowed(c)) {
        wrong(
            format!("the name `{}` contains {c:?}", text.escape_debug()),
            "use a-z, 0-9, `.`, `_` and `-` only",
        )
    } else if text.len() > MAX {
        wrong(
            format!("the name has {} characters, more than {MAX}", text.len()),
            "shorten it",
        )
    } else {
        Ok(())
    }
}

/// A SPIFFE ID with a path (SPIFFE-ID standard, sections 2.1 to 2.3).
pub(super) fn spiffe_id(text: &str) -> Result<(), Wrong> {
    const MAX: usize = 2048;
    const MAX_TRUST_DOMAIN: usize = 255;
    let refuse = |why: &str| {
        wrong(
            format!("`{}` is not a SPIFFE ID: {why}", text.escape_debug()),
            "write it like spiffe://example.org/agents/copilot",
        )
    };
    if text.len() > MAX {
        return wrong(
            format!("the SPIFFE ID has {} bytes, more than {MAX}", text.len()),
            "shorten it",
        );
    }
    let Some(rest) = text.strip_prefix("spiffe://") else {
        return refuse("it does not start with spiffe://");
    };
    let (trust_domain, path) = rest.split_once('/').unwrap_or((rest, ""));
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    if trust_domain.is_empty() {
        return refuse("the trust domain is empty");
    }
    if !trust_domain.chars().all(lower) {
        return refuse("the trust domain may have a-z, 0-9, `.`, `-` and `_` only");
    }
    if trust_domain.len() > MAX_TRUST_DOMAIN {
        return refuse("the trust domain is longer than 255 bytes");
    }
    if path.is_empty() {
        return refuse("the path is empty");
    }
    for segment in path.split('/') {
        match segment {
            "" => return refuse("a path segment is empty, or the path ends with `/`"),
            "." | ".." => return refuse("a path segment is `.` or `..`"),
            _ if segment.chars().all(|c| lower(c) || c.is_ascii_uppercase()) => {}
            _ => return refuse("the path may have letters, digits, `.`, `-` and `_` only"),
        }
    }
    Ok(())
}

/// A glob over cgroup paths.
pub(super) fn cgroup_glob(text: &str) -> Result<GlobMatcher, Wrong> {
    let shown = text.escape_debug();
    if !text.starts_with('/') {
        return wrong(
            format!("the cgroup `{shown}` does not start with `/`"),
            "write the path relative to the cgroup v2 mount, like /hoop/copilot-*",
        );
    }
    // Before the look at components: `/` alone has an empty one.
    let root = || {
        wrong(
            format!("the cgroup `{shown}` would tag the root cgroup"),
            "name a cgroup below it, like /hoop/copilot-*; the root cgroup is every process",
        )
    };
    if text.chars().all(|c| "/*".contains(c)) {
        return root();
    }
    for component in text[1..].split('/') {
        let help = "write the path of the cgroup itself, as /proc/PID/cgroup shows it after `0::`";
        match component {
            "" => return wrong(format!("the cgroup `{shown}` has an empty component"), help),
            "." | ".." => {
                return wrong(
                    format!("the cgroup `{shown}` has the component `{component}`"),
                    help,
                );
            }
            _ => {}
        }
    }
    let glob = GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build();
    let matcher = match glob {
        Ok(glob) => glob.compile_matcher(),
        Err(error) => {
            return wrong(
                format!("the cgroup `{shown}` is not a glob: {}", error.kind()),
                "`*` and `?` match within a component, `**` across, `[a-z]` and `{a,b}` alternatives; \
                 escape with `\\`",
            );
        }
    };
    if matcher.is_match("/") || matcher.is_match("") {
        return root();
    }
    Ok(matcher)
}

/// A line for people: a reason, or on whose behalf.
pub(super) fn line(text: &str) -> Result<(), Wrong> {
    if text.trim().is_empty() {
        wrong("the text is empty", "write it out, or remove the key")
    } else if text.chars().any(char::is_control) {
        // It would be printed to terminals.
        wrong(
            "the text contains control characters",
            "write it on one line, without them",
        )
    } else {
        Ok(())
    }
}
/// The path of a Unix socket.
pub(super) fn socket_path(text: &str) -> Result<(), Wrong> {
    let example = "write a whole path, like /run/docker.sock";
    let shown = text.escape_debug();
    if !text.starts_with('/') {
        return wrong(format!("`{shown}` is not an absolute path"), example);
    }
    let mut names = text.split('/').skip(1);
    if names.any(|name| matches!(name, "" | "." | "..")) {
        return wrong(format!("`{shown}` has an empty, `.` or `..` part"), example);
    }
    if text.contains(['*', '?', '[', '{']) {
        return wrong(format!("`{shown}` is a pattern"), example);
    }
    if unix_path::hash(text.as_bytes()).is_none() {
        let help = "name a shorter path";
        return wrong(
            format!(
                "`{shown}` has more than {MAX_NAMES} parts, or one of more than {NAME_BYTES} bytes"
            ),
            help,
        );
    }
    Ok(())
}
