//! Where reading of HTTP/2 can go on after bytes that could not be read: at frames that are valid
//! and follow one another.

use super::frame::{ENOUGH, Frame, HEADER};

/// The state of a search.
#[derive(Debug, Default)]
pub(crate) struct FrameScan {
    /// No frame begins before.
    from: usize,
    /// What was found of the frames that begin there.
    chain: Option<Chain>,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameFound {
    /// Frames begin here.
    At(usize),
    /// Nothing yet, and nothing will begin before this place.
    NotBefore(usize),
}

/// Frames in a row.
#[derive(Debug)]
struct Chain {
    /// Where the next begins, from the first on.
    length: usize,
    weight: u32,
}

impl FrameScan {
    /// Looks for frames whose payload is no longer than `largest`. `input` is what the last call
    /// had, apart from what was [`consumed`](Self::consumed), and more.
    pub fn find(&mut self, input: &[u8], largest: usize) -> FrameFound {
        loop {
            match self.begins(&input[self.from.min(input.len())..], largest) {
                Some(true) => return FrameFound::At(self.from),
                None => return FrameFound::NotBefore(self.from),
                Some(false) => {
                    self.from += 1;
                    self.chain = None;
                }
            }
        }
    }

    /// Whether the input begins with such frames; `None`: too few bytes to tell.
    pub fn begins(&mut self, input: &[u8], largest: usize) -> Option<bool> {
        let chain = self.chain.get_or_insert(Chain {
            length: 0,
            weight: 0,
        });
        while chain.weight < ENOUGH {
            let next = input
                .get(chain.length..)
                .filter(|next| next.len() >= HEADER);
            let weight = Frame::parse(next?)?.weight(largest);
            if weight == 0 {
                return Some(false);
            }
            chain.weight += weight;
            chain.length += HEADER + Frame::parse(next?)?.length;
        }
        Some(true)
    }

    /// Says that so many bytes, none of which can begin a frame, are not in the input any more.
    pub fn consumed(&mut self, bytes: usize) {
        self.from -= bytes.min(self.from);
    }
}
