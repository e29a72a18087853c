//! Base64 (RFC 4648, sections 4 and 5), one level deep.

use super::{Found, Scan};
use crate::bytes::{self, BASE64, TOKEN};
use crate::prefilter::TOKEN_RUN;
use crate::view::Buffer;

const CHARS: u8 = TOKEN | BASE64;
/// A run that is not longer is only looked into if it is text.
const SHORT: usize = 64;
/// What is shorter holds nothing.
const SHORTEST: usize = 16;

/// Where in a group of four the next byte of a run is, when the run comes from an earlier window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Alignment {
    /// Bytes of the run that were before, modulo 4; `None`: no run goes on here.
    phase: Option<u8>,
}

impl Alignment {
    /// The alignment at `at`, where `from` is where `self` was taken.
    pub(crate) fn advanced(self, text: &[u8], from: usize, at: usize) -> Self {
        if !bytes::is(bytes::before(text, at), CHARS) {
            return Self { phase: None };
        }
        let start = bytes::run_start(text, at, CHARS, at - from);
        let before = match self.phase {
            Some(phase) if start == from => phase as usize,
            _ => 0,
        };
        Self {
            phase: Some(((before + at - start) % 4) as u8),
        }
    }
}

/// The memory that decoding needs.
#[derive(Default)]
pub(crate) struct Base64 {
    decoded: Vec<u8>,
    buffer: Buffer,
    found: Vec<Found>,
    /// Where the last run that was looked into ends.
    done: usize,
}

impl Base64 {
    /// Forgets the last window.
    pub(crate) fn start(&mut self) {
        self.done = 0;
    }

    /// Looks into the run that comes from an earlier window, if there is one at `from`.
    pub(crate) fn resume(
        &mut self,
        scan: &mut Scan<'_>,
        alignment: Alignment,
        from: usize,
        to: usize,
    ) {
        let Some(phase) = alignment.phase else {
            return;
        };
        if !bytes::is(bytes::get(scan.text, from), CHARS) {
            return;
        }
        let start = bytes::run_start(scan.text, from, CHARS, from);
        let end = bytes::run_end(scan.text, from, CHARS, usize::MAX);
        // The first whole group of the run in this window.
        let skip = (from - start + 4 - phase as usize % 4) % 4;
        self.look(scan, start + skip, end, from, to);
    }

    /// Looks into the run around `at`, which ends the first [`TOKEN_RUN`] bytes of a token.
    pub(crate) fn around(&mut self, scan: &mut Scan<'_>, at: usize, from: usize, to: usize) {
        if at < self.done {
            return;
        }
        let token = (at + 1 - TOKEN_RUN).max(self.done);
        let start = bytes::run_start(scan.text, token, CHARS, token - self.done);
        let end = bytes::run_end(scan.text, at + 1, CHARS, usize::MAX);
        self.look(scan, start, end, from, to);
    }

    /// Looks into the groups from `start` to `end` for what triggers from `from` up to `to`.
    fn look(&mut self, scan: &mut Scan<'_>, start: usize, end: usize, from: usize, to: usize) {
        self.done = end;
        if end < start + SHORTEST {
            return;
        }
        let run = &scan.text[start..end];
        let short = run.len() <= SHORT;
        if short && !is_printable(run) {
            return;
        }
        decode(run, &mut self.decoded);
        if short && !is_utf8(&self.decoded) {
            return;
        }
        let at_end = scan.at_end || end < scan.text.len();
        let view = self.buffer.view(&self.decoded);
        let group = |at: usize| at.saturating_sub(start) / 4 * 3;
        // A group belongs to where it starts.
        let first = view.position(group((from + 3).max(start)));
        let last = if to >= end {
            view.text.len()
        } else {
            view.position(group(to + 3))
        };
        self.found.clear();
        let mut inner = Scan::new(scan.masker, view.text, at_end, &mut self.found);
        inner.run(first, last.max(first), |_, _| ());
        for found in self.found.drain(..) {
            let digest = scan.digest(found.id, &view.text[found.start..found.end]);
            let inner_start = view.raw_start(found.start);
            let inner_end = view.raw_end(found.end);
            let outer_end = start + inner_end.div_ceil(3) * 4;
            scan.found.push(Found {
                start: start + inner_start / 3 * 4,
                end: outer_end.min(end),
                id: found.id,
                open: found.open,
                inner: Some(digest),
            });
        }
    }
}

/// The value of a byte of either alphabet; 64 for others.
static VALUE: [u8; 256] = {
    let mut table = [64; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut i = 0;
    while i < 64 {
        table[alphabet[i as usize] as usize] = i;
        i += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

fn group(chars: &[u8]) -> u32 {
    chars.iter().fold(0, |bits, &char| {
        bits << 6 | u32::from(VALUE[char as usize] & 63)
    })
}

/// Decodes a run, padding or none.
fn decode(run: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.reserve(run.len() / 4 * 3 + 3);
    let groups = run.chunks_exact(4);
    let rest = groups.remainder();
    for chars in groups {
        let [_, a, b, c] = group(chars).to_be_bytes();
        out.extend_from_slice(&[a, b, c]);
    }
    if rest.len() > 1 {
        let bits = group(rest) << (6 * (4 - rest.len()));
        let [_, a, b, _] = bits.to_be_bytes();
        out.extend_from_slice(&[a, b][..rest.len() - 1]);
    }
}

/// Whether a run decodes to no control characters: most identifiers do in their first bytes.
fn is_printable(run: &[u8]) -> bool {
    run.chunks_exact(4).all(|chars| {
        let [_, decoded @ ..] = group(chars).to_be_bytes();
        decoded
            .iter()
            .all(|&byte| byte >= b' ' && byte != 0x7f || matches!(byte, b'\n' | b'\r' | b'\t'))
    })
}

/// Whether it is UTF-8, but for characters that are cut off at its start and its end.
fn is_utf8(decoded: &[u8]) -> bool {
    let cut = decoded
        .iter()
        .take(3)
        .take_while(|byte| matches!(byte, 0x80..0xc0))
        .count();
    str::from_utf8(&decoded[cut..]).map_or_else(|error| error.error_len().is_none(), |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_may_be_cut_within_a_character() {
        let text = "é: Größe, 漢字, 🙂".as_bytes();
        for from in 0..2 {
            for to in text.len() - 3..=text.len() {
                assert!(is_utf8(&text[from..to]), "from {from} to {to}");
            }
        }
    }

    #[test]
    fn other_bytes_are_no_text() {
        for bytes in [
            &b"a\xe9b"[..],
            b"\xff\xfe",
            b"abc\xc3(",
            b"\x80\x80\x80\x80a",
        ] {
            assert!(!is_utf8(bytes), "{bytes:?}");
        }
    }
}
