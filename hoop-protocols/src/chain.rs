//! A search for a place in a stream where frames begin that are valid and follow one another.
//!
//! Many places look like a frame that is not there, and some of those are long. So all of them are
//! followed at once, and the first to be confirmed by enough frames is believed.

use std::collections::{BTreeMap, BTreeSet};

/// The state of a search. Its size is bounded by the longest frame that is looked for.
#[derive(Debug, Default)]
pub(crate) struct ChainScan {
    /// How many bytes were consumed; all places below count from before them.
    base: usize,
    /// Everything before was looked at.
    from: usize,
    /// By where the next frame would begin: where the first did, and what the frames between weigh.
    pending: BTreeMap<usize, (usize, u32)>,
    /// Where the first frames of those begin.
    starts: BTreeSet<usize>,
}

/// What bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Too few to tell.
    More,
    /// No frame, and none at so many bytes from here on, at least 1.
    No { bytes: usize },
    /// Something that looks like a frame of this length, header included.
    Frame {
        weight: u32,
        header: usize,
        length: usize,
    },
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Frames begin at `start`; it took the bytes before `end` to tell.
    At { start: usize, end: usize },
    /// Nothing yet, and nothing will begin before this place.
    NotBefore(usize),
}

impl ChainScan {
    /// Looks for frames that weigh `enough` together. `input` is what the last call had, apart from
    /// what was [`consumed`](Self::consumed), and more.
    pub fn find(&mut self, input: &[u8], enough: u32, look: impl Fn(&[u8]) -> Look) -> Found {
        while let Some(rest) = input.get(self.from - self.base..) {
            let (weight, header, length) = match look(rest) {
                Look::More => break,
                Look::No { bytes } => {
                    let next = self
                        .pending
                        .first_key_value()
                        .map_or(usize::MAX, |(next, _)| *next);
                    if next > self.from {
                        self.from += bytes.min(next - self.from);
                        continue;
                    }
                    (0, 0, 0)
                }
                Look::Frame {
                    weight,
                    header,
                    length,
                } => (weight, header, length),
            };
            let place = self.from;
            self.from += 1;
            let (start, before) = self.pending.remove(&place).unwrap_or((place, 0));
            self.starts.remove(&start);
            if weight == 0 {
                continue;
            }
            let weight = before + weight;
            if weight >= enough {
                let end = place + header - self.base;
                return Found::At {
                    start: start - self.base,
                    end,
                };
            }
            // Of two that meet, the one goes on that was confirmed more.
            let next = place + length.max(1);
            match self.pending.get(&next) {
                Some((_, other)) if *other >= weight => continue,
                Some((other, _)) => self.starts.remove(other),
                None => false,
            };
            self.pending.insert(next, (start, weight));
            self.starts.insert(start);
        }
        let first = self.starts.first().copied().unwrap_or(self.from);
        Found::NotBefore(first.min(self.from) - self.base)
    }

    /// Says that so many bytes, none of which can begin a frame, are not in the input any more.
    pub fn consumed(&mut self, bytes: usize) {
        self.base += bytes;
    }
}
