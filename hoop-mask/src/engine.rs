//! Windows over the input, and what is released of it.
//!
//! The input is scanned in pieces at fixed offsets. What a piece gives depends on the bytes from
//! [`BEFORE`] before it to [`AFTER`] after it and on what is carried over from the pieces before,
//! never on how the input was cut. A secret that is longer than that is followed byte by byte
//! ([`Tail`]); nothing of it is kept but its digest.

use std::ops::Range;

use crate::detect::{Alignment, Base64, Found, Id, Scan};
use crate::json::{NUMBER_LIMIT, Number, Path, Structure};
use crate::key::Digest;
use crate::tail::Tail;
use crate::view::{Buffer, View};
use crate::{Action, Finding, Masked, Masker, Via};

/// The bytes of a piece.
pub(crate) const PIECE: usize = 32 << 10;
/// So many bytes before a piece are seen with it: the longest start of a secret before what triggers.
const BEFORE: usize = 1 << 10;
/// So many bytes after a piece are seen with it.
const AFTER: usize = 4 << 10;
/// So many more are kept, to see what a number stands in.
const AROUND: usize = 256;
/// A longer finding that is allowed is reported in parts.
const LONGEST_ALLOWED: u64 = 32 << 10;

/// A secret in the input.
#[derive(Clone)]
struct Hit {
    start: u64,
    end: u64,
    id: Id,
    via: Via,
    digest: [u8; 3],
    /// The last four bytes, if an action may keep them.
    last: Option<[u8; 4]>,
    /// Of two that overlap the lower one gives the class.
    rank: u8,
    allowed: bool,
    open: bool,
}

/// The secret that goes on beyond the window: the last of those that are pending.
struct Open {
    tail: Tail,
    at: u64,
    digest: Digest,
}

/// What is carried from piece to piece.
#[derive(Default)]
pub(crate) struct Engine {
    /// Where the next piece starts.
    next: u64,
    /// The output stands for the input up to here.
    released: u64,
    /// By start; none overlaps another.
    pending: Vec<Hit>,
    open: Option<Open>,
    alignment: Alignment,
    structure: Structure,
    /// How far `structure` has read.
    read: u64,
    path: Path,
    buffer: Buffer,
    found: Vec<Found>,
    base64: Base64,
}

/// Where masked bytes and findings go.
struct Sink<'a> {
    output: &'a mut Vec<u8>,
    findings: &'a mut Vec<Finding>,
}

/// Input from an offset on.
#[derive(Clone, Copy)]
struct Raw<'a> {
    bytes: &'a [u8],
    base: u64,
}

impl<'a> Raw<'a> {
    fn end(self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    fn get(self, range: Range<u64>) -> &'a [u8] {
        let place = |at: u64| (at.saturating_sub(self.base) as usize).min(self.bytes.len());
        &self.bytes[place(range.start)..place(range.end.max(range.start))]
    }
}

impl Engine {
    /// Scans what can be scanned of the input that starts at offset `base` and was not scanned yet.
    pub(crate) fn run(
        &mut self,
        masker: &Masker,
        bytes: &[u8],
        base: u64,
        last: bool,
        output: &mut Vec<u8>,
        findings: &mut Vec<Finding>,
    ) {
        let raw = Raw { bytes, base };
        let mut sink = Sink { output, findings };
        let total = raw.end();
        while self.next < total {
            let end = self.next + PIECE as u64;
            // One byte more tells that the window's end is not the input's.
            if !last && total <= end + AFTER as u64 {
                return;
            }
            let piece = self.next..end.min(total);
            let window = self.next.saturating_sub(BEFORE as u64)..(end + AFTER as u64).min(total);
            let at_end = window.end == total && last;
            self.piece(masker, raw, piece, window, at_end);
            self.next = end.min(total);
            if self.next < total {
                self.release(
                    masker,
                    raw,
                    self.next.saturating_sub(BEFORE as u64),
                    &mut sink,
                );
            }
        }
        if last {
            self.follow(raw, total);
            self.close(total);
            self.release(masker, raw, total, &mut sink);
        }
    }

    /// Masks the value of a field.
    pub(crate) fn field(masker: &Masker, name: &str, value: &[u8], masked: &mut Masked) {
        let Some(id) = masker.secret_field(name).filter(|_| !value.is_empty()) else {
            let mut text = format!("{name}: ").into_bytes();
            let start = text.len();
            text.extend_from_slice(value);
            let mut engine = Self {
                released: start as u64,
                path: Path::field(name),
                ..Self::default()
            };
            engine.run(
                masker,
                &text,
                0,
                true,
                &mut masked.bytes,
                &mut masked.findings,
            );
            for finding in &mut masked.findings {
                finding.start -= start as u64;
                finding.end -= start as u64;
            }
            return;
        };
        let mut engine = Self::default();
        engine.pending.push(Hit {
            start: 0,
            end: value.len() as u64,
            id,
            via: Via::Plain,
            digest: masker.digest(id, value),
            last: last_four(value),
            rank: 0,
            allowed: masker.entry(id).action == Action::Allow,
            open: false,
        });
        let mut sink = Sink {
            output: &mut masked.bytes,
            findings: &mut masked.findings,
        };
        let raw = Raw {
            bytes: value,
            base: 0,
        };
        engine.release(masker, raw, value.len() as u64, &mut sink);
    }

    /// Forgets what of the input is not needed again; the offset from which on it is.
    pub(crate) fn forget(&mut self, bytes: &[u8], base: u64) -> u64 {
        let window = self.next.saturating_sub((BEFORE + AROUND) as u64);
        let needed = match self.pending.first() {
            Some(hit) if hit.allowed => window.min(self.released),
            _ => window,
        };
        self.read_structure(Raw { bytes, base }, needed);
        needed
    }

    /// Scans one piece.
    fn piece(
        &mut self,
        masker: &Masker,
        raw: Raw<'_>,
        piece: Range<u64>,
        window: Range<u64>,
        at_end: bool,
    ) {
        let from = self.follow(raw, window.end).clamp(piece.start, piece.end);
        let bytes = raw.get(window.clone());
        let place = |at: u64| (at - window.start) as usize;
        let mut buffer = std::mem::take(&mut self.buffer);
        let view = buffer.view(bytes);
        let (start, to) = (
            view.position(place(piece.start)),
            view.position(place(piece.end)),
        );
        let from = view.position(place(from)).max(start);
        self.found.clear();
        let mut scan = Scan::new(masker, view.text, at_end, &mut self.found);
        self.base64.start();
        if start > 0 {
            let alignment = self.alignment.advanced(view.text, start, from);
            self.base64.resume(&mut scan, alignment, from, to);
        }
        let base64 = &mut self.base64;
        scan.run(from, to, |scan, at| base64.around(scan, at, from, to));
        self.alignment = self.alignment.advanced(view.text, start, to);
        if !masker.custom.is_empty() {
            masker
                .custom
                .look(view.text, at_end, from..to, &mut self.found);
            self.keep_at_path(masker, raw, &view, &piece, window.start);
        }
        let mut found = std::mem::take(&mut self.found);
        for found in found.drain(..) {
            self.accept(masker, raw, &view, found, &window);
        }
        self.found = found;
        self.buffer = buffer;
        self.settle();
    }

    /// Drops findings of custom rules that ask for another place in the document.
    fn keep_at_path(
        &mut self,
        masker: &Masker,
        raw: Raw<'_>,
        view: &View<'_>,
        piece: &Range<u64>,
        window: u64,
    ) {
        if !masker.custom.needs_path() {
            return;
        }
        let read = |path: &mut Path, to: u64| {
            let bytes = raw.get(path.at()..to);
            path.read(bytes);
        };
        read(&mut self.path, piece.start);
        let mut path = self.path.clone();
        self.found.sort_by_key(|found| found.start);
        self.found.retain(|found| {
            if !masker.custom.asks_path(found.id) {
                return true;
            }
            read(&mut path, window + view.raw_start(found.start) as u64);
            masker.custom.applies(found.id, &path)
        });
        read(&mut self.path, piece.end);
    }

    /// Turns what was found in a view into what it is in the input.
    fn accept(
        &mut self,
        masker: &Masker,
        raw: Raw<'_>,
        view: &View<'_>,
        found: Found,
        window: &Range<u64>,
    ) {
        let value = &view.text[found.start..found.end];
        let start = window.start + view.raw_start(found.start) as u64;
        let end = window.start + view.raw_end(found.end) as u64;
        let start = start.max(self.released);
        if start >= end {
            return;
        }
        let open = found.open.is_some();
        if let Some(shape) = found.open
            && self.open.is_none()
        {
            let mut digest = masker.digest_of(found.id);
            let bytes = raw.get(start..window.end);
            digest.update(bytes);
            self.open = Some(Open {
                tail: Tail::new(shape, bytes),
                at: window.end,
                digest,
            });
        }
        self.pending.push(Hit {
            start,
            end: if open { window.end } else { end },
            id: found.id,
            via: match found.inner {
                Some(_) => Via::Base64,
                None => view.via(found.start, found.end),
            },
            digest: match (found.inner, open) {
                (Some(digest), _) => digest,
                (None, true) => [0; 3],
                (None, false) => masker.digest(found.id, value),
            },
            last: (found.inner.is_none() && !open)
                .then(|| last_four(value))
                .flatten(),
            rank: masker.entry(found.id).rank,
            allowed: masker.entry(found.id).action == Action::Allow,
            open,
        });
    }

    /// Joins those that overlap; the lowest rank gives the class.
    fn settle(&mut self) {
        if self.pending.len() < 2 {
            return;
        }
        self.pending
            .sort_by_key(|hit| (hit.start, hit.allowed, hit.rank));
        self.pending.dedup_by(|next, kept| {
            if next.start >= kept.end {
                return false;
            }
            let (start, end) = (kept.start, kept.end.max(next.end));
            let open = kept.open || next.open;
            if (next.allowed, next.rank) < (kept.allowed, kept.rank) {
                std::mem::swap(next, kept);
            }
            kept.start = start;
            kept.end = end;
            kept.open = open;
            true
        });
    }

    /// Follows the open secret up to `to`; where what is no part of it starts.
    fn follow(&mut self, raw: Raw<'_>, to: u64) -> u64 {
        let Some(open) = &mut self.open else {
            return 0;
        };
        let bytes = raw.get(open.at..to);
        let Some(len) = open.tail.read(bytes) else {
            open.digest.update(bytes);
            open.at = to;
            if let Some(hit) = self.pending.last_mut() {
                hit.end = to;
            }
            return to;
        };
        open.digest.update(&bytes[..len]);
        let end = (open.at + len as u64).saturating_sub(open.tail.own());
        self.close(end);
        end
    }

    /// Ends the open secret at `end`.
    fn close(&mut self, end: u64) {
        if let (Some(open), Some(hit)) = (self.open.take(), self.pending.last_mut()) {
            hit.end = end.max(hit.start);
            hit.open = false;
            hit.digest = open.digest.finish();
        }
    }

    /// Writes what is decided up to `limit`.
    fn release(&mut self, masker: &Masker, raw: Raw<'_>, limit: u64, sink: &mut Sink<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        let mut done = 0;
        let mut decided = limit;
        for hit in &mut pending {
            if hit.start >= limit {
                break;
            }
            if hit.open || hit.end > limit {
                // What is allowed must not be kept for ever: it is reported in parts.
                if hit.allowed && limit - hit.start > LONGEST_ALLOWED {
                    let part = Hit {
                        end: limit,
                        open: false,
                        ..hit.clone()
                    };
                    self.write(masker, raw, &part, sink);
                    hit.start = limit;
                } else {
                    // A sign before a number is replaced with it.
                    let number = !hit.open && hit.end - hit.start <= NUMBER_LIMIT as u64;
                    let sign = if number { NUMBER_LIMIT as u64 } else { 0 };
                    decided = hit.start.saturating_sub(sign);
                }
                break;
            }
            self.write(masker, raw, hit, sink);
            done += 1;
        }
        pending.drain(..done);
        self.copy(raw, decided, sink);
        self.pending = pending;
    }

    /// Copies the input up to `to`.
    fn copy(&mut self, raw: Raw<'_>, to: u64, sink: &mut Sink<'_>) {
        if to > self.released {
            sink.output.extend_from_slice(raw.get(self.released..to));
            self.released = to;
        }
    }

    /// Writes what is before a secret and what stands for it.
    fn write(&mut self, masker: &Masker, raw: Raw<'_>, hit: &Hit, sink: &mut Sink<'_>) {
        if hit.allowed {
            self.copy(raw, hit.end, sink);
            let len = (hit.end - hit.start) as usize;
            sink.findings
                .push(masker.finding(hit.id, hit.start..hit.end, hit.via, len));
            return;
        }
        let (range, quote) = self
            .as_number(raw, hit)
            .unwrap_or((hit.start..hit.end, b""));
        self.copy(raw, range.start, sink);
        let before = sink.output.len();
        sink.output.extend_from_slice(quote);
        masker.replace(hit.id, hit.digest, hit.last, sink.output);
        sink.output.extend_from_slice(quote);
        self.released = range.end;
        let len = sink.output.len() - before;
        sink.findings
            .push(masker.finding(hit.id, range, hit.via, len));
    }

    /// If the secret is a JSON number: all of that, and the quote that makes a string of what stands
    /// for it.
    fn as_number<'a>(&mut self, raw: Raw<'a>, hit: &Hit) -> Option<(Range<u64>, &'a [u8])> {
        if hit.end - hit.start > NUMBER_LIMIT as u64 {
            return None;
        }
        let first = hit.start.saturating_sub(AROUND as u64).max(raw.base);
        let around = raw.get(first..hit.end + AROUND as u64);
        let number = Number::around(
            around,
            (hit.start - first) as usize..(hit.end - first) as usize,
        )?;
        let start = first + number.range.start as u64;
        let end = first + number.range.end as u64;
        if start < self.released || start < self.read {
            return None;
        }
        self.read_structure(raw, start);
        if self.structure.expects_value() {
            Some((start..end, b"\""))
        } else if self.structure.in_string() && number.key_quote.len() > 1 {
            Some((start..end, number.key_quote))
        } else {
            None
        }
    }

    fn read_structure(&mut self, raw: Raw<'_>, to: u64) {
        if to > self.read {
            self.structure.read(raw.get(self.read..to));
            self.read = to;
        }
    }
}

/// The last four bytes of a value of eight or more, if they are letters and digits.
fn last_four(value: &[u8]) -> Option<[u8; 4]> {
    let last = *value.last_chunk()?;
    (value.len() >= 8 && last.iter().all(u8::is_ascii_alphanumeric)).then_some(last)
}
