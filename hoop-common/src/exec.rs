//! Compiled exec rules: which of them a command meets, and what follows.
//!
//! Every rule of a policy has one bit, lower bits before higher ones in order of precedence. What
//! a command is found to have comes as bit sets ([`crate::matcher`]), so judging it is a handful
//! of operations on 64-bit words, whatever the number of rules.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::matcher::Dfa;
use crate::policy::{Cell, Key, Ruling, Segment, floor};

/// The exec rules of one policy of one epoch. All zero, as an unused entry is, denies everything.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ExecEntry {
    /// Finds the rules whose `path` matches the program's resolved path.
    pub paths: Dfa,
    /// Finds the rules whose `parent` matches the resolved path of the parent's program.
    pub parents: Dfa,
    /// Finds the rules whose `args` match the command line: the arguments as they lie in memory,
    /// without the last NUL.
    pub args: Dfa,
    /// The rules that have a `path`.
    pub needs_path: u64,
    /// The rules that have a `parent`.
    pub needs_parent: u64,
    /// The rules that have `args`.
    pub needs_args: u64,
    /// The rules that have a `uid`.
    pub needs_uid: u64,
    /// The rules that deny.
    pub deny: u64,
    /// The rules that allow.
    pub allow: u64,
    /// First cell, in the table of [`Cell`]s, of the segment from real user id to the set of rules
    /// whose `uid` has it.
    pub uids_start: u32,
    /// Length of that segment, 0 if no rule has a `uid`.
    pub uids_len: u32,
    /// In the matcher's table, the cell with the rule number of bit 0; the others follow.
    pub rules: u32,
    /// Rule number reported when no rule decides.
    pub default_rule: u32,
    /// Whether what no rule decides is allowed, as 0 or 1.
    pub default_allow: u32,
    /// Rule number reported when a deny rule may match and the command cannot be read in full.
    pub unreadable_rule: u32,
    /// Rule number reported when an allow rule matches only a path that the workload may have
    /// made up, see [`Found::trusted`].
    pub mounts_rule: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

/// The bits that were found in some text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The bits.
    pub rules: u64,
    /// Whether the text could be read to its end; if not, other bits might have been found.
    pub complete: bool,
    /// Whether the text is what the administrator would call it. A path is not if it goes through a
    /// mount that a user namespace made: there anyone can put any file at any path. Then it may
    /// still deny, and allows nothing.
    pub trusted: bool,
}

impl Found {
    /// Nothing could be read.
    pub const UNREADABLE: Self = Self {
        rules: 0,
        complete: false,
        trusted: true,
    };

    /// The text was read to its end.
    #[must_use]
    #[inline(always)]
    pub const fn complete(rules: u64) -> Self {
        Self {
            rules,
            complete: true,
            trusted: true,
        }
    }

    /// The bits that might have been found.
    #[inline(always)]
    const fn possible(self) -> u64 {
        if self.complete { self.rules } else { u64::MAX }
    }
}

/// What is known of a command when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What [`ExecEntry::paths`] found in the program's path.
    pub path: Found,
    /// What [`ExecEntry::parents`] found in the path of the parent's program.
    pub parent: Found,
    /// The real user id.
    pub uid: u32,
}

/// The rules all of whose conditions but `args` are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    certain: u64,
    /// Met as far as can be read.
    possible: u64,
    /// Not to be trusted, as far as they allow.
    untrusted: u64,
}

impl Met {
    /// Looks at everything but the arguments.
    ///
    /// `cell` reads the table of cells. `None` means that it is not what it should be; callers
    /// fail closed.
    #[inline(always)]
    pub fn of<'a>(
        entry: &ExecEntry,
        facts: &Facts,
        cell: impl Fn(u32) -> Option<&'a Cell>,
    ) -> Option<Self> {
        let uid = if entry.uids_len == 0 {
            u64::MAX
        } else {
            let segment = Segment {
                start: entry.uids_start,
                len: entry.uids_len,
            };
            let key = Key {
                hi: 0,
                lo: u64::from(facts.uid),
            };
            floor(segment, key, cell)? | !entry.needs_uid
        };
        let (path, parent) = (facts.path, facts.parent);
        let untrusted = |found: Found, needed: u64| if found.trusted { 0 } else { needed };
        Some(Self {
            untrusted: untrusted(path, entry.needs_path) | untrusted(parent, entry.needs_parent),
            certain: uid & (path.rules | !entry.needs_path) & (parent.rules | !entry.needs_parent),
            possible: uid
                & (path.possible() | !entry.needs_path)
                & (parent.possible() | !entry.needs_parent),
        })
    }

    /// Judges the command.
    ///
    /// `deny` beats `allow` beats the default. Where a deny rule would match if only all of the
    /// command could be read, it is denied too, by [`ExecEntry::unreadable_rule`].
    ///
    /// `number` reads the matcher's table. `None` as for [`Met::of`].
    #[inline(always)]
    pub fn judge(
        self,
        entry: &ExecEntry,
        args: Found,
        number: impl Fn(u32) -> Option<u32>,
    ) -> Option<Ruling> {
        let certain = self.certain & (args.rules | !entry.needs_args);
        let possible = self.possible & (args.possible() | !entry.needs_args);
        if certain & entry.deny != 0 {
            return rule(entry, certain & entry.deny, false, number);
        }
        if possible & entry.deny != 0 {
            return Some(Ruling {
                rule: entry.unreadable_rule,
                allow: false,
            });
        }
        if certain & entry.allow & !self.untrusted != 0 {
            return rule(entry, certain & entry.allow & !self.untrusted, true, number);
        }
        if certain & entry.allow != 0 && entry.default_allow != 1 {
            return Some(Ruling {
                rule: entry.mounts_rule,
                allow: false,
            });
        }
        Some(default(entry))
    }

    /// Whether the arguments can change what [`Met::judge`] says; if not, they need not be read,
    /// and the command can be judged before they are in place.
    ///
    /// Rules without `args` have lower bits than those with, so a rule that needs none is named
    /// before any that does.
    #[must_use]
    #[inline(always)]
    pub const fn needs_args(self, entry: &ExecEntry) -> bool {
        let certain = self.certain & !entry.needs_args;
        if certain & entry.deny != 0 {
            return false;
        }
        if self.possible & entry.deny != 0 {
            // By arguments a rule is named, and without them it could not be.
            return self.possible & entry.deny & entry.needs_args != 0;
        }
        certain & entry.allow & !self.untrusted == 0 && self.certain & entry.allow != 0
    }
}

#[inline(always)]
fn rule(
    entry: &ExecEntry,
    rules: u64,
    allow: bool,
    number: impl Fn(u32) -> Option<u32>,
) -> Option<Ruling> {
    let rule = number(entry.rules.wrapping_add(lowest_bit(rules)))?;
    Some(Ruling { rule, allow })
}

#[inline(always)]
const fn default(entry: &ExecEntry) -> Ruling {
    Ruling {
        rule: entry.default_rule,
        allow: entry.default_allow == 1,
    }
}

/// Number of the lowest bit, 0 to 63. Not `trailing_zeros`, for which LLVM has no BPF instruction
/// and makes a table look-up.
#[inline(always)]
const fn lowest_bit(mut bits: u64) -> u32 {
    let mut number = 0;
    let mut half = 32;
    while half > 0 {
        if bits & ((1 << half) - 1) == 0 {
            bits >>= half;
            number += half;
        }
        half /= 2;
    }
    // At most 63, and a bound that the verifier sees.
    number & 63
}

const _: () = {
    assert!(size_of::<ExecEntry>() == 128);
    assert!(lowest_bit(1) == 0);
    assert!(lowest_bit(0b1010_0000) == 5);
    assert!(lowest_bit(1 << 63) == 63);
    assert!(lowest_bit(u64::MAX << 31) == 31);
};
