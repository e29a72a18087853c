//! The thread that turns events into records: it alone reads the ring and writes the log.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use hoop_common::{
    event::{LossCause, ProcessKey},
    limits::CONTROL_RING_BYTES,
};
use hoop_log::Tail;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout},
    sys::eventfd::{EfdFlags, EventFd},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{counters::Counters, names::Reader, output::Output};
use crate::{
    audit::log::Log,
    clock::{ClockOffset, boot_ns},
    confine, eintr,
    kernel::load::EventSource,
    pipeline::{
        Context, Pipeline,
        gap::CpuCounters,
        process::{Limits, ProcessTable, Seed},
    },
};
use hoop_records::{Kind, Record, Result as VerdictResult, Verdict};

/// Notes that wait for the thread at one time. Senders wait when it is full.
const NOTES: usize = 1024;

/// How often the thread looks into the ring while events arrive.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// Longest sleep without a look into the ring.
const SLEEP: Duration = Duration::from_secs(1);

/// How often numbers are settled while events arrive.
const SETTLE_NS: u64 = 100_000_000;

/// Settles after the last event before the thread sleeps until the next: a lost number is given
/// up by then.
const SETTLES_WHEN_IDLE: u32 = 20;

/// Where the numbers are saved, in the state directory.
const POSITIONS: &str = "positions.json";

/// Events taken from the ring before notes are looked at again.
const BATCH: usize = 4096;

/// The thread, which ends when this is dropped.
pub struct Recorder {
    notes: Notes,
    tail: Tail,
    thread: Option<JoinHandle<()>>,
}

/// Removes what was saved of the numbers.
///
/// # Errors
///
/// When the file cannot be removed.
pub fn forget(state_dir: &Path) -> io::Result<()> {
    match fs::remove_file(state_dir.join(POSITIONS)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A handle to give the thread something to record.
#[derive(Clone)]
pub struct Notes {
    sender: SyncSender<Note>,
    wake: Arc<EventFd>,
}

/// What the thread counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events numbered by the kernel since this daemon started.
    pub numbered: u64,
    /// Of these, represented in records.
    pub recorded: u64,
    /// Of these, counted in gap records.
    pub lost: u64,
    /// Number of the last record on disk.
    pub last_record: u64,
    /// Whether records cannot be written at the moment.
    pub log_failing: bool,
    /// Verdicts by result: allowed, denied, shadow.
    pub verdicts: Verdicts,
}

/// Verdicts since the daemon started. A shadow is no denial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Allowed.
    pub allow: u64,
    /// Denied.
    pub deny: u64,
    /// Allowed, and `enforce` would have denied it.
    pub shadow: u64,
}

enum Note {
    Record(Box<Record>),
    /// About a process, which only this thread knows more of.
    About(Box<Record>, ProcessKey),
    Seed(Vec<Seed>),
    Count(oneshot::Sender<Counts>),
    /// Events may be read from now on.
    Begin,
    Stop,
}

struct Thread {
    source: EventSource,
    pipeline: Pipeline,
    names: Reader,
    output: Output,
    notes: Receiver<Note>,
    wake: Arc<EventFd>,
    denied: mpsc::Sender<u64>,
    condemned: mpsc::Sender<()>,
    /// As far as `condemned` was told.
    condemned_seen: u64,
    positions: PathBuf,
    /// The kernel's counters when this daemon started.
    start: u64,
    idle_settles: u32,
    last_settle_ns: u64,
    reading: bool,
    /// Records about processes, until every event from before them was taken.
    abouts: Vec<(Box<Record>, ProcessKey)>,
    snapshot: Option<Snapshot>,
    /// Those who asked while a snapshot was waiting to be settled.
    asked: Vec<oneshot::Sender<Counts>>,
}

impl Recorder {
    /// Starts the thread. Workloads whose TCP packets the backstop drops are named on `denied`;
    /// `condemned` is told when there are processes to end.
    ///
    /// # Errors
    ///
    /// When the kernel's counters cannot be read or the thread not made.
    pub fn start(
        source: EventSource,
        log: Log,
        names: Reader,
        state_dir: &Path,
        counters: Counters,
        denied: mpsc::Sender<u64>,
        condemned: mpsc::Sender<()>,
    ) -> io::Result<Self> {
        let (sender, notes) = sync_channel(NOTES);
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        let tail = log.tail();
        let mut pipeline = Pipeline::new(ProcessTable::new(Limits::default(), boot_ns()));
        let positions = state_dir.join(POSITIONS);
        let mut start = 0;
        for position in read_positions(&positions, &source.identity()) {
            start = u64::saturating_add(start, position.numbered);
            pipeline.gaps_mut().resume(position);
        }
        let thread = Thread {
            source,
            pipeline,
            names,
            output: Output::new(log, counters)?,
            notes,
            wake: Arc::clone(&wake),
            denied,
            condemned,
            condemned_seen: 0,
            positions,
            start,
            idle_settles: 0,
            last_settle_ns: 0,
            reading: false,
            abouts: Vec::new(),
            snapshot: None,
            asked: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                if let Err(error) = confine::thread() {
                    tracing::warn!(%error, "the recorder keeps all capabilities");
                }
                thread.run();
            })?;
        Ok(Self {
            notes: Notes { sender, wake },
            tail,
            thread: Some(thread),
        })
    }

    /// Lets the thread read events. Until then it only takes notes, so that events which an
    /// earlier daemon left find the processes and names that they are about.
    pub fn begin(&self) {
        self.notes.send(Note::Begin);
    }

    /// Adds a record that the daemon itself made.
    pub fn record(&self, record: Record) {
        self.notes.record(record);
    }

    /// A handle to add records from elsewhere.
    #[must_use]
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Tells of processes that were there before the tag.
    pub fn seed(&self, seeds: Vec<Seed>) {
        self.notes.send(Note::Seed(seeds));
    }

    /// What was counted, once everything that the kernel has written so far is recorded.
    pub async fn counts(&self) -> Counts {
        let (sender, receiver) = oneshot::channel();
        self.notes.send(Note::Count(sender));
        receiver.await.unwrap_or_default()
    }

    /// How far records may be read.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

impl Notes {
    /// Adds a record that the daemon itself made.
    pub fn record(&self, record: Record) {
        self.send(Note::Record(Box::new(record)));
    }

    /// Adds a record about a process. Its start may be rounded to clock ticks.
    pub fn record_about(&self, record: Record, process: ProcessKey) {
        self.send(Note::About(Box::new(record), process));
    }

    fn send(&self, note: Note) {
        // Fails only after the thread ended, when nothing can be recorded any more.
        let _ = self.sender.send(note);
        let _ = self.wake.write(1);
    }
}

impl Drop for Recorder {
    /// Drains what is there and ends the thread.
    fn drop(&mut self) {
        self.notes.send(Note::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The kernel's counters at one time, to be settled once every event that was in the ring then
/// was taken out of it.
struct Snapshot {
    counters: Vec<CpuCounters>,
    /// Bytes taken from the ring since.
    taken: u64,
    asked: Vec<oneshot::Sender<Counts>>,
}

/// What one look at the ring brought.
struct Drained {
    events: usize,
    bytes: u64,
    /// Whether nothing was left.
    empty: bool,
}

impl Thread {
    fn run(mut self) {
        while let Some(asked) = self.take_notes() {
            self.look_for_condemned();
            let now = boot_ns();
            let due = now.saturating_sub(self.last_settle_ns) >= SETTLE_NS;
            if self.snapshot.is_none() && (due || !asked.is_empty()) {
                self.snapshot = Some(Snapshot {
                    counters: self.counters(),
                    taken: 0,
                    asked,
                });
            } else {
                self.asked.extend(asked);
            }
            let drained = self.drain();
            if drained.empty || self.abouts.len() >= NOTES {
                self.write_abouts();
            }
            self.output.log.flush();
            if drained.events > 0 {
                self.idle_settles = 0;
            }
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.taken += drained.bytes;
                // The ring holds no more than its size: what it held then is out.
                if drained.empty || snapshot.taken >= u64::from(CONTROL_RING_BYTES) {
                    self.settle(now);
                }
            }
            if drained.empty {
                self.wait();
            }
        }
        while !self.drain().empty {}
        self.write_abouts();
        let counters = self.counters();
        self.with_sink(|pipeline, context, sink| {
            pipeline.finish(&counters, boot_ns(), context, sink);
        });
        self.output.finish();
        self.save_positions();
    }

    fn look_for_condemned(&mut self) {
        let condemned = self.source.condemned();
        if condemned != self.condemned_seen {
            self.condemned_seen = condemned;
            // A full channel tells it already.
            let _ = self.condemned.try_send(());
        }
    }

    /// Works through the notes. `None`: the thread is to end. Otherwise those who asked for
    /// counts.
    fn take_notes(&mut self) -> Option<Vec<oneshot::Sender<Counts>>> {
        let _ = self.wake.read();
        let mut asked = Vec::new();
        loop {
            match self.notes.try_recv() {
                Ok(Note::Record(record)) => self.output.write(*record),
                Ok(Note::About(record, process)) => self.abouts.push((record, process)),
                Ok(Note::Seed(seeds)) => self.pipeline.table_mut().seed(seeds),
                Ok(Note::Count(sender)) => asked.push(sender),
                Ok(Note::Begin) => self.reading = true,
                Ok(Note::Stop) | Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => return Some(asked),
            }
        }
    }

    /// Writes what is about processes: of those, everything that had happened when it was noted is
    /// known by now.
    fn write_abouts(&mut self) {
        for (mut record, process) in std::mem::take(&mut self.abouts) {
            self.with_sink(|pipeline, context, sink| {
                let (actor, why) = pipeline.actor(process, context);
                record.actor = actor;
                record.attribution = why.to_owned();
                sink(*record);
            });
        }
    }

    /// Takes a batch of events from the ring.
    fn drain(&mut self) -> Drained {
        let offset = ClockOffset::measure();
        let mut drained = Drained {
            events: 0,
            bytes: 0,
            empty: !self.reading,
        };
        if !self.reading {
            return drained;
        }
        let Self {
            source,
            pipeline,
            names,
            output,
            denied,
            ..
        } = self;
        while drained.events < BATCH {
            let Some(item) = source.ring.next() else {
                drained.empty = true;
                break;
            };
            drained.events += 1;
            drained.bytes += item.len() as u64;
            names.refresh();
            let context = Context {
                directory: &*names,
                offset,
            };
            pipeline.ingest(&item, &context, &mut |record| {
                note_denial(&record, denied);
                output.write(record);
            });
        }
        drained
    }

    /// Settles the numbers of the snapshot, and answers those who asked.
    fn settle(&mut self, now: u64) {
        let Some(Snapshot {
            counters, asked, ..
        }) = self.snapshot.take()
        else {
            return;
        };
        self.last_settle_ns = now;
        self.idle_settles = self.idle_settles.saturating_add(1);
        self.with_sink(|pipeline, context, sink| pipeline.settle(&counters, now, context, sink));
        self.output.log.flush();
        self.save_positions();
        for sender in asked {
            let _ = sender.send(self.counts(&counters));
        }
        if !self.asked.is_empty() {
            let asked = std::mem::take(&mut self.asked);
            self.snapshot = Some(Snapshot {
                counters: self.counters(),
                taken: 0,
                asked,
            });
        }
    }

    fn with_sink(
        &mut self,
        work: impl FnOnce(&mut Pipeline, &Context<'_, Reader>, &mut dyn FnMut(Record)),
    ) {
        self.names.refresh();
        let Self {
            pipeline,
            names,
            output,
            ..
        } = self;
        let context = Context {
            directory: &*names,
            offset: ClockOffset::measure(),
        };
        work(pipeline, &context, &mut |record| output.write(record));
    }

    fn counters(&self) -> Vec<CpuCounters> {
        match self.source.counters() {
            Ok(counters) => (0..)
                .zip(counters)
                .map(|(cpu, counters)| CpuCounters {
                    cpu,
                    numbered: counters.numbered,
                    lost: counters.lost,
                })
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "the kernel's counters cannot be read");
                Vec::new()
            }
        }
    }

    fn counts(&self, counters: &[CpuCounters]) -> Counts {
        let stats = self.pipeline.stats();
        let numbered: u64 = counters.iter().map(|counters| counters.numbered).sum();
        Counts {
            numbered: numbered.saturating_sub(self.start),
            recorded: stats.recorded,
            lost: stats.missing,
            last_record: self.output.log.last_number(),
            log_failing: self.output.log.failure().is_some(),
            verdicts: self.output.verdicts(),
        }
    }

    /// Waits for an event or a note. While events arrive the thread looks into the ring every few
    /// milliseconds and the kernel wakes nobody; after a quiet time the next event wakes it.
    fn wait(&mut self) {
        if self.snapshot.is_some() {
            return;
        }
        if self.idle_settles < SETTLES_WHEN_IDLE {
            poll_readable(
                &[self.wake.as_fd()],
                PollTimeout::from(LOOK_EVERY.as_millis() as u16),
            );
            return;
        }
        self.source.set_sleeping(true);
        // An event from before that word was written woke nobody. The look after the timeout
        // finds it; this one nearly always does.
        let drained = self.drain();
        if drained.events == 0 {
            let ring = self.source.ring.as_fd();
            poll_readable(
                &[self.wake.as_fd(), ring],
                PollTimeout::from(SLEEP.as_millis() as u16),
            );
        } else {
            self.output.log.flush();
        }
        self.source.set_sleeping(false);
        self.idle_settles = 0;
    }

    fn save_positions(&self) {
        // What waits to be written may still be lost with this process.
        if !self.output.log.is_written() {
            return;
        }
        let positions: Vec<Position> = self
            .pipeline
            .gaps()
            .positions()
            .map(Position::from)
            .collect();
        let identity = self.source.identity();
        if let Err(error) = write_positions(&self.positions, &identity, &positions) {
            tracing::warn!(%error, path = %self.positions.display(), "positions not saved");
        }
    }
}

/// Tells of a packet that was dropped: its socket is to be ended.
fn note_denial(record: &Record, denied: &mpsc::Sender<u64>) {
    let denial = |it: &Verdict| it.result() == VerdictResult::Deny;
    if record.kind() == Kind::Packet
        && record.verdict.as_ref().is_some_and(denial)
        && let Some(workload) = &record.workload
    {
        // A full channel already asks for a sweep.
        let _ = denied.try_send(workload.cgroup_id);
    }
}

/// Waits until one of the descriptors is readable, or the time is over.
fn poll_readable(fds: &[BorrowedFd<'_>], limit: PollTimeout) {
    let mut fds: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
        .collect();
    if let Err(error) = eintr::poll(&mut fds, limit) {
        tracing::error!(%error, "poll");
    }
}

/// How far the log answers for a CPU's events, on disk.
#[derive(Serialize, Deserialize)]
struct Position {
    cpu: u16,
    numbered: u64,
    lost: Vec<u64>,
}

impl From<CpuCounters> for Position {
    fn from(counters: CpuCounters) -> Self {
        Self {
            cpu: counters.cpu,
            numbered: counters.numbered,
            lost: counters.lost.to_vec(),
        }
    }
}

fn read_positions(path: &Path, identity: &str) -> Vec<CpuCounters> {
    fs::read(path).map_or_else(|_| Vec::new(), |text| parse_positions(&text, identity))
}

/// `identity` names the kernel's counters: others count anew.
pub(super) fn parse_positions(text: &[u8], identity: &str) -> Vec<CpuCounters> {
    match serde_json::from_slice::<(String, Vec<Position>)>(text) {
        Ok((saved, positions)) if saved == identity => positions
            .into_iter()
            // No CPU ever gets that far.
            .filter(|position| position.numbered <= i64::MAX.cast_unsigned())
            .map(|position| {
                let mut lost = [0; LossCause::ALL.len()];
                for (lost, saved) in lost.iter_mut().zip(position.lost) {
                    *lost = saved;
                }
                CpuCounters {
                    cpu: position.cpu,
                    numbered: position.numbered,
                    lost,
                }
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn write_positions(path: &Path, identity: &str, positions: &[Position]) -> io::Result<()> {
    let text = serde_json::to_vec(&(identity, positions))?;
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}
