//! Carries records from the log to one sink: in order, each at least once, at the sink's own pace.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::backoff::Backoff;
use crate::config::{BackoffConfig, BatchConfig};
use crate::cursor::CursorFile;
use crate::filter::Filter;
use crate::head::Head;
use crate::source::{Entry, Limit, Log, Source, SourceError};
use crate::status::SinkStatus;

/// The least time between two writes of a cursor.
const STORE_EVERY: Duration = Duration::from_millis(200);

/// So many records may be refused in a row at once; each further one waits first, so that a far side that
/// refuses everything by mistake is not told the whole log in seconds.
const REFUSED_AT_ONCE: u32 = 16;

/// Where records go.
pub(crate) trait Sink: Send + 'static {
    /// Delivers the records, in their order, and returns when the far side has them. Connects first where that
    /// is needed. After an error or when dropped, it may have delivered any of them.
    fn deliver(&mut self, records: &[Entry]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Why records are not delivered, or not known to be.
#[derive(Debug)]
pub(crate) struct Failure {
    /// So many of the first are delivered.
    pub delivered: usize,
    /// What to do with those behind.
    pub remedy: Remedy,
    /// Why, for a person. No secret and no plaintext.
    pub cause: Box<dyn Error + Send + Sync>,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The same again, after a while: at least so long, if the far side said it.
    Retry(Option<Duration>),
    /// The far side will never take so many of the next as they are: split them; what is one record is skipped.
    Split(usize),
}

impl Failure {
    /// Nothing is delivered; the same again, after a while.
    pub(crate) fn retry(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            delivered: 0,
            remedy: Remedy::Retry(None),
            cause: cause.into(),
        }
    }

    /// As [`Self::retry`], after the time that the far side asked for.
    pub(crate) fn retry_after(
        asked: Option<Duration>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            remedy: Remedy::Retry(asked),
            ..Self::retry(cause)
        }
    }

    /// The far side will never take so many of the first as they are.
    pub(crate) fn refused(records: usize, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            delivered: 0,
            remedy: Remedy::Split(records),
            cause: cause.into(),
        }
    }

    /// What is refused stands behind so many records that are neither delivered nor refused.
    pub(crate) fn with_in_front(self, records: usize) -> Self {
        let remedy = match self.remedy {
            Remedy::Split(refused) => Remedy::Split(records + refused),
            retry @ Remedy::Retry(_) => retry,
        };
        Self { remedy, ..self }
    }

    /// So many of the first are delivered.
    pub(crate) fn after(self, delivered: usize) -> Self {
        Self { delivered, ..self }
    }
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// Not before this record is done with ...
    pub through: u64,
    /// ... unless it is this late.
    pub deadline: Instant,
}

/// One sink's way from the log.
pub(crate) struct Runner<L: Log, S> {
    pub log: L,
    pub sink: S,
    pub status: Arc<SinkStatus>,
    pub filter: Filter,
    pub batch: BatchConfig,
    pub backoff: BackoffConfig,
    pub cursor: CursorFile,
    pub stop: watch::Receiver<Option<Stop>>,
}

impl<L: Log, S: Sink> Runner<L, S> {
    /// Goes on behind what `status` says is done, until it is stopped or the log is closed.
    pub(crate) async fn run(self) {
        let Self {
            log,
            sink,
            status,
            filter,
            batch,
            backoff,
            cursor,
            stop,
        } = self;
        let moved = Notify::new();
        let mut work = Work {
            source: log.open(status.done() + 1),
            sink,
            status: &status,
            moved: &moved,
            filter,
            batch,
            backoff: Backoff::new(backoff),
            refused_in_a_row: 0,
        };
        tokio::select! {
            () = work.until_stopped(stop.clone()) => {}
            () = keep(&cursor, &status, &moved) => {}
            () = late(stop) => {
                tracing::warn!(
                    sink = status.name(),
                    lag_records = status.lag_records(),
                    "stopped before everything was delivered; the next start goes on there"
                );
            }
        }
        store(&cursor, &status).await;
    }
}

/// Stores the cursor whenever it moved, and never too often. Does not return.
async fn keep(cursor: &CursorFile, status: &SinkStatus, moved: &Notify) {
    loop {
        moved.notified().await;
        store(cursor, status).await;
        sleep(STORE_EVERY).await;
    }
}

async fn store(cursor: &CursorFile, status: &SinkStatus) {
    let done = status.done();
    if done == status.stored() {
        return;
    }
    let file = cursor.clone();
    let written = tokio::task::spawn_blocking(move || file.write(done)).await;
    match written.map_err(std::io::Error::other).flatten() {
        Ok(()) => status.counters.set_stored(done),
        Err(error) => {
            tracing::warn!(sink = status.name(), %error, "the cursor is not stored");
        }
    }
}

/// Returns when it is too late to go on.
async fn late(mut stop: watch::Receiver<Option<Stop>>) {
    let told = stop.wait_for(Option::is_some).await.ok();
    // Nothing is told if whoever could is gone: then the task is to end at once.
    if let Some(stop) = told.and_then(|stop| *stop) {
        sleep_until(stop.deadline).await;
    }
}

struct Work<'a, Src, S> {
    source: Src,
    sink: S,
    status: &'a SinkStatus,
    moved: &'a Notify,
    filter: Filter,
    batch: BatchConfig,
    backoff: Backoff,
    refused_in_a_row: u32,
}

/// Records that go together.
#[derive(Default)]
struct Batch {
    records: Vec<Entry>,
    bytes: usize,
    /// The last record that was read, wanted or not.
    through: u64,
}

impl<Src: Source, S: Sink> Work<'_, Src, S> {
    async fn until_stopped(&mut self, mut stop: watch::Receiver<Option<Stop>>) {
        loop {
            let stopping = async {
                let stop = stop.wait_for(Option::is_some).await;
                let through = stop
                    .ok()
                    .and_then(|stop| *stop)
                    .map_or(0, |stop| stop.through);
                // What was there when it was told to stop is delivered.
                if self.status.done() < through {
                    std::future::pending::<()>().await;
                }
            };
            let mut batch = Batch::default();
            let more = tokio::select! {
                biased;
                more = gather(&mut self.source, &self.filter, self.batch, self.status, self.moved, &mut batch) => more,
                () = stopping => false,
            };
            self.deliver(batch).await;
            if !more {
                return;
            }
        }
    }

    /// Delivers the batch, whatever it takes.
    async fn deliver(&mut self, batch: Batch) {
        let mut rest = &batch.records[..];
        // What the far side refused as one is tried in halves.
        let mut most = rest.len();
        while !rest.is_empty() {
            let attempt = &rest[..most.min(rest.len())];
            let Err(failure) = self.sink.deliver(attempt).await else {
                rest = self.delivered(rest, attempt.len());
                most = most.saturating_mul(2);
                continue;
            };
            let delivered = failure.delivered.min(attempt.len());
            if delivered > 0 {
                rest = self.delivered(rest, delivered);
            }
            match failure.remedy {
                Remedy::Retry(asked) => {
                    let wait = self.backoff.next(asked);
                    self.status.counters.add_retry();
                    tracing::warn!(
                        sink = self.status.name(),
                        from = rest.first().map(|entry| entry.number),
                        wait = ?wait,
                        cause = %Chain(&*failure.cause),
                        "not delivered, to be tried again"
                    );
                    sleep(wait).await;
                }
                Remedy::Split(records) if records > 1 => most = records.div_ceil(2),
                Remedy::Split(_) => {
                    rest = self.refused(rest, &*failure.cause).await;
                }
            }
        }
        self.done(batch.through);
    }

    /// The first of `rest` are delivered. Returns the others.
    fn delivered<'r>(&mut self, rest: &'r [Entry], records: usize) -> &'r [Entry] {
        let (delivered, rest) = rest.split_at(records);
        self.status.counters.add_delivered(records);
        self.backoff.reset();
        self.refused_in_a_row = 0;
        self.done_before(delivered, rest);
        rest
    }

    /// The first of `rest` is refused. Returns the others.
    async fn refused<'r>(
        &mut self,
        rest: &'r [Entry],
        cause: &(dyn Error + Send + Sync),
    ) -> &'r [Entry] {
        let Some((refused, others)) = rest.split_first() else {
            return rest;
        };
        self.status.counters.add_refused();
        tracing::error!(
            sink = self.status.name(),
            record = refused.number,
            cause = %Chain(cause),
            "the far side takes this record in no form; it is skipped"
        );
        self.refused_in_a_row += 1;
        if self.refused_in_a_row > REFUSED_AT_ONCE {
            sleep(self.backoff.next(None)).await;
        }
        self.done_before(std::slice::from_ref(refused), others);
        others
    }

    fn done_before(&self, done: &[Entry], rest: &[Entry]) {
        if let Some(last) = done.last() {
            self.done(last.number);
        }
        if let Some(Ok(head)) = rest.first().map(|next| Head::read(&next.record)) {
            self.status.counters.set_pending_since(head.time);
        }
    }

    fn done(&self, number: u64) {
        done(self.status, self.moved, number);
    }
}

fn done(status: &SinkStatus, moved: &Notify, number: u64) {
    if number > status.done() {
        status.counters.set_done(number);
        moved.notify_one();
    }
}

/// Reads until the batch is full or its time is up. False if no more follow.
async fn gather(
    source: &mut impl Source,
    filter: &Filter,
    config: BatchConfig,
    status: &SinkStatus,
    moved: &Notify,
    batch: &mut Batch,
) -> bool {
    let mut deadline = None;
    while batch.records.len() < config.records && batch.bytes < config.bytes {
        let limit = Limit {
            records: config.records - batch.records.len(),
            bytes: config.bytes - batch.bytes,
        };
        let next = match deadline {
            None => source.next(limit).await,
            Some(deadline) => match timeout_at(deadline, source.next(limit)).await {
                Ok(next) => next,
                Err(_) => return true,
            },
        };
        match next {
            Ok(entries) => {
                for entry in entries {
                    batch.take(entry, filter, status);
                }
            }
            Err(
                ref
                error @ (SourceError::Gone { first_kept: next } | SourceError::Damaged { next }),
            ) => {
                let missed = next.saturating_sub(status.done().max(batch.through) + 1);
                status.counters.add_missed(missed);
                tracing::error!(
                    sink = status.name(),
                    missed,
                    %error,
                    "this sink had not read them"
                );
                batch.through = next.saturating_sub(1).max(batch.through);
            }
            Err(SourceError::Closed) => return false,
            Err(SourceError::Io(error)) => {
                tracing::warn!(sink = status.name(), %error, "the log cannot be read, to be tried again");
                sleep(Duration::from_secs(1)).await;
            }
        }
        if batch.records.is_empty() {
            // Nobody waits for what no filter lets through.
            done(status, moved, batch.through);
            return true;
        }
        deadline.get_or_insert_with(|| Instant::now() + config.delay.0);
    }
    true
}

impl Batch {
    fn take(&mut self, entry: Entry, filter: &Filter, status: &SinkStatus) {
        self.through = entry.number;
        match filter.wants(&entry.record) {
            Ok(true) => {
                if self.records.is_empty()
                    && let Ok(head) = Head::read(&entry.record)
                {
                    status.counters.set_pending_since(head.time);
                }
                self.bytes += entry.record.len();
                self.records.push(entry);
            }
            Ok(false) => {}
            Err(error) => {
                status.counters.add_refused();
                tracing::error!(sink = status.name(), record = entry.number, %error, "skipped");
            }
        }
    }
}

/// An error and what caused it, in one line.
struct Chain<'a>(&'a (dyn Error + Send + Sync));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut said = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = mem::take(&mut said) + &text;
            source = error.source();
        }
        Ok(())
    }
}
