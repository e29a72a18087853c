//! Paths of Unix sockets as one number: what policies deny, and what the kernel programs ask.
//!
//! The kernel side walks from the socket's name up to the root and mixes in one name at a time, in
//! words, so that it needs neither a buffer for the path nor a loop over bytes. A path that somebody
//! makes to collide with a denied one is denied as well: that harms only its maker.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Words of one name, padded with zeros.
pub const NAME_WORDS: usize = 14;

/// Bytes of one name at most (`UNIX_PATH_MAX` of `include/uapi/linux/un.h` holds no longer one).
pub const NAME_BYTES: usize = NAME_WORDS * 8 - 1;

/// Names in a path at most.
pub const MAX_NAMES: usize = 16;

/// A socket that a policy denies. The value in the kernel's map is the rule's number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UnixKey {
    /// [`hash`] of its path.
    pub path: u64,
    /// The policy's index in `POLICIES`, the bank included.
    pub policy: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

/// The hash of no name.
pub const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// Mixes in the name before those that `hash` has: FNV-1a over words, which a shift makes depend on
/// all bits above.
#[must_use]
#[inline(always)]
pub const fn prepend(mut hash: u64, name: &[u64; NAME_WORDS]) -> u64 {
    let mut word = 0;
    while word < NAME_WORDS {
        hash = (hash ^ name[word]).wrapping_mul(0x100_0000_01b3);
        hash ^= hash >> 32;
        word += 1;
    }
    hash
}

/// The hash of an absolute path without `.`, `..` and repeated slashes. `None` if it has too many
/// names, or one that is too long.
#[must_use]
pub fn hash(path: &[u8]) -> Option<u64> {
    let names = || {
        path.split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
    };
    if names().count() > MAX_NAMES {
        return None;
    }
    // `rsplit` has the last name first, as the kernel side finds them.
    let mut names = path
        .rsplit(|&byte| byte == b'/')
        .filter(|name| !name.is_empty());
    names.try_fold(EMPTY, |hash, name| {
        let mut words = [0_u64; NAME_WORDS];
        if name.len() > NAME_BYTES {
            return None;
        }
        for (index, &byte) in name.iter().enumerate() {
            words[index / 8] |= u64::from(byte) << (index % 8 * 8);
        }
        Some(prepend(hash, &words))
    })
}

const _: () = assert!(size_of::<UnixKey>() == 16);
