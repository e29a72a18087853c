//! Where reading of HTTP/1 can go on after bytes that could not be read.
//!
//! A place is believed if a whole head begins there: a start line, only well-formed fields, a blank
//! line, and a field that real heads have. A body may hold such bytes, so what follows a search is
//! worth less than what does not; the caller is told.

use memchr::{memchr, memmem, memrchr};

use super::head::is_token;
use crate::body::Kind;

/// The state of a search. Every byte is looked at a bounded number of times.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Everything before was looked at.
    from: usize,
    /// Where the last candidate began: nothing that is found later begins before it.
    floor: usize,
    candidate: Option<Candidate>,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A head of this kind begins at `start` and has its last byte before `end`.
    Head {
        start: usize,
        end: usize,
        kind: Kind,
    },
    /// Nothing yet, and nothing will begin before this place.
    NotBefore(usize),
}

#[derive(Debug)]
struct Candidate {
    start: usize,
    kind: Kind,
    /// Where the line begins that is checked next.
    line: usize,
    /// How much of that line was looked at for its end.
    scanned: usize,
    telling: bool,
}

const MARK: &[u8] = b"HTTP/1.";

/// The longest request line that is found, before its version.
const LONGEST_LINE: usize = 8 << 10;

const METHODS: [&[u8]; 10] = [
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"PROPFIND",
];

const TELLING_OF_REQUESTS: [&[u8]; 1] = [b"host"];

const TELLING_OF_RESPONSES: [&[u8]; 6] = [
    b"connection",
    b"content-length",
    b"content-type",
    b"date",
    b"server",
    b"transfer-encoding",
];

impl Scan {
    /// Looks for a head of a kind, or of either, no longer than `limit`. `input` is what the last
    /// call had, apart from what was [`consumed`](Self::consumed), and more.
    pub fn find(&mut self, input: &[u8], kind: Option<Kind>, limit: usize) -> Found {
        loop {
            let Some(candidate) = &mut self.candidate else {
                if self.next(input, kind) {
                    continue;
                }
                let keep = self.from.saturating_sub(LONGEST_LINE + 1);
                return Found::NotBefore(keep.max(self.floor));
            };
            let start = candidate.start;
            match candidate.check(input, limit) {
                Checked::Good(end) => {
                    return Found::Head {
                        start,
                        end,
                        kind: candidate.kind,
                    };
                }
                Checked::More => return Found::NotBefore(start),
                Checked::Bad => {
                    // Another can begin in the line that is wrong, not before.
                    self.from = candidate.line;
                    self.candidate = None;
                }
            }
        }
    }

    /// Says that so many bytes, none of which can begin a head, are not in the input any more.
    pub fn consumed(&mut self, bytes: usize) {
        self.from -= bytes.min(self.from);
        self.floor -= bytes.min(self.floor);
        if let Some(candidate) = &mut self.candidate {
            candidate.start -= bytes;
            candidate.line -= bytes;
        }
    }

    /// Finds the next candidate; false: there is none yet.
    fn next(&mut self, input: &[u8], wanted: Option<Kind>) -> bool {
        while let Some(found) = memmem::find(&input[self.from..], MARK) {
            let mark = self.from + found;
            let Some(line) = memchr(b'\n', &input[mark..][..input.len().min(mark + 256) - mark])
            else {
                if input.len() - mark >= 256 {
                    self.from = mark + MARK.len();
                    continue;
                }
                self.from = mark;
                return false;
            };
            self.from = mark + MARK.len();
            let after = &input[mark + MARK.len()..mark + line];
            let after = after.strip_suffix(b"\r").unwrap_or(after);
            let candidate = match after {
                [b'0' | b'1', b' ', a, b, c] | [b'0' | b'1', b' ', a, b, c, b' ', ..]
                    if [a, b, c].iter().all(|it| it.is_ascii_digit()) =>
                {
                    Some((mark, Kind::Response))
                }
                [b'0' | b'1'] => request_start(&input[..mark]).map(|start| (start, Kind::Request)),
                _ => None,
            };
            let wanted = candidate.filter(|(_, kind)| wanted.is_none_or(|it| it == *kind));
            if let Some((start, kind)) = wanted {
                let line = mark + line + 1;
                self.floor = start;
                self.candidate = Some(Candidate {
                    start,
                    kind,
                    line,
                    scanned: 0,
                    telling: false,
                });
                return true;
            }
        }
        self.from = self.from.max(input.len().saturating_sub(MARK.len() - 1));
        false
    }
}

enum Checked {
    /// It ends here.
    Good(usize),
    Bad,
    More,
}

impl Candidate {
    /// Checks line by line, each once.
    fn check(&mut self, input: &[u8], limit: usize) -> Checked {
        loop {
            let room = (self.start + limit).min(input.len());
            let Some(line) = input.get(self.line..room) else {
                return Checked::Bad;
            };
            let scanned = self.scanned.min(line.len());
            let Some(end) = memchr(b'\n', &line[scanned..]).map(|end| scanned + end) else {
                self.scanned = line.len();
                return if room < input.len() {
                    Checked::Bad
                } else {
                    Checked::More
                };
            };
            let after = self.line + end + 1;
            let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
            if line.is_empty() {
                return if self.telling {
                    Checked::Good(after)
                } else {
                    Checked::Bad
                };
            }
            let Some(colon) = memchr(b':', line) else {
                return Checked::Bad;
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            let printable = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
            if name.is_empty()
                || !name.iter().all(|byte| is_token(*byte))
                || !value.iter().all(printable)
            {
                return Checked::Bad;
            }
            let telling: &[&[u8]] = match self.kind {
                Kind::Request => &TELLING_OF_REQUESTS,
                Kind::Response => &TELLING_OF_RESPONSES,
            };
            self.telling |= telling.iter().any(|it| it.eq_ignore_ascii_case(name));
            self.line = after;
            self.scanned = 0;
        }
    }
}

/// Where a request line begins that goes up to its version, if it is one.
fn request_start(before: &[u8]) -> Option<usize> {
    let before_version = before.strip_suffix(b" ")?;
    let window = before_version.len().saturating_sub(LONGEST_LINE);
    let space = window + memrchr(b' ', &before_version[window..])?;
    let target = &before_version[space + 1..];
    let visible = !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    // No method is the end of another.
    let method = METHODS
        .iter()
        .find(|method| before_version[..space].ends_with(method))?;
    (visible && space - method.len() >= window).then(|| space - method.len())
}
