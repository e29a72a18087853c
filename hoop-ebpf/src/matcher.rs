//! Walks text through the automata of [`hoop_common::matcher`], any length of it, in chunks.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use hoop_common::{
    limits::{MAX_MATCHER_CELLS, TEXT_CHUNK},
    matcher::{Dfa, Walk},
    policy::Epoch,
};

use crate::{
    maps::MATCHER,
    verifier::{Forgotten, opaque},
};

/// Bytes that one turn of the loop takes: a turn is a call, and the verifier follows every byte.
const BYTES_PER_TURN: u32 = 16;

/// The matcher's table of one epoch.
#[derive(Clone, Copy)]
pub struct Cells(*const u32);

impl Cells {
    /// The table that an epoch reads.
    #[inline(always)]
    pub fn of(epoch: Epoch) -> Option<Self> {
        let table = MATCHER.get(epoch.bank())?;
        Some(Self(core::ptr::from_ref(table).cast()))
    }

    /// The cell with this number. The table's length is a power of two, so any number is one.
    #[inline(always)]
    pub fn cell(self, index: u32) -> u32 {
        let index = opaque(index) & (MAX_MATCHER_CELLS - 1);
        // SAFETY: inside the map value.
        unsafe { *self.0.add(index as usize) }
    }
}

/// A walk that goes on, in map memory.
#[repr(C)]
pub struct Progress {
    found: Forgotten<u64>,
    first: Forgotten<u64>,
    state: Forgotten<u32>,
    classes: Forgotten<u32>,
    at: Forgotten<u32>,
    end: Forgotten<u32>,
}

impl Progress {
    /// Begins at the start state.
    #[inline(always)]
    pub fn begin(&mut self, dfa: &Dfa) {
        self.found.set(0);
        self.first.set(dfa.first);
        self.state.set(dfa.start);
        self.classes.set(dfa.classes);
    }

    /// Takes the bytes of `text` from `at` up to `end`. `text` points to at least [`TEXT_CHUNK`]
    /// bytes of a map value, and `end` is at most that.
    #[inline(always)]
    pub fn feed(&mut self, cells: Cells, text: *const u8, at: u32, end: u32) {
        self.at.set(at);
        self.end.set(end);
        let mut feed = Feed {
            cells,
            text,
            progress: self,
        };
        // SAFETY: the callback takes a `Feed`, which outlives the call.
        unsafe {
            bpf_loop(
                TEXT_CHUNK / BYTES_PER_TURN,
                turn as *mut c_void,
                (&raw mut feed).cast::<c_void>(),
                0,
            )
        };
    }

    /// Ends the text; returns every bit that was found.
    #[inline(always)]
    pub fn finish(&self, cells: Cells) -> u64 {
        self.walk()
            .finish(&self.dfa(), |index| Some(cells.cell(index)))
            .unwrap_or(0)
    }

    #[inline(always)]
    fn walk(&self) -> Walk {
        Walk {
            found: self.found.get(),
            state: self.state.get(),
            reserved: 0,
        }
    }

    #[inline(always)]
    fn dfa(&self) -> Dfa {
        Dfa {
            classes: self.classes.get(),
            start: 0,
            first: self.first.get(),
        }
    }
}

struct Feed {
    cells: Cells,
    text: *const u8,
    progress: *mut Progress,
}

/// One turn for `bpf_loop`, of which the verifier follows one for all; 1 ends the loop.
unsafe extern "C" fn turn(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `Progress::feed` passes a `Feed`, and its own reference sleeps meanwhile.
    let feed = unsafe { &*context.cast::<Feed>() };
    // SAFETY: as above.
    let progress = unsafe { &mut *feed.progress };
    let (at, end) = (progress.at.get(), progress.end.get());
    let dfa = progress.dfa();
    let mut walk = progress.walk();
    for n in 0..BYTES_PER_TURN {
        let at = at.wrapping_add(n);
        if at >= end {
            break;
        }
        let index = opaque(at) & (TEXT_CHUNK - 1);
        // SAFETY: below `TEXT_CHUNK`.
        let byte = unsafe { *feed.text.add(index as usize) };
        let _ = walk.step(&dfa, byte, |index| Some(feed.cells.cell(index)));
    }
    progress.found.set(walk.found);
    progress.state.set(walk.state);
    let at = at.wrapping_add(BYTES_PER_TURN);
    progress.at.set(at);
    i64::from(at >= end)
}
