//! Input that comes in pieces.

use std::sync::Arc;

use crate::engine::{Engine, PIECE};
use crate::{Finding, Masker};

/// Masks text that comes in pieces: the output is that of the whole, whatever the pieces are.
///
/// A byte comes out once nothing that follows can make it part of a secret. It keeps at most some
/// 40 KiB of input (of an allowed finding 32 KiB more), however long a secret is.
pub struct Stream {
    masker: Arc<Masker>,
    engine: Engine,
    /// The input from `base` on.
    input: Vec<u8>,
    base: u64,
}

impl Stream {
    pub(crate) fn new(masker: Arc<Masker>) -> Self {
        Self {
            masker,
            engine: Engine::default(),
            input: Vec::new(),
            base: 0,
        }
    }

    /// Takes the next bytes, and appends the output that is decided and its findings.
    pub fn push(&mut self, input: &[u8], output: &mut Vec<u8>, findings: &mut Vec<Finding>) {
        for part in input.chunks(PIECE) {
            self.input.extend_from_slice(part);
            self.engine.run(
                &self.masker,
                &self.input,
                self.base,
                false,
                output,
                findings,
            );
            let needed = self.engine.forget(&self.input, self.base);
            // Not for every byte: what is kept is moved.
            if needed > self.base {
                self.input.drain(..(needed - self.base) as usize);
                self.base = needed;
            }
        }
    }

    /// Appends the rest.
    pub fn finish(mut self, output: &mut Vec<u8>, findings: &mut Vec<Finding>) {
        self.engine
            .run(&self.masker, &self.input, self.base, true, output, findings);
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("held", &self.input.len())
            .finish_non_exhaustive()
    }
}
