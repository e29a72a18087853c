//! The matcher: dense automata in one flat table, walked byte by byte on both sides of the kernel
//! boundary.
//!
//! An automaton is 256 class cells, one for every byte value, and then one row per state:
//!
//! | cells | what |
//! | --- | --- |
//! | 2 | bit set that is found on arrival, low half first |
//! | 2 | bit set that is found if the input ends here |
//! | 1 per class | the next state, with [`FOUND`] if its first bit set is not empty |
//!
//! A state *is* the index of its row, and a class the offset of its column from there: a step is
//! two reads and one addition, and only one read depends on the byte before. The whole of a walk
//! between two bytes is a [`Walk`], so input may come in chunks.
//!
//! **Chains.** Bit `n + 1` may continue bit `n`: it then counts only once `n` was found. The parts
//! of `curl.*\|.*sh` are three bits of one chain instead of a product of automata, which doubles
//! with every pattern that has a `.*`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Class cells of an automaton.
pub const CLASS_CELLS: u32 = 256;
/// Offset in a row of the set that is found on arrival.
pub const ROW_ARRIVAL: u32 = 0;
/// Offset in a row of the set that is found at the end of the input.
pub const ROW_END: u32 = 2;
/// Offset in a row of its transitions.
pub const ROW_NEXT: u32 = 4;
/// In a transition: something is found on arrival.
pub const FOUND: u32 = 1 << 31;

/// Where an automaton lies in the table.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Dfa {
    /// Its first class cell.
    pub classes: u32,
    /// The row of its start state; 0 if there is no automaton: it then finds nothing.
    pub start: u32,
    /// The bits that begin a chain.
    pub first: u64,
}

impl Dfa {
    /// Whether there is nothing to walk.
    #[must_use]
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.start == 0
    }
}

/// A walk between two bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Walk {
    /// The bits found so far.
    pub found: u64,
    /// The row of the state.
    pub state: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

impl Walk {
    /// A walk before its first byte.
    #[must_use]
    #[inline(always)]
    pub const fn new(dfa: &Dfa) -> Self {
        Self {
            found: 0,
            state: dfa.start,
            reserved: 0,
        }
    }

    /// Takes one byte. The automaton must not be empty.
    ///
    /// `cell` reads the table; it returns `None` outside it, and then so does the step: the table
    /// is not what it should be, and callers fail closed.
    #[inline(always)]
    pub fn step(
        &mut self,
        dfa: &Dfa,
        byte: u8,
        cell: impl Fn(u32) -> Option<u32> + Copy,
    ) -> Option<()> {
        let class = cell(dfa.classes.wrapping_add(u32::from(byte)))?;
        let next = cell(self.state.wrapping_add(class))?;
        self.state = next & !FOUND;
        if next & FOUND != 0 {
            self.find(dfa, ROW_ARRIVAL, cell)?;
        }
        Some(())
    }

    /// Ends the input; returns every bit that was found. `None` as for [`Walk::step`].
    #[inline(always)]
    pub fn finish(mut self, dfa: &Dfa, cell: impl Fn(u32) -> Option<u32> + Copy) -> Option<u64> {
        self.find(dfa, ROW_END, cell)?;
        Some(self.found)
    }

    #[inline(always)]
    fn find(&mut self, dfa: &Dfa, at: u32, cell: impl Fn(u32) -> Option<u32> + Copy) -> Option<()> {
        let low = cell(self.state.wrapping_add(at))?;
        let high = cell(self.state.wrapping_add(at + 1))?;
        let here = u64::from(high) << 32 | u64::from(low);
        self.found |= here & (dfa.first | self.found << 1);
        Some(())
    }
}

/// Walks over a whole input: the bits that are found in it. `None` as for [`Walk::step`].
pub fn find(dfa: &Dfa, bytes: &[u8], cell: impl Fn(u32) -> Option<u32> + Copy) -> Option<u64> {
    if dfa.is_empty() {
        return Some(0);
    }
    let mut walk = Walk::new(dfa);
    for &byte in bytes {
        walk.step(dfa, byte, cell)?;
    }
    walk.finish(dfa, cell)
}

const _: () = {
    assert!(size_of::<Dfa>() == 16);
    assert!(size_of::<Walk>() == 16);
    assert!(crate::limits::MAX_MATCHER_CELLS < FOUND);
    assert!(crate::limits::MAX_MATCHER_CELLS.is_power_of_two());
    assert!(crate::limits::MAX_PATTERNS == u64::BITS);
};
