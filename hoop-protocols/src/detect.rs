//! Which protocol a connection is in, by the first bytes of either direction.

use crate::body::Kind;
use crate::chain::{self, ChainScan, Look};
use crate::connection::{Advance, Next, Passed};
use crate::http1::{self, Found, Scan};
use crate::http2::{self, PREFACE};
use crate::out::{Both, Out};
use crate::{Boundary, Direction, Event, FirstBytes, Reason, Role};

/// What is known before the protocol is.
#[derive(Debug, Default)]
pub(crate) struct Detect {
    sides: Both<Side>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Start {
    /// The first byte is the first of the connection, or of a tunnel.
    #[default]
    Captured,
    /// It is one from the middle.
    Missed,
}

#[derive(Debug, Default)]
struct Side {
    start: Start,
    /// It was said that the protocol is unknown.
    unknown: bool,
    head: Scan,
    frame: ChainScan,
    skipped: u64,
}

/// Empty lines before a first request.
const MOST_BLANK: usize = 64;

/// What the first bytes are.
enum First {
    More,
    Http1(Kind),
    /// HTTP/2, from a client.
    Preface,
    /// HTTP/2, frames.
    Frames,
    /// It looks like a frame from the middle of HTTP/2.
    Perhaps,
    Unknown,
}

impl Detect {
    /// For what is within a connection. `searching` directions are not at a boundary, and passed over
    /// so many bytes.
    pub fn new(searching: &Both<Option<Passed>>) -> Self {
        let sides = Both::new(|direction| match *searching.get(direction) {
            Some(Passed { skipped, .. }) => Side {
                start: Start::Missed,
                unknown: true,
                skipped,
                ..Side::default()
            },
            None => Side::default(),
        });
        Self { sides }
    }

    pub fn advance(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let side = self.sides.get_mut(direction);
        if input.is_empty() {
            return Advance::stop(0);
        }
        if !side.unknown {
            match first(input, side.start, out.limits.frame) {
                First::More => return Advance::stop(0),
                First::Http1(kind) => return Advance::next(0, self.http1(direction, kind)),
                First::Preface => return Advance::next(0, self.http2(direction, Some(direction))),
                First::Frames => return Advance::next(0, self.http2(direction, None)),
                First::Perhaps => {}
                First::Unknown => {
                    let Some(first) = look(input) else {
                        return Advance::stop(0);
                    };
                    side.unknown = true;
                    out.emit(Event::Unknown { direction, first });
                }
            }
        }
        self.search(direction, input, out)
    }

    /// Takes note that bytes are missing; what was pending before them is gone.
    pub fn gap(&mut self, direction: Direction) {
        let side = self.sides.get_mut(direction);
        *side = Side {
            start: Start::Missed,
            unknown: side.unknown,
            skipped: side.skipped,
            ..Side::default()
        };
    }

    pub fn end(&mut self, direction: Direction, out: &mut Out<'_>) {
        let side = self.sides.get(direction);
        if side.unknown && side.start == Start::Missed {
            let skipped = side.skipped;
            out.emit(Event::Resynchronized {
                direction,
                found: None,
                skipped,
            });
        }
    }

    /// Bytes that were held back will not be read.
    pub fn drop_held(&mut self, direction: Direction, bytes: u64) -> Reason {
        let side = self.sides.get_mut(direction);
        match side.unknown {
            true => {
                side.skipped += bytes;
                side.start.reason()
            }
            false => Reason::Fragment,
        }
    }

    /// Looks for either protocol in the middle of a connection.
    fn search(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let side = self.sides.get_mut(direction);
        let largest = out.limits.frame;
        let head = side.head.find(input, None, out.limits.head);
        let frame = side
            .frame
            .find(input, http2::ENOUGH, |bytes| http2::look(bytes, largest));
        // What is whole first is believed.
        let (passed, found) = match (head, frame) {
            (Found::Head { start, end, kind }, frame) if !matches!(frame, chain::Found::At { end: other, .. } if other < end) => {
                (start, Some((Boundary::Head, Some(kind))))
            }
            (_, chain::Found::At { start, .. }) => (start, Some((Boundary::Frame, None))),
            (
                Found::Head { start: head, .. } | Found::NotBefore(head),
                chain::Found::NotBefore(frame),
            ) => (head.min(frame), None),
        };
        let at_once = matches!(
            frame,
            chain::Found::NotBefore(0) | chain::Found::At { start: 0, .. }
        );
        if !at_once && !side.unknown {
            // What looked like a frame was none.
            side.unknown = true;
            out.emit(Event::Unknown {
                direction,
                first: FirstBytes::Binary,
            });
        }
        side.skipped += passed as u64;
        out.unreadable(direction, None, passed as u64, side.start.reason());
        let Some((boundary, kind)) = found else {
            side.head.consumed(passed);
            side.frame.consumed(passed);
            return Advance::stop(passed);
        };
        if side.unknown {
            let (found, skipped) = (Some(boundary), side.skipped);
            out.emit(Event::Resynchronized {
                direction,
                found,
                skipped,
            });
        }
        let next = match kind {
            Some(kind) => self.http1(direction, kind),
            None => self.http2(direction, None),
        };
        Advance::next(passed, next)
    }

    fn http1(&self, direction: Direction, kind: Kind) -> Next {
        let role = match (direction, kind) {
            (Direction::Sent, Kind::Request) | (Direction::Received, Kind::Response) => {
                Role::Client
            }
            _ => Role::Server,
        };
        Next::Http1 {
            role,
            searching: self.searching(direction),
        }
    }

    fn http2(&self, direction: Direction, client: Option<Direction>) -> Next {
        Next::Http2 {
            client,
            searching: self.searching(direction),
        }
    }

    /// The other direction is at a boundary, unless it was unknown.
    fn searching(&self, found: Direction) -> Both<Option<Passed>> {
        Both::new(|direction| {
            let side = self.sides.get(direction);
            let passed = Passed {
                skipped: side.skipped,
                reason: side.start.reason(),
            };
            (direction != found && side.unknown).then_some(passed)
        })
    }
}

impl Start {
    /// Why what is in no protocol can not be read.
    fn reason(self) -> Reason {
        match self {
            Self::Captured => Reason::UnknownProtocol,
            Self::Missed => Reason::NotFromStart,
        }
    }
}

fn first(input: &[u8], start: Start, largest: usize) -> First {
    // Servers pass over empty lines before a request: RFC 9112 section 2.2.
    let blank = input
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    if blank > 0 {
        return match http1::begins_exact_request(&input[blank..]) {
            Some(true) => First::Http1(Kind::Request),
            None if blank <= MOST_BLANK => First::More,
            _ => First::Unknown,
        };
    }
    let common = input.len().min(PREFACE.len());
    if input[..common] == PREFACE[..common] {
        return if common < PREFACE.len() {
            First::More
        } else {
            First::Preface
        };
    }
    match http1::begins_response(input) {
        None => return First::More,
        Some(true) => return First::Http1(Kind::Response),
        Some(false) => {}
    }
    match http1::begins_exact_request(input) {
        None => return First::More,
        Some(true) => return First::Http1(Kind::Request),
        Some(false) => {}
    }
    match start {
        Start::Captured => match http2::begins_with_settings(input) {
            None => First::More,
            Some(true) => First::Frames,
            Some(false) => First::Unknown,
        },
        Start::Missed => match http2::look(input, largest) {
            Look::More => First::More,
            Look::Frame { .. } => First::Perhaps,
            Look::No { .. } => First::Unknown,
        },
    }
}

/// What bytes in no known protocol look like; `None`: too few to tell.
fn look(input: &[u8]) -> Option<FirstBytes> {
    const LENGTH_HEADER: &[u8] = b"content-length:";
    const LONGEST_SPACE: usize = 64;
    let text = input.trim_ascii_start();
    let common = text.len().min(LENGTH_HEADER.len());
    match text {
        [] if input.len() <= LONGEST_SPACE => None,
        [b'{' | b'[', ..] => Some(FirstBytes::Json),
        _ if text[..common].eq_ignore_ascii_case(&LENGTH_HEADER[..common]) => {
            (common == LENGTH_HEADER.len()).then_some(FirstBytes::LengthHeader)
        }
        // An alert, a handshake, or data, of TLS 1.x.
        [0x15..=0x17] | [0x15..=0x17, 3] => None,
        [0x15..=0x17, 3, 0..=4, ..] => Some(FirstBytes::Tls),
        [b' '..=b'~', ..] | [] => Some(FirstBytes::Text),
        _ => Some(FirstBytes::Binary),
    }
}
