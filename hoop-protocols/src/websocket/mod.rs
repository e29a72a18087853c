//! WebSocket, RFC 6455, with permessage-deflate, RFC 7692.

mod frame;
mod message;

use self::frame::Frame;
use self::message::Assembly;
use crate::chain::{ChainScan, Found, Look};
use crate::connection::{Advance, Passed};
use crate::out::{Both, Out};
use crate::{Boundary, Direction, Event, Reason};

/// Both directions of a WebSocket connection.
#[derive(Debug)]
pub(crate) struct WebSocket {
    sides: Both<Side>,
}

/// What was agreed about compression, by who sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    /// permessage-deflate is on.
    deflate: bool,
    client_no_context_takeover: bool,
    server_no_context_takeover: bool,
}

#[derive(Debug)]
struct Side {
    /// Sends masked frames.
    client: bool,
    /// May send compressed messages.
    deflate: bool,
    state: State,
    message: Assembly,
}

#[derive(Debug)]
enum State {
    Frame,
    Payload {
        frame: Frame,
        left: u64,
    },
    Search {
        scan: ChainScan,
        reason: Reason,
        skipped: u64,
    },
}

/// So many frames that are valid and follow one another are believed.
const ENOUGH: u32 = 5;

impl Extension {
    /// From the elements of the response's `Sec-WebSocket-Extensions`.
    pub fn agreed<'a>(elements: impl Iterator<Item = &'a str>) -> Self {
        let mut agreed = Self::default();
        for element in elements {
            let mut parts = element.split(';').map(str::trim);
            if parts.next() != Some("permessage-deflate") {
                continue;
            }
            agreed.deflate = true;
            for parameter in parts {
                match parameter {
                    "client_no_context_takeover" => agreed.client_no_context_takeover = true,
                    "server_no_context_takeover" => agreed.server_no_context_takeover = true,
                    // Smaller windows need nothing.
                    _ => {}
                }
            }
        }
        agreed
    }
}

impl WebSocket {
    /// `searching` directions are not at a boundary between frames, and passed over so many bytes.
    pub fn new(
        stream: u64,
        client: Direction,
        extension: Extension,
        searching: &Both<Option<Passed>>,
    ) -> Self {
        let sides = Both::new(|direction| {
            let is_client = direction == client;
            let takeover = match is_client {
                true => !extension.client_no_context_takeover,
                false => !extension.server_no_context_takeover,
            };
            let state = match *searching.get(direction) {
                Some(Passed { skipped, reason }) => State::Search {
                    scan: ChainScan::default(),
                    reason,
                    skipped,
                },
                None => State::Frame,
            };
            let message = Assembly::new(direction, stream, takeover);
            Side {
                client: is_client,
                deflate: extension.deflate,
                state,
                message,
            }
        });
        Self { sides }
    }

    /// Reads on in a direction.
    pub fn advance(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let side = self.sides.get_mut(direction);
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let step = match &side.state {
                State::Frame => side.frame(direction, rest, out),
                State::Payload { .. } => side.payload(rest, out),
                State::Search { .. } => side.search(direction, rest, out),
            };
            used += step.used;
            if step.stop {
                return Advance { used, ..step };
            }
        }
    }

    /// Takes note that bytes are missing; what was pending before them is gone.
    pub fn gap(&mut self, direction: Direction, bytes: u64, out: &mut Out<'_>) {
        let side = self.sides.get_mut(direction);
        match &mut side.state {
            State::Payload { frame, left } if *left >= bytes => {
                *left -= bytes;
                side.message.lose(frame);
                side.end_if_empty(out);
            }
            State::Search { scan, .. } => *scan = ChainScan::default(),
            _ => {
                side.message.abandon(out);
                side.state = State::search(Reason::Resynchronizing);
            }
        }
    }

    pub fn end(&mut self, direction: Direction, out: &mut Out<'_>) {
        let side = self.sides.get_mut(direction);
        side.message.abandon(out);
        if let State::Search { skipped, .. } = side.state {
            out.emit(Event::Resynchronized {
                direction,
                found: None,
                skipped,
            });
        }
    }

    /// Bytes that were held back will not be read: they count as part of a search.
    pub fn drop_held(&mut self, direction: Direction, bytes: u64) -> Reason {
        match &mut self.sides.get_mut(direction).state {
            State::Search {
                skipped, reason, ..
            } => {
                *skipped += bytes;
                *reason
            }
            _ => Reason::Fragment,
        }
    }
}

impl Side {
    fn frame(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let frame = match Frame::parse(input) {
            Ok(None) => return Advance::stop(0),
            Ok(Some(frame)) if self.is_valid(&frame) && self.message.begin(&frame, out) => frame,
            _ => {
                self.message.abandon(out);
                // Past a byte, so that the search does not come back to here.
                out.unreadable(direction, None, 1, Reason::Malformed);
                let scan = ChainScan::default();
                self.state = State::Search {
                    scan,
                    reason: Reason::Malformed,
                    skipped: 1,
                };
                return Advance::used(1);
            }
        };
        out.read(direction, frame.header);
        let rest = &input[frame.header..];
        let whole = usize::try_from(frame.length)
            .ok()
            .and_then(|length| rest.get(..length));
        if let Some(payload) = whole
            && self.message.whole(&frame, payload, out)
        {
            return Advance::used(frame.header + payload.len());
        }
        self.state = State::Payload {
            frame,
            left: frame.length,
        };
        self.end_if_empty(out);
        Advance::used(frame.header)
    }

    fn is_valid(&self, frame: &Frame) -> bool {
        !frame.rsv1 || self.deflate
    }

    fn payload(&mut self, input: &[u8], out: &mut Out<'_>) -> Advance {
        let State::Payload { frame, left } = &mut self.state else {
            return Advance::stop(0);
        };
        if input.is_empty() {
            return Advance::stop(0);
        }
        let length = usize::try_from(*left)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let at = frame.length - *left;
        *left -= length as u64;
        self.message.write(frame, at, &input[..length], out);
        self.end_if_empty(out);
        Advance::used(length)
    }

    fn end_if_empty(&mut self, out: &mut Out<'_>) {
        if let State::Payload { frame, left: 0 } = self.state {
            self.message.end_frame(&frame, out);
            self.state = State::Frame;
        }
    }

    fn search(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let (client, deflate, largest) = (self.client, self.deflate, out.limits.frame);
        let State::Search {
            scan,
            reason,
            skipped,
        } = &mut self.state
        else {
            return Advance::stop(0);
        };
        let found = scan.find(input, ENOUGH, |bytes| match Frame::parse(bytes) {
            Ok(None) => Look::More,
            Ok(Some(frame)) if frame.is_usual(client, deflate, largest) => Look::Frame {
                weight: 1,
                header: frame.header,
                length: frame.header + frame.length as usize,
            },
            _ => Look::No { bytes: 1 },
        });
        let (Found::At { start: passed, .. } | Found::NotBefore(passed)) = found;
        scan.consumed(passed);
        *skipped += passed as u64;
        out.unreadable(direction, None, passed as u64, *reason);
        if found == Found::NotBefore(passed) {
            return Advance::stop(passed);
        }
        let (found, skipped) = (Some(Boundary::WebSocketFrame), *skipped);
        out.emit(Event::Resynchronized {
            direction,
            found,
            skipped,
        });
        self.state = State::Frame;
        Advance::used(passed)
    }
}

impl State {
    fn search(reason: Reason) -> Self {
        Self::Search {
            scan: ChainScan::default(),
            reason,
            skipped: 0,
        }
    }
}
