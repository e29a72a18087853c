//! Content codings, RFC 9110 section 8.4.1, taken off as the bytes come.

mod brotli;
mod inflate;
mod zstd;

use self::brotli::Brotli;
pub(crate) use self::inflate::Inflate;
use self::zstd::Zstd;
use crate::out::Memory;
use crate::{Limits, Reason};

/// The codings of one body, the last applied first.
#[derive(Debug)]
pub(crate) struct Chain {
    stages: Vec<Stage>,
    limits: Limits,
    /// Bytes taken so far.
    taken: u64,
}

/// Takes decoded bytes; an error ends the decoding.
pub(crate) type Take<'a> = dyn FnMut(&[u8]) -> Result<(), Reason> + 'a;

/// What is allowed, and so what is told when it is not, depends on the bytes before the next multiple of
/// this only, not on how the body is cut.
pub(crate) const BLOCK: usize = 4096;

/// Decoded bytes before the ratio counts.
const FREE: u64 = 1 << 20;

/// What a decoder writes to at a time.
const PIECE: usize = 16 << 10;

#[derive(Debug)]
struct Stage {
    coder: Coder,
    made: u64,
}

#[derive(Debug)]
enum Coder {
    Inflate(Inflate),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

impl Chain {
    /// From names in the order applied, as `Content-Encoding` has them. `None`: nothing to take off.
    pub fn new<'a>(
        names: impl Iterator<Item = &'a str>,
        limits: &Limits,
        memory: &Memory,
    ) -> Result<Option<Self>, Reason> {
        let mut stages = Vec::new();
        for name in names {
            let coder = match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                _ if stages.len() == limits.codings => return Err(Reason::UnknownCoding),
                "gzip" | "x-gzip" => Coder::Inflate(Inflate::gzip(memory)?),
                "deflate" => Coder::Inflate(Inflate::deflate(memory)?),
                "br" => Coder::Brotli(Box::new(Brotli::new(memory))),
                "zstd" => Coder::Zstd(Zstd::new(memory)),
                _ => return Err(Reason::UnknownCoding),
            };
            stages.push(Stage { coder, made: 0 });
        }
        stages.reverse();
        Ok((!stages.is_empty()).then_some(Self {
            stages,
            limits: *limits,
            taken: 0,
        }))
    }

    /// Decodes bytes, which must not reach over a multiple of [`BLOCK`].
    pub fn decode(&mut self, bytes: &[u8], take: &mut Take<'_>) -> Result<(), Reason> {
        self.taken += bytes.len() as u64;
        let earned = self
            .taken
            .next_multiple_of(BLOCK as u64)
            .saturating_mul(self.limits.ratio);
        let earned = earned.saturating_add(FREE);
        let allowed = match earned < self.limits.body {
            true => (earned, Reason::Bomb),
            false => (self.limits.body, Reason::TooLong),
        };
        run(&mut self.stages, bytes, allowed, take)
    }

    /// Whether every coding came to its end.
    pub fn finished(&self) -> bool {
        self.stages.iter().all(|stage| match &stage.coder {
            Coder::Inflate(it) => it.finished(),
            Coder::Brotli(it) => it.finished(),
            Coder::Zstd(it) => it.finished(),
        })
    }
}

fn run(
    stages: &mut [Stage],
    bytes: &[u8],
    allowed: (u64, Reason),
    take: &mut Take<'_>,
) -> Result<(), Reason> {
    let Some((Stage { coder, made }, rest)) = stages.split_first_mut() else {
        return take(bytes);
    };
    let mut hand_on = |decoded: &[u8]| {
        let left = usize::try_from(allowed.0 - *made).unwrap_or(usize::MAX);
        let kept = &decoded[..decoded.len().min(left)];
        *made += kept.len() as u64;
        if !kept.is_empty() {
            run(rest, kept, allowed, take)?;
        }
        if kept.len() == decoded.len() {
            Ok(())
        } else {
            Err(allowed.1)
        }
    };
    match coder {
        Coder::Inflate(it) => it.decode(bytes, &mut hand_on),
        Coder::Brotli(it) => it.decode(bytes, &mut hand_on),
        Coder::Zstd(it) => it.decode(bytes, &mut hand_on),
    }
}
