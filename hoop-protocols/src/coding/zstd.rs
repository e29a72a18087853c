//! `zstd`, RFC 8878, with the window that RFC 9659 allows.

use std::fmt;

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{PIECE, Take};
use crate::Reason;
use crate::out::{Memory, Reservation};

/// A zstd decoder, made when the frame header tells the size of its window.
pub(crate) struct Zstd {
    memory: Memory,
    /// The frame header as far as it came, until the decoder is made.
    header: Vec<u8>,
    running: Option<Running>,
}

struct Running {
    inner: DCtx<'static>,
    piece: Box<[u8]>,
    /// Between frames.
    ended: bool,
    window: usize,
    memory: Vec<Reservation>,
}

/// RFC 9659 section 3: at most 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// What a decoder takes beside its window: its context, a block in, a block out, and what is
/// decoded at a time.
const FIXED: usize = (96 << 10) + 2 * (128 << 10) + PIECE;

impl Zstd {
    pub fn new(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            header: Vec::new(),
            running: None,
        }
    }

    pub fn finished(&self) -> bool {
        self.header.is_empty() && self.running.as_ref().is_none_or(|it| it.ended)
    }

    pub fn decode(&mut self, mut bytes: &[u8], take: &mut Take<'_>) -> Result<(), Reason> {
        if self.running.is_none() {
            let window = loop {
                if let Some(window) = window(&self.header) {
                    break window;
                }
                let Some((first, rest)) = bytes.split_first() else {
                    return Ok(());
                };
                self.header.push(*first);
                bytes = rest;
            };
            self.running = Some(Running::new(window, &self.memory)?);
        }
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let header = std::mem::take(&mut self.header);
        running.decode(&header, &self.memory, take)?;
        running.decode(bytes, &self.memory, take)
    }
}

impl Running {
    fn new(window: u64, memory: &Memory) -> Result<Self, Reason> {
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        if window > 1 << WINDOW_LOG_MAX {
            return Err(Reason::DecoderMemory);
        }
        let reservation = memory.reserve(window + FIXED)?;
        let mut inner = DCtx::try_create().ok_or(Reason::DecoderMemory)?;
        inner
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(|_| Reason::DecoderMemory)?;
        let piece = vec![0; PIECE].into_boxed_slice();
        Ok(Self {
            inner,
            piece,
            ended: false,
            window,
            memory: vec![reservation],
        })
    }

    fn decode(&mut self, bytes: &[u8], memory: &Memory, take: &mut Take<'_>) -> Result<(), Reason> {
        let mut input = InBuffer::around(bytes);
        loop {
            if self.ended && input.pos() < bytes.len() && self.window < 1 << WINDOW_LOG_MAX {
                // A second frame has a window of its own, which is not looked at beforehand.
                self.memory
                    .push(memory.reserve((1 << WINDOW_LOG_MAX) - self.window)?);
                self.window = 1 << WINDOW_LOG_MAX;
            }
            let before = input.pos();
            let mut output = OutBuffer::around(&mut *self.piece);
            let hint = self
                .inner
                .decompress_stream(&mut output, &mut input)
                .map_err(|_| Reason::BrokenCoding)?;
            let made = output.pos();
            if input.pos() > before || made > 0 {
                self.ended = hint == 0;
            }
            take(&self.piece[..made])?;
            if input.pos() == bytes.len() && made < self.piece.len() {
                return Ok(());
            }
            if input.pos() == before && made == 0 {
                return Err(Reason::BrokenCoding);
            }
        }
    }
}

/// The size of the window by the frame header (RFC 8878 section 3.1.1.1), if it is there whole.
/// What is no frame header needs none: the decoder will say so.
fn window(header: &[u8]) -> Option<u64> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let common = header.len().min(4);
    if header[..common] != MAGIC[..common] {
        return Some(0);
    }
    let descriptor = *header.get(4)?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = *header.get(5)?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = 1usize << (descriptor >> 6);
    let field = header.get(5 + dictionary_id..5 + dictionary_id + size)?;
    let value = field
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(if size == 2 { value + 256 } else { value })
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd")
            .field("header", &self.header.len())
            .finish_non_exhaustive()
    }
}
