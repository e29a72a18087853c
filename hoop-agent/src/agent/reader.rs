//! The thread that reads plaintext: it alone reads that ring, and hands finished records on.

use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout},
    sys::eventfd::{EfdFlags, EventFd},
};
use serde::Serialize;

use super::{names::Reader as Names, recorder::Notes};
use crate::{
    capture::Looks,
    clock::{ClockOffset, boot_ns},
    confine, eintr,
    kernel::load::{PayloadLost, PayloadSource},
    pipeline::{
        attribute::gap_now,
        payload::{
            Conversations, Directory, Said, Settings, Stats,
            coverage::Libraries,
            piece::{self, Body},
        },
    },
};
use hoop_records::{Gap, Shared, Workload};

/// Pieces taken from the ring before anything else is looked at.
const BATCH: usize = 1024;

/// How often losses are looked at, in nanoseconds and in milliseconds.
const LOOK_NS: u64 = 1_000_000_000;
const LOOK_MS: u16 = 1000;

/// The thread, which ends when this is dropped.
pub struct PayloadReader {
    counts: Arc<Mutex<Counts>>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// What was read.
    pub read: Stats,
    /// What the kernel could not hand over.
    pub lost: PayloadLost,
}

struct Thread {
    source: PayloadSource,
    conversations: Conversations,
    names: Names,
    notes: Notes,
    looks: Option<Looks>,
    stop: Arc<EventFd>,
    counts: Arc<Mutex<Counts>>,
    /// As far as gap records tell of it.
    told: PayloadLost,
    looked_ns: u64,
}

/// What is known of workloads, and of the libraries of processes.
struct Known<'a> {
    names: &'a Names,
    looks: &'a Option<Looks>,
}

impl Directory for Known<'_> {
    fn captured(&self, cgroup_id: u64) -> Option<(Shared<Workload>, Arc<Settings>)> {
        self.names.captured(cgroup_id)
    }

    fn libraries(&self, tgid: u32) -> Libraries {
        let known = self.looks.as_ref().map(|looks| looks.libraries(tgid));
        known.unwrap_or_default()
    }
}

impl PayloadReader {
    /// Starts the thread. Processes that map files are looked at by `looks`.
    ///
    /// # Errors
    ///
    /// When the thread cannot be made.
    pub fn start(
        source: PayloadSource,
        names: Names,
        notes: Notes,
        looks: Option<Looks>,
    ) -> io::Result<Self> {
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let counts = Arc::<Mutex<Counts>>::default();
        let thread = Thread {
            source,
            conversations: Conversations::default(),
            names,
            notes,
            looks,
            stop: Arc::clone(&stop),
            counts: Arc::clone(&counts),
            told: PayloadLost::default(),
            looked_ns: 0,
        };
        let thread = std::thread::Builder::new()
            .name("payload".into())
            .spawn(move || {
                if let Err(error) = confine::thread() {
                    tracing::warn!(%error, "the reader of plaintext keeps all capabilities");
                }
                thread.run();
            })?;
        Ok(Self {
            counts,
            stop,
            thread: Some(thread),
        })
    }

    /// What was counted, some moments ago at most.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PayloadReader {
    /// Drains what is there, writes what was said so far, and ends the thread.
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Thread {
    fn run(mut self) {
        loop {
            let taken = self.drain();
            let now = boot_ns();
            if now.saturating_sub(self.looked_ns) >= LOOK_NS {
                self.looked_ns = now;
                self.settle(now);
                self.account();
            }
            if taken < BATCH && self.wait() {
                break;
            }
        }
        while self.drain() > 0 {}
        let notes = &self.notes;
        self.conversations
            .end_all(ClockOffset::measure(), &mut |(record, process): Said| {
                notes.record_about(record, process);
            });
        self.account();
    }

    /// Takes a batch of pieces, and returns how many there were.
    fn drain(&mut self) -> usize {
        let Self {
            source,
            conversations,
            names,
            notes,
            looks,
            ..
        } = self;
        names.refresh();
        let offset = ClockOffset::measure();
        for channel in conversations.refused() {
            if let Err(error) = source.refuse(channel) {
                tracing::warn!(%error, "a pipe that is none of JSON-RPC's goes on being read");
            }
        }
        let mut sink = |(record, process): Said| notes.record_about(record, process);
        let mut taken = 0;
        while taken < BATCH {
            let Some(bytes) = source.ring.next() else {
                break;
            };
            taken += 1;
            let piece = match piece::decode(&bytes) {
                Ok(piece) => piece,
                Err(error) => {
                    tracing::warn!(%error, "a malformed piece of plaintext");
                    conversations.malformed();
                    continue;
                }
            };
            let header = &piece.header;
            tracing::trace!(
                tgid = header.tgid,
                object = header.object,
                kind = header.kind,
                call = header.call,
                offset = header.offset,
                len = header.len,
                skipped = header.skipped,
                "piece"
            );
            match piece.body {
                Body::Mapped => {
                    if let Some(looks) = looks {
                        looks.look(piece.header.tgid);
                    }
                }
                Body::Hello { .. } => {
                    // Perhaps by a library that was mapped in a way that nobody noticed.
                    if let Some(looks) = looks {
                        looks.look(piece.header.tgid);
                    }
                    names.refresh();
                    let directory = Known { names, looks };
                    conversations.take(&piece, &directory, offset, &mut sink);
                }
                _ => {
                    names.refresh();
                    let directory = Known { names, looks };
                    conversations.take(&piece, &directory, offset, &mut sink);
                }
            }
        }
        taken
    }

    /// Says of which connections nothing was read.
    fn settle(&mut self, now_ns: u64) {
        let directory = Known {
            names: &self.names,
            looks: &self.looks,
        };
        let notes = &self.notes;
        self.conversations.settle(
            now_ns,
            &directory,
            ClockOffset::measure(),
            &mut |(record, process): Said| notes.record_about(record, process),
        );
    }

    /// Says what was lost since the last time, and publishes the counts.
    fn account(&mut self) {
        let lost = match self.source.lost() {
            Ok(lost) => lost,
            Err(error) => {
                tracing::warn!(%error, "the kernel's counters cannot be read");
                return;
            }
        };
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let causes = [
            (
                since(lost.pieces, self.told.pieces),
                format!(
                    "payload ring full: {} bytes of plaintext",
                    since(lost.bytes, self.told.bytes)
                ),
            ),
            (
                since(lost.calls, self.told.calls),
                "too many calls of TLS libraries at one time".to_owned(),
            ),
        ];
        for (count, cause) in causes.into_iter().filter(|(count, _)| *count > 0) {
            self.notes.record(gap_now(Gap {
                count,
                cause,
                ..Gap::default()
            }));
        }
        self.told = lost;
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = Counts {
            read: self.conversations.stats(),
            lost,
        };
    }

    /// Waits for a piece. True: the thread is to end.
    fn wait(&self) -> bool {
        let mut fds = [
            PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.source.ring.as_fd(), PollFlags::POLLIN),
        ];
        if let Err(error) = eintr::poll(&mut fds, PollTimeout::from(LOOK_MS)) {
            tracing::error!(%error, "poll");
        }
        fds[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLIN))
    }
}
