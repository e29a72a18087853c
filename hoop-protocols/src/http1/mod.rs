//! HTTP/1.0 and HTTP/1.1, RFC 9112.

mod chunked;
mod head;
mod search;
mod upgrade;

use std::collections::VecDeque;

use self::chunked::{Chunked, Step};
use self::head::{Asked, Framing};
pub(crate) use self::head::{begins_exact_request, begins_response};
pub(crate) use self::search::{Found, Scan};
use crate::body::{Body, Kind};
use crate::connection::{Advance, Next, Passed};
use crate::out::{Both, Out};
use crate::{Boundary, Direction, EndReason, Event, Headers, Reason};

/// Both directions of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Http1 {
    sides: Both<Side>,
    /// Which direction requests go; unknown until a head was seen.
    requests: Option<Direction>,
    /// Requests that have no response yet.
    pending: VecDeque<Asked>,
    /// The number of the next request.
    next: u64,
}

#[derive(Debug)]
enum Side {
    /// Before a head, of which so much was scanned for its end.
    Head { scanned: usize },
    /// In a body.
    Body { body: Body, left: Left },
    /// After a request for an upgrade or a tunnel: what follows depends on the response.
    Await,
    /// Looking for a head.
    Search {
        scan: Scan,
        reason: Reason,
        skipped: u64,
    },
}

#[derive(Debug)]
enum Left {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Http1 {
    /// `searching` directions are not at a boundary between messages, and passed over so many bytes.
    pub fn new(searching: &Both<Option<Passed>>) -> Self {
        let sides = Both::new(|direction| match *searching.get(direction) {
            Some(Passed { skipped, reason }) => Side::Search {
                scan: Scan::default(),
                reason,
                skipped,
            },
            None => Side::Head { scanned: 0 },
        });
        Self {
            sides,
            requests: None,
            pending: VecDeque::new(),
            next: 0,
        }
    }

    /// Reads on in a direction.
    pub fn advance(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let step = match self.sides.get_mut(direction) {
                Side::Head { .. } => self.head(direction, rest, out),
                Side::Body { .. } => self.body(direction, rest, out),
                Side::Await if rest.len() > out.limits.head => {
                    *self.sides.get_mut(direction) = Side::Head { scanned: 0 };
                    Advance::used(0)
                }
                Side::Await => return Advance::stop(used),
                Side::Search { .. } => self.search(direction, rest, out),
            };
            used += step.used;
            if step.next.is_some() || step.stop || step.wake {
                return Advance { used, ..step };
            }
        }
    }

    /// Takes note that bytes are missing; what was pending before them is gone.
    pub fn gap(&mut self, direction: Direction, bytes: u64, out: &mut Out<'_>) {
        let side = self.sides.get_mut(direction);
        match side {
            Side::Body { body, left } => {
                let within = match left {
                    Left::UntilClose => true,
                    Left::Length(left) => take(left, bytes),
                    // Not its last byte: data ends are not where a chunk would be lost.
                    Left::Chunked(Chunked::Data { left }) => *left > bytes && take(left, bytes),
                    Left::Chunked(_) => false,
                };
                if within {
                    body.lose(Some(bytes), out);
                    self.end_if_empty(direction, out);
                    return;
                }
                let Side::Body { mut body, .. } =
                    std::mem::replace(side, Side::search(Reason::Resynchronizing))
                else {
                    return;
                };
                body.lose(None, out);
                body.end(EndReason::Lost, out);
            }
            Side::Head { .. } | Side::Await => *side = Side::search(Reason::Resynchronizing),
            Side::Search { scan, .. } => *scan = Scan::default(),
        }
    }

    pub fn end(&mut self, direction: Direction, out: &mut Out<'_>) {
        match std::mem::replace(self.sides.get_mut(direction), Side::Head { scanned: 0 }) {
            Side::Body {
                body,
                left: Left::UntilClose,
            } => body.end(EndReason::Complete, out),
            Side::Body { body, .. } => body.end(EndReason::Closed, out),
            Side::Search { skipped, .. } => {
                out.emit(Event::Resynchronized {
                    direction,
                    found: None,
                    skipped,
                });
            }
            Side::Head { .. } | Side::Await => {}
        }
    }

    /// Bytes that were held back will not be read: they count as part of a search.
    pub fn drop_held(&mut self, direction: Direction, bytes: u64) -> Reason {
        match self.sides.get_mut(direction) {
            Side::Search {
                skipped, reason, ..
            } => {
                *skipped += bytes;
                *reason
            }
            _ => Reason::Fragment,
        }
    }

    fn kind(&self, direction: Direction) -> Option<Kind> {
        self.requests.map(|requests| match requests == direction {
            true => Kind::Request,
            false => Kind::Response,
        })
    }

    fn head(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let limit = out.limits.head;
        let kind = self.kind(direction);
        let Side::Head { scanned } = self.sides.get_mut(direction) else {
            return Advance::stop(0);
        };
        if *scanned == 0 {
            let blank = input
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            if blank > 0 {
                out.read(direction, blank);
                return Advance::used(blank);
            }
        }
        let kind = match kind {
            Some(Kind::Request) => {
                head::begins_request(input).map(|it| it.then_some(Kind::Request))
            }
            Some(Kind::Response) => begins_response(input).map(|it| it.then_some(Kind::Response)),
            None => match (begins_response(input), head::begins_request(input)) {
                (Some(true), _) => Some(Some(Kind::Response)),
                (None, _) | (_, None) => None,
                (_, Some(true)) => Some(Some(Kind::Request)),
                (_, Some(false)) => Some(None),
            },
        };
        let kind = match kind {
            None => return Advance::stop(0),
            Some(None) => return self.start_search(direction, 0, Reason::Malformed, out),
            Some(Some(kind)) => kind,
        };
        let end = match head::end(input, scanned) {
            Some(end) if end <= limit => end,
            None if input.len() <= limit => return Advance::stop(0),
            _ => return self.start_search(direction, limit, Reason::HeadTooLong, out),
        };
        *scanned = 0;
        let read = match kind {
            Kind::Request => self.request(direction, &input[..end], out),
            Kind::Response => self.response(direction, &input[..end], out),
        };
        let Some(mut step) = read else {
            return self.start_search(direction, end, Reason::Malformed, out);
        };
        out.read(direction, end);
        step.used = end;
        step
    }

    /// Passes over bytes that can not be read, and looks for a head behind them.
    fn start_search(
        &mut self,
        direction: Direction,
        bytes: usize,
        reason: Reason,
        out: &mut Out<'_>,
    ) -> Advance {
        out.unreadable(direction, None, bytes as u64, reason);
        let reason = if bytes == 0 {
            reason
        } else {
            Reason::Resynchronizing
        };
        *self.sides.get_mut(direction) = Side::Search {
            scan: Scan::default(),
            reason,
            skipped: bytes as u64,
        };
        Advance::used(bytes)
    }

    fn request(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> Option<Advance> {
        let head = head::parse_request(bytes, out.limits.header_list)?;
        self.requests.get_or_insert(direction);
        let stream = self.next;
        self.next += 1;
        let asked = head::asked(stream, &head);
        if self.pending.len() < out.limits.pipeline {
            self.pending.push_back(asked);
        }
        out.emit(Event::Request {
            direction,
            stream,
            head: &head,
        });
        let framing = head::frame_request(&head.headers, asked.connect);
        self.begin(
            Kind::Request,
            direction,
            stream,
            &head.headers,
            &framing,
            out,
        );
        Some(Advance::used(0))
    }

    fn response(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        out: &mut Out<'_>,
    ) -> Option<Advance> {
        let head = head::parse_response(bytes, out.limits.header_list)?;
        self.requests.get_or_insert(direction.reverse());
        let asked = self.pending.front().copied();
        let stream = asked.map_or(self.next, |asked| asked.stream);
        let interim = matches!(head.status, Some(100..=199)) && head.status != Some(101);
        if !interim && self.pending.pop_front().is_none() {
            self.next += 1;
        }
        if interim || head.status == Some(101) {
            out.emit(Event::Interim {
                direction,
                stream,
                head: &head,
            });
            let next = (!interim)
                .then(|| self.upgrade(stream, &head, out))
                .flatten();
            return Some(Advance {
                next,
                ..Advance::used(0)
            });
        }
        out.emit(Event::Response {
            direction,
            stream,
            head: &head,
        });
        let tunnel = asked.is_some_and(|it| it.connect) && matches!(head.status, Some(200..=299));
        let framing = match tunnel {
            true => Framing::Length(0),
            false => head::frame_response(&head, asked),
        };
        self.begin(
            Kind::Response,
            direction,
            stream,
            &head.headers,
            &framing,
            out,
        );
        let wake = self.release(direction.reverse());
        let searching = tunnel.then(|| self.leave(direction.reverse(), out));
        let next = searching.map(|searching| Next::Tunnel { searching });
        Some(Advance {
            next,
            wake,
            ..Advance::used(0)
        })
    }

    fn begin(
        &mut self,
        kind: Kind,
        direction: Direction,
        stream: u64,
        headers: &Headers,
        framing: &Framing,
        out: &mut Out<'_>,
    ) {
        let none = Vec::new();
        let (codings, left) = match framing {
            Framing::Length(length) => (&none, Some(Left::Length(*length))),
            Framing::Chunked(codings) => {
                (codings, Some(Left::Chunked(Chunked::Size { scanned: 0 })))
            }
            Framing::UntilClose(codings) => (codings, Some(Left::UntilClose)),
            Framing::Broken => (&none, None),
        };
        let body = Body::new(kind, direction, stream, headers, codings, out);
        let Some(left) = left else {
            body.end(EndReason::Malformed, out);
            *self.sides.get_mut(direction) = Side::search(Reason::Malformed);
            return;
        };
        *self.sides.get_mut(direction) = Side::Body { body, left };
        self.end_if_empty(direction, out);
    }

    fn body(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let Side::Body { body, left } = self.sides.get_mut(direction) else {
            return Advance::stop(0);
        };
        if input.is_empty() {
            return Advance::stop(0);
        }
        match left {
            Left::UntilClose => {
                body.write(input, out);
                Advance::stop(input.len())
            }
            Left::Length(left) => {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *left -= taken as u64;
                body.write(&input[..taken], out);
                self.end_if_empty(direction, out);
                Advance::used(taken)
            }
            Left::Chunked(chunked) => {
                match chunked.step(input, out.limits.head, out.limits.header_list) {
                    Step::More => Advance::stop(0),
                    Step::Framing(bytes) => {
                        out.read(direction, bytes);
                        Advance::used(bytes)
                    }
                    Step::Data(bytes) => {
                        body.write(&input[..bytes], out);
                        Advance::used(bytes)
                    }
                    Step::End(bytes, trailers) => {
                        out.read(direction, bytes);
                        self.end_body(direction, EndReason::Complete, Some(&trailers), out);
                        Advance::used(bytes)
                    }
                    Step::Broken => {
                        self.end_body(direction, EndReason::Malformed, None, out);
                        *self.sides.get_mut(direction) = Side::search(Reason::Malformed);
                        Advance::used(0)
                    }
                }
            }
        }
    }

    fn end_if_empty(&mut self, direction: Direction, out: &mut Out<'_>) {
        if matches!(
            self.sides.get(direction),
            Side::Body {
                left: Left::Length(0),
                ..
            }
        ) {
            self.end_body(direction, EndReason::Complete, None, out);
        }
    }

    fn end_body(
        &mut self,
        direction: Direction,
        reason: EndReason,
        trailers: Option<&Headers>,
        out: &mut Out<'_>,
    ) {
        // A request that waits for 101 or for a tunnel is the last one until the answer.
        let request = self.requests == Some(direction);
        let waits = request
            && self
                .pending
                .back()
                .is_some_and(|it| it.upgrade || it.connect);
        let after = if waits {
            Side::Await
        } else {
            Side::Head { scanned: 0 }
        };
        if let Side::Body { body, .. } = std::mem::replace(self.sides.get_mut(direction), after) {
            let stream = body.stream();
            if let Some(trailers) = trailers.filter(|it| !it.is_empty() || it.omitted() > 0) {
                out.emit(match request {
                    true => Event::RequestTrailers { stream, trailers },
                    false => Event::ResponseTrailers { stream, trailers },
                });
            }
            body.end(reason, out);
        }
    }

    fn search(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let kind = self.kind(direction);
        let side = self.sides.get_mut(direction);
        let Side::Search {
            scan,
            reason,
            skipped,
        } = side
        else {
            return Advance::stop(0);
        };
        let (passed, found) = match scan.find(input, kind, out.limits.head) {
            Found::Head { start, kind, .. } => (start, Some(kind)),
            Found::NotBefore(at) => (at, None),
        };
        *skipped += passed as u64;
        out.unreadable(direction, None, passed as u64, *reason);
        scan.consumed(passed);
        let Some(kind) = found else {
            return Advance::stop(passed);
        };
        let found = Some(Boundary::Head);
        out.emit(Event::Resynchronized {
            direction,
            found,
            skipped: *skipped,
        });
        *side = Side::Head { scanned: 0 };
        if kind == Kind::Response && self.pending.len() > 1 {
            // Responses were missed. Few pipeline: this one is to the last request.
            self.pending.drain(..self.pending.len() - 1);
        }
        Advance::used(passed)
    }
}

impl Side {
    fn search(reason: Reason) -> Self {
        Self::Search {
            scan: Scan::default(),
            reason,
            skipped: 0,
        }
    }
}

/// Takes from what is left, if there is as much.
fn take(left: &mut u64, bytes: u64) -> bool {
    let enough = *left >= bytes;
    if enough {
        *left -= bytes;
    }
    enough
}
