//! One connection: both directions, put in order, and handed to what reads their protocol.

use crate::buffer::Buffer;
use crate::detect::Detect;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::out::{Both, Memory, Out};
use crate::websocket::{Extension, WebSocket};
use crate::{Direction, Event, Limits, Protocol, Reason, Role};

/// How many bytes of a direction went where.
///
/// After [`Connection::end`], `pushed == read + unreadable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Given to [`Connection::push`].
    pub pushed: u64,
    /// Read: heads, bodies, framing.
    pub read: u64,
    /// In an [`Event::Unreadable`], lost bytes apart.
    pub unreadable: u64,
    /// In an [`Event::Unreadable`] with [`Reason::Lost`].
    pub lost: u64,
}

/// Both directions of a connection.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    memory: Memory,
    tallies: Both<Tally>,
    flows: Both<Flow>,
    speaks: Speaks,
}

/// How far a parser came.
#[derive(Debug)]
pub(crate) struct Advance {
    /// So many bytes are dealt with and counted.
    pub used: usize,
    /// More bytes are needed to go on.
    pub stop: bool,
    /// The other direction can go on with what it held back.
    pub wake: bool,
    /// Another protocol follows, in both directions.
    pub next: Option<Next>,
}

/// What was passed over in search of something to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub skipped: u64,
    pub reason: Reason,
}

/// A change of protocol.
#[derive(Debug)]
pub(crate) enum Next {
    /// `searching`: directions that are not at a boundary, with how many bytes were passed over.
    Http1 {
        role: Role,
        searching: Both<Option<Passed>>,
    },
    /// With the client's direction, as far as it is known.
    Http2 {
        client: Option<Direction>,
        searching: Both<Option<Passed>>,
    },
    WebSocket {
        stream: u64,
        client: Direction,
        extension: Extension,
        searching: Both<Option<Passed>>,
    },
    /// After CONNECT or an upgrade to something else: anything.
    Tunnel { searching: Both<Option<Passed>> },
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    /// The offset that the next chunk should have; `None` before the first.
    expected: Option<u64>,
    /// What the parser needs more bytes for.
    held: Buffer,
}

#[derive(Debug)]
enum Speaks {
    Unknown(Box<Detect>),
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    WebSocket(Box<WebSocket>),
}

impl Connection {
    /// A connection of which nothing was seen yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory: Memory::new(limits.decoder_memory),
            tallies: Both::default(),
            flows: Both::new(|_| Flow::default()),
            speaks: Speaks::Unknown(Box::default()),
        }
    }

    /// Takes what went one way. `offset` counts the bytes of this direction before it; the first
    /// chunk may be at any (not 0: the start of the connection was not captured). An offset beyond
    /// the end of the chunk before is a gap; bytes before that end are counted as
    /// [`Reason::Duplicate`], so chunks of a direction are to be pushed in order.
    pub fn push(
        &mut self,
        direction: Direction,
        offset: u64,
        bytes: &[u8],
        sink: &mut impl FnMut(Event<'_>),
    ) {
        self.push_dyn(direction, offset, bytes, sink);
    }

    /// Says that the next `length` bytes of this direction were lost. Not needed where the offset
    /// of the next chunk says so.
    pub fn gap(&mut self, direction: Direction, length: u64, sink: &mut impl FnMut(Event<'_>)) {
        self.gap_dyn(direction, length, sink);
    }

    /// Says that the connection ended: what is open ends too. What is pushed after that begins anew.
    pub fn end(&mut self, sink: &mut impl FnMut(Event<'_>)) {
        self.end_dyn(sink);
    }

    /// What became of the bytes of a direction so far.
    #[must_use]
    pub fn tally(&self, direction: Direction) -> Tally {
        *self.tallies.get(direction)
    }

    fn push_dyn(
        &mut self,
        direction: Direction,
        offset: u64,
        bytes: &[u8],
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        self.tallies.get_mut(direction).pushed += bytes.len() as u64;
        let expected = match self.flows.get(direction).expected {
            Some(expected) => expected,
            None => {
                if offset > 0 {
                    // It joins late, as behind a gap.
                    self.miss(direction, offset, sink);
                }
                offset
            }
        };
        self.flows.get_mut(direction).expected = Some(expected);
        if offset > expected {
            self.gap_dyn(direction, offset - expected, sink);
        }
        let behind = usize::try_from(expected.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (old, new) = bytes.split_at(behind.min(bytes.len()));
        if !old.is_empty() {
            let count = old.len() as u64;
            self.out(sink)
                .unreadable(direction, None, count, Reason::Duplicate);
        }
        if let Some(expected) = &mut self.flows.get_mut(direction).expected {
            *expected = expected.saturating_add(new.len() as u64);
        }
        self.feed(direction, new, sink);
    }

    fn gap_dyn(&mut self, direction: Direction, length: u64, sink: &mut dyn FnMut(Event<'_>)) {
        if length == 0 {
            return;
        }
        let flow = self.flows.get_mut(direction);
        flow.expected = Some(flow.expected.unwrap_or_default().saturating_add(length));
        self.drop_held(direction, sink);
        self.out(sink)
            .unreadable(direction, None, length, Reason::Lost);
        self.miss(direction, length, sink);
    }

    /// Tells the parser that bytes are missing.
    fn miss(&mut self, direction: Direction, length: u64, sink: &mut dyn FnMut(Event<'_>)) {
        let (mut out, speaks) = self.split(sink);
        match speaks {
            Speaks::Unknown(it) => it.gap(direction),
            Speaks::Http1(it) => it.gap(direction, length, &mut out),
            Speaks::Http2(it) => it.gap(direction, length, &mut out),
            Speaks::WebSocket(it) => it.gap(direction, length, &mut out),
        }
    }

    fn end_dyn(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        for direction in [Direction::Sent, Direction::Received] {
            self.drop_held(direction, sink);
            let (mut out, speaks) = self.split(sink);
            match speaks {
                Speaks::Unknown(it) => it.end(direction, &mut out),
                Speaks::Http1(it) => it.end(direction, &mut out),
                Speaks::Http2(it) => it.end(direction, &mut out),
                Speaks::WebSocket(it) => it.end(direction, &mut out),
            }
        }
        self.flows = Both::new(|_| Flow::default());
        self.speaks = Speaks::Unknown(Box::default());
    }

    /// What is held back will not be read any more.
    fn drop_held(&mut self, direction: Direction, sink: &mut dyn FnMut(Event<'_>)) {
        let held = self.flows.get_mut(direction).held.clear() as u64;
        let (mut out, speaks) = self.split(sink);
        let reason = match speaks {
            Speaks::Unknown(it) => it.drop_held(direction, held),
            Speaks::Http1(it) => it.drop_held(direction, held),
            Speaks::Http2(it) => it.drop_held(direction, held),
            Speaks::WebSocket(it) => it.drop_held(direction, held),
        };
        out.unreadable(direction, None, held, reason);
    }

    /// Reads new bytes: from the chunk itself where nothing is held, else behind what is held.
    fn feed(&mut self, direction: Direction, mut bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        /// How much of a chunk is copied behind what is held at a time: often a little is enough.
        const PIECE: usize = 8 << 10;
        let mut held = std::mem::take(&mut self.flows.get_mut(direction).held);
        while !bytes.is_empty() {
            let old = held.len();
            if old == 0 {
                let used = self.advance(direction, bytes, sink);
                held.extend(&bytes[used..]);
                break;
            }
            let piece = bytes.len().min(PIECE.max(old));
            held.extend(&bytes[..piece]);
            let used = self.advance(direction, held.bytes(), sink);
            if used >= old {
                bytes = &bytes[used - old..];
                held.clear();
            } else {
                bytes = &bytes[piece..];
                held.consume(used);
            }
        }
        self.flows.get_mut(direction).held = held;
    }

    /// Lets the parser read, through changes of protocol. Gives how many bytes are dealt with.
    fn advance(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        sink: &mut dyn FnMut(Event<'_>),
    ) -> usize {
        let mut used = 0;
        loop {
            let (mut out, speaks) = self.split(sink);
            let rest = &bytes[used..];
            let step = match speaks {
                Speaks::Unknown(it) => it.advance(direction, rest, &mut out),
                Speaks::Http1(it) => it.advance(direction, rest, &mut out),
                Speaks::Http2(it) => it.advance(direction, rest, &mut out),
                Speaks::WebSocket(it) => it.advance(direction, rest, &mut out),
            };
            used += step.used;
            let changed = step.next.is_some();
            if let Some(next) = &step.next {
                self.change(next, sink);
            }
            if changed || step.wake {
                // Before anything more is read here: what is told must not depend on how much of it
                // is there.
                self.resume(direction.reverse(), sink);
            } else if step.stop {
                return used;
            }
        }
    }

    /// Reads on in what is held.
    fn resume(&mut self, direction: Direction, sink: &mut dyn FnMut(Event<'_>)) {
        let mut held = std::mem::take(&mut self.flows.get_mut(direction).held);
        if held.len() > 0 {
            let used = self.advance(direction, held.bytes(), sink);
            held.consume(used);
            self.flows.get_mut(direction).held = held;
        }
    }

    fn change(&mut self, next: &Next, sink: &mut dyn FnMut(Event<'_>)) {
        let role_of = |client: Direction| match client {
            Direction::Sent => Role::Client,
            Direction::Received => Role::Server,
        };
        let (speaks, protocol, role) = match next {
            Next::Http1 { role, searching } => {
                let http1 = Http1::new(searching);
                (Speaks::Http1(Box::new(http1)), Protocol::Http1, Some(*role))
            }
            Next::Http2 { client, searching } => {
                let http2 = Http2::new(*client, searching, &self.limits);
                (
                    Speaks::Http2(Box::new(http2)),
                    Protocol::Http2,
                    client.map(role_of),
                )
            }
            Next::WebSocket {
                stream,
                client,
                extension,
                searching,
            } => {
                let websocket = WebSocket::new(*stream, *client, *extension, searching);
                let role = Some(role_of(*client));
                (
                    Speaks::WebSocket(Box::new(websocket)),
                    Protocol::WebSocket,
                    role,
                )
            }
            Next::Tunnel { searching } => {
                self.speaks = Speaks::Unknown(Box::new(Detect::new(searching)));
                return;
            }
        };
        self.speaks = speaks;
        self.out(sink).emit(Event::Protocol { protocol, role });
    }

    fn out<'s>(&'s mut self, sink: &'s mut dyn FnMut(Event<'_>)) -> Out<'s> {
        self.split(sink).0
    }

    fn split<'s>(&'s mut self, sink: &'s mut dyn FnMut(Event<'_>)) -> (Out<'s>, &'s mut Speaks) {
        let out = Out::new(&self.limits, &self.memory, &mut self.tallies, sink);
        (out, &mut self.speaks)
    }
}

impl Advance {
    /// So many bytes are dealt with; go on.
    pub fn used(used: usize) -> Self {
        Self {
            used,
            stop: false,
            wake: false,
            next: None,
        }
    }

    /// So many bytes are dealt with; more are needed.
    pub fn stop(used: usize) -> Self {
        Self {
            stop: true,
            ..Self::used(used)
        }
    }

    /// So many bytes are dealt with; the rest is in another protocol.
    pub fn next(used: usize, next: Next) -> Self {
        Self {
            next: Some(next),
            ..Self::used(used)
        }
    }
}
