//! One connection: both directions, put in order, and handed to what reads their protocol.

use crate::{Direction, Event, Limits};

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
    /// In an [`Event::Unreadable`] with [`Reason::Lost`](crate::Reason::Lost).
    pub lost: u64,
}

/// Both directions of a connection.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
}

impl Connection {
    /// A connection of which nothing was seen yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Takes what went one way. `offset` counts the bytes of this direction before it; the first
    /// chunk may be at any (not 0: the start of the connection was not captured). An offset beyond
    /// the end of the chunk before is a gap; bytes before that end are counted as
    /// [`Reason::Duplicate`](crate::Reason::Duplicate), so chunks of a direction are to be pushed
    /// in order.
    pub fn push(
        &mut self,
        direction: Direction,
        offset: u64,
        bytes: &[u8],
        sink: &mut impl FnMut(Event<'_>),
    ) {
        let _ = (direction, offset, bytes, sink, self.limits);
    }

    /// Says that the next `length` bytes of this direction were lost. Not needed where the offset
    /// of the next chunk says so.
    pub fn gap(&mut self, direction: Direction, length: u64, sink: &mut impl FnMut(Event<'_>)) {
        let _ = (direction, length, sink);
    }

    /// Says that the connection ended: what is open ends too. Idempotent.
    pub fn end(&mut self, sink: &mut impl FnMut(Event<'_>)) {
        let _ = sink;
    }

    /// What became of the bytes of a direction so far.
    #[must_use]
    pub fn tally(&self, direction: Direction) -> Tally {
        let _ = direction;
        Tally::default()
    }
}
