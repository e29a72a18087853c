//! `br`, RFC 7932.

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{PIECE, Take};
use crate::Reason;
use crate::out::{Memory, Reservation};

/// A brotli decoder, made when the first byte tells the size of its window.
pub(crate) struct Brotli {
    memory: Memory,
    running: Option<Running>,
    ended: bool,
}

struct Running {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    piece: Box<[u8]>,
    _memory: Reservation,
}

/// What a decoder takes beside its window: prefix codes of the most symbols that are allowed, context
/// maps, and what is decoded at a time.
const FIXED: usize = (256 << 10) + PIECE;

impl Brotli {
    pub fn new(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            running: None,
            ended: false,
        }
    }

    pub fn finished(&self) -> bool {
        self.ended || self.running.is_none()
    }

    pub fn decode(&mut self, bytes: &[u8], take: &mut Take<'_>) -> Result<(), Reason> {
        let Some(&first) = bytes.first() else {
            return Ok(());
        };
        if self.ended {
            return Err(Reason::BrokenCoding);
        }
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running::new(window(first), &self.memory)?),
        };
        let (mut left, mut at) = (bytes.len(), 0);
        loop {
            let (mut room, mut made, mut total) = (running.piece.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                bytes,
                &mut room,
                &mut made,
                &mut running.piece,
                &mut total,
                &mut running.state,
            );
            take(&running.piece[..made])?;
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::ResultSuccess => {
                    self.ended = true;
                    return if left == 0 {
                        Ok(())
                    } else {
                        Err(Reason::BrokenCoding)
                    };
                }
                BrotliResult::ResultFailure => return Err(Reason::BrokenCoding),
            }
        }
    }
}

impl Running {
    fn new(window: usize, memory: &Memory) -> Result<Self, Reason> {
        let _memory = memory.reserve(window + FIXED)?;
        let state = BrotliState::new_strict(
            StandardAlloc::default(),
            StandardAlloc::default(),
            StandardAlloc::default(),
        );
        Ok(Self {
            state,
            piece: vec![0; PIECE].into_boxed_slice(),
            _memory,
        })
    }
}

/// The size of the window by WBITS, RFC 7932 section 9.1.
fn window(first: u8) -> usize {
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, n) => 8 + n,
        (_, n, _) => 17 + n,
    };
    1 << bits
}

impl fmt::Debug for Brotli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brotli")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
