//! What a policy promises that not every kernel can keep.

use std::fmt;

use hoop_common::policy::{Mode, SocketKind};

use super::model::{Policy, socket_name};
use crate::diagnostic::Position;

/// Something that a policy says will not happen, or will be seen, and that takes a hook which not every kernel has.
/// Which hooks keep it is in `agent/promises.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// Sockets of other families than IPv4 and IPv6 do not open, or their process ends.
    SocketFamilies,
    /// Unix sockets are denied by their path.
    UnixPaths,
    /// Plaintext is read at TLS libraries.
    Plaintext,
}

impl Promise {
    /// Every promise.
    pub const ALL: [Self; 3] = [Self::SocketFamilies, Self::UnixPaths, Self::Plaintext];
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SocketFamilies => "stop sockets of other families than IPv4 and IPv6",
            Self::UnixPaths => "deny Unix sockets by path",
            Self::Plaintext => "read plaintext at TLS libraries",
        })
    }
}

/// A promise of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is promised.
    pub promise: Promise,
    /// The key or rule that promises it, and what it says.
    pub stated: String,
    /// Where that stands in the policy's file.
    pub position: Position,
}

/// What a policy needs. `observe` and `shadow` promise to stop nothing.
#[must_use]
pub fn needs(policy: &Policy) -> Vec<Need> {
    let mut needs = Vec::new();
    if policy.mode == Mode::Enforce {
        needs.extend(socket_families(policy));
        needs.extend(unix_paths(policy));
    }
    needs.extend(plaintext(policy));
    needs
}

fn socket_families(policy: &Policy) -> Option<Need> {
    let denied: Vec<&str> = SocketKind::ALL
        .into_iter()
        .filter(|kind| kind.is_of_other_family() && policy.sockets & kind.bit() == 0)
        .map(socket_name)
        .collect();
    (!denied.is_empty()).then(|| Need {
        promise: Promise::SocketFamilies,
        stated: format!("`sockets.allow` leaves out {}", denied.join(", ")),
        position: policy.sockets_stated.unwrap_or(policy.position),
    })
}

fn unix_paths(policy: &Policy) -> Option<Need> {
    let first = policy.unix_deny.first()?;
    Some(Need {
        promise: Promise::UnixPaths,
        stated: "`sockets.unix.deny` names paths".to_owned(),
        position: first.position,
    })
}

fn plaintext(policy: &Policy) -> Option<Need> {
    let capture = policy.capture?;
    Some(Need {
        promise: Promise::Plaintext,
        stated: "`capture.tls` is true".to_owned(),
        position: capture.position,
    })
}
