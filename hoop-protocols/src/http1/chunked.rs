//! The chunked transfer coding, RFC 9112 section 7.1.

use memchr::memchr;

use super::head;
use crate::Headers;

/// Where in the coding reading is.
#[derive(Debug)]
pub(super) enum Chunked {
    /// Before the line with the size; so much of it was scanned for its end.
    Size { scanned: usize },
    /// In the data, of which so much is left.
    Data { left: u64 },
    /// After the data, before its line end.
    DataEnd,
    /// In the trailer section; so much was scanned for its end.
    Trailers { scanned: usize },
}

/// One step.
#[derive(Debug)]
pub(super) enum Step {
    /// More bytes are needed.
    More,
    /// So many bytes are framing.
    Framing(usize),
    /// So many bytes are data.
    Data(usize),
    /// So many bytes are the trailer section, the last of the body.
    End(usize, Headers),
    /// This is no chunk.
    Broken,
}

impl Chunked {
    pub fn step(&mut self, input: &[u8], longest: usize, header_list: usize) -> Step {
        match self {
            Self::Size { scanned } => {
                let Some(end) = memchr(b'\n', &input[*scanned..]).map(|end| *scanned + end) else {
                    *scanned = input.len();
                    return if input.len() > longest {
                        Step::Broken
                    } else {
                        Step::More
                    };
                };
                if end > longest {
                    return Step::Broken;
                }
                let Some(size) = size(&input[..end]) else {
                    return Step::Broken;
                };
                *self = match size {
                    0 => Self::Trailers { scanned: 0 },
                    left => Self::Data { left },
                };
                Step::Framing(end + 1)
            }
            Self::Data { left } => {
                if input.is_empty() {
                    return Step::More;
                }
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                Step::Data(taken)
            }
            Self::DataEnd => {
                let length = match input {
                    [b'\n', ..] => 1,
                    [b'\r', b'\n', ..] => 2,
                    [] | [b'\r'] => return Step::More,
                    _ => return Step::Broken,
                };
                *self = Self::Size { scanned: 0 };
                Step::Framing(length)
            }
            Self::Trailers { scanned } => {
                let end = match input {
                    [b'\n', ..] => 1,
                    [b'\r', b'\n', ..] => 2,
                    [] | [b'\r'] => return Step::More,
                    _ => match head::end(input, scanned) {
                        Some(end) => end,
                        None if input.len() > longest => return Step::Broken,
                        None => return Step::More,
                    },
                };
                if end > longest {
                    return Step::Broken;
                }
                match head::parse_trailers(&input[..end], header_list) {
                    Some(trailers) => Step::End(end, trailers),
                    None => Step::Broken,
                }
            }
        }
    }
}

/// The size in a line like `1a;name=value`.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let rest = line[digits..].trim_ascii();
    if digits == 0 || !matches!(rest, [] | [b';', ..]) {
        return None;
    }
    let digits = str::from_utf8(&line[..digits]).ok()?;
    u64::from_str_radix(digits, 16).ok()
}
