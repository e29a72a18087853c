//! Fuzzing what reads the kernel's own tables and messages.

use super::btf::Btf;
use super::offsets;
use super::sock_diag::{self, Protocol};

/// A kernel's type information.
///
/// Holds: no panic, and an end, whatever refers to whatever.
pub fn btf(data: &[u8]) {
    let Some(btf) = Btf::parse(data.to_vec()) else {
        return;
    };
    for name in ["inner", "outer", "task_struct"] {
        let _ = btf.size_of(name);
        for member in ["x", "y", "z.b", "z.b.c", ""] {
            let _ = btf.offset_of(name, member);
        }
    }
    let _ = offsets::find(&btf);
}

/// What a netlink socket brings in one read.
///
/// Holds: no panic; every message takes the reader forward, or is refused.
pub fn netlink(data: &[u8]) {
    let mut rest = data;
    while !rest.is_empty() {
        let Ok((_, body, after)) = sock_diag::split_message(rest) else {
            return;
        };
        assert!(after.len() < rest.len());
        let _ = sock_diag::error_of(body);
        for protocol in Protocol::ALL {
            let _ = sock_diag::parse_socket(body, protocol);
        }
        rest = after;
    }
}
