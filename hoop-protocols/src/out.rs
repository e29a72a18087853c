//! Where events go, and the count of what became of every byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Direction, Event, Limits, Reason, Tally};

/// What every parser writes to.
pub(crate) struct Out<'s> {
    pub limits: &'s Limits,
    pub memory: &'s Memory,
    sink: &'s mut dyn FnMut(Event<'_>),
    tallies: &'s mut Both<Tally>,
}

/// One of something for each direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Both<T> {
    sent: T,
    received: T,
}

/// What is left for the windows of decoders, shared by all that a connection has.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<AtomicUsize>);

/// Memory that a decoder took; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    size: usize,
    memory: Memory,
}

impl<'s> Out<'s> {
    pub fn new(
        limits: &'s Limits,
        memory: &'s Memory,
        tallies: &'s mut Both<Tally>,
        sink: &'s mut dyn FnMut(Event<'_>),
    ) -> Self {
        Self {
            limits,
            memory,
            sink,
            tallies,
        }
    }

    pub fn emit(&mut self, event: Event<'_>) {
        (self.sink)(event);
    }

    /// Counts bytes that were understood.
    pub fn read(&mut self, direction: Direction, bytes: usize) {
        self.tallies.get_mut(direction).read += bytes as u64;
    }

    /// Says that bytes were not.
    pub fn unreadable(
        &mut self,
        direction: Direction,
        stream: Option<u64>,
        bytes: u64,
        reason: Reason,
    ) {
        if bytes == 0 {
            return;
        }
        let tally = self.tallies.get_mut(direction);
        match reason {
            Reason::Lost => tally.lost = tally.lost.saturating_add(bytes),
            _ => tally.unreadable += bytes,
        }
        self.emit(Event::Unreadable {
            direction,
            stream,
            bytes,
            reason,
        });
    }
}

impl<T> Both<T> {
    pub fn new(mut make: impl FnMut(Direction) -> T) -> Self {
        Self {
            sent: make(Direction::Sent),
            received: make(Direction::Received),
        }
    }

    pub fn get(&self, direction: Direction) -> &T {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    pub fn get_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }
}

impl Memory {
    pub fn new(size: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(size)))
    }

    /// Takes so many bytes, if they are left.
    pub fn reserve(&self, size: usize) -> Result<Reservation, Reason> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(size)
            })
            .map(|_| Reservation {
                size,
                memory: self.clone(),
            })
            .map_err(|_| Reason::DecoderMemory)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.0.fetch_add(self.size, Ordering::Relaxed);
    }
}
