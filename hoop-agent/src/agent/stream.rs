//! The thread that gives records to others: sinks, the gRPC stream, and metrics.
//!
//! It has no capabilities: of all threads, it alone talks to the network.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hoop_log::Tail;
use hoop_ocsf::Node;
use hoop_stream::{
    grpc::{GrpcConfig, GrpcServer},
    metrics::{Gauges, MetricsServer, Ready, Snapshot},
    sinks::Sinks,
    source::{Entry, Limit, Log, Source, SourceError},
};
use tokio::sync::oneshot;

use super::counters::Counters;
use crate::{
    audit::{self, Unread, health::Health},
    config::file::ConfigFile,
    confine,
};

/// How long the far sides may take to the last records when the daemon ends.
const GRACE: Duration = Duration::from_secs(2);

/// Time between two looks at how far sinks are.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the thread needs of the daemon.
pub(super) struct Daemon {
    /// The state directory.
    pub(super) state_dir: PathBuf,
    /// The directory of the control socket.
    pub(super) run_dir: PathBuf,
    /// How far records may be read.
    pub(super) tail: Tail,
    /// Whom to tell how far sinks are.
    pub(super) unread: Unread,
    /// What is counted.
    pub(super) counters: Counters,
    /// How the log is.
    pub(super) health: Health,
    /// Says what the log is called, for ids of records.
    pub(super) log_name: String,
}

/// The thread, which ends when this is dropped.
pub(super) struct Stream {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Starts everything that the configuration asks for, and the gRPC stream on a Unix socket in any case.
    ///
    /// # Errors
    ///
    /// When something cannot be started: an address that is taken, a certificate that cannot be read.
    pub(super) fn start(config: &ConfigFile, daemon: Daemon) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let mut grpc = config.stream.clone();
        grpc.socket
            .get_or_insert_with(|| daemon.run_dir.join("audit.sock"));
        let (sinks, metrics) = (config.sinks.clone(), config.metrics);
        let thread = std::thread::Builder::new()
            .name("stream".into())
            .spawn(move || {
                if let Err(error) = confine::bare_thread() {
                    tracing::warn!(%error, "the stream keeps capabilities");
                }
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
                    runtime.block_on(async {
                        let running = Running::start(&grpc, &sinks, metrics, daemon).await?;
                        let _ = started.send(Ok(()));
                        running.until(stopped).await;
                        Ok(())
                    })
                });
                if let Err(error) = result {
                    let _ = started.send(Err(error));
                }
            })?;
        start.recv().context("the stream thread ended")??;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Stream {
    /// Delivers what is there, for a while, and ends the thread.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What runs in the thread.
struct Running {
    sinks: Sinks,
    grpc: GrpcServer,
    metrics: Option<MetricsServer>,
    unread: Unread,
}

impl Running {
    async fn start(
        grpc: &GrpcConfig,
        sinks: &[hoop_stream::config::SinkConfig],
        metrics: Option<hoop_stream::metrics::MetricsConfig>,
        daemon: Daemon,
    ) -> Result<Self> {
        let log = Files {
            dir: audit::directory(&daemon.state_dir).into(),
            tail: daemon.tail,
        };
        let node = Arc::new(Node {
            hostname: audit::key::host(),
            log: daemon.log_name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let sinks = Sinks::start(sinks, &log, &node, &daemon.state_dir.join("cursors"))?;
        let grpc = GrpcServer::start(grpc, &log).await?;
        let gauges = Arc::new(Measured {
            counters: daemon.counters,
            health: daemon.health.clone(),
            log: log.clone(),
        });
        let ready: Ready = Arc::new(move || daemon.health.ready());
        let metrics = match metrics {
            Some(config) => {
                Some(MetricsServer::start(config, gauges, sinks.statuses(), ready).await?)
            }
            None => None,
        };
        Ok(Self {
            sinks,
            grpc,
            metrics,
            unread: daemon.unread,
        })
    }

    /// Tells retention how far sinks are, until it is over.
    async fn until(self, mut stopped: oneshot::Receiver<()>) {
        let statuses = self.sinks.statuses();
        loop {
            self.unread
                .set_first(statuses.keep_from().unwrap_or(u64::MAX));
            tokio::select! {
                _ = &mut stopped => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        tokio::join!(self.sinks.stop(GRACE), self.grpc.stop(GRACE));
        drop(self.metrics);
    }
}

/// The log of this daemon, for those who read it here.
#[derive(Clone)]
struct Files {
    dir: Arc<Path>,
    tail: Tail,
}

impl Log for Files {
    type Source = Cursor;

    fn open(&self, from: u64) -> Cursor {
        Cursor {
            files: self.clone(),
            reader: None,
            next: from.max(1),
        }
    }

    fn last(&self) -> u64 {
        self.tail.last()
    }
}

/// A position in the log. Its reader is opened when it is needed, and anew after an error.
struct Cursor {
    files: Files,
    reader: Option<hoop_log::Reader>,
    next: u64,
}

impl Source for Cursor {
    async fn next(&mut self, limit: Limit) -> Result<Vec<Entry>, SourceError> {
        loop {
            let entries = self.take(limit)?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            if self.files.tail.wait_beyond(self.next - 1).await.is_err() {
                return Err(SourceError::Closed);
            }
        }
    }
}

impl Cursor {
    fn take(&mut self, limit: Limit) -> Result<Vec<Entry>, SourceError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let opened =
                    hoop_log::Reader::behind(&self.files.dir, self.next, self.files.tail.clone());
                match opened {
                    Ok(reader) => self.reader.insert(reader),
                    Err(error) => return Err(self.failed(error)),
                }
            }
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        while entries.len() < limit.records.max(1) && bytes < limit.bytes {
            match reader.read() {
                Ok(Some(entry)) => {
                    bytes += entry.bytes.len();
                    self.next = entry.number + 1;
                    entries.push(Entry {
                        number: entry.number,
                        record: Bytes::copy_from_slice(entry.bytes),
                    });
                }
                Ok(None) => break,
                // What was read first is told first; the error comes again.
                Err(_) if !entries.is_empty() => {
                    self.reader = None;
                    break;
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(entries)
    }

    fn failed(&mut self, error: hoop_log::Error) -> SourceError {
        self.reader = None;
        match error {
            hoop_log::Error::Gone { first_kept } => {
                self.next = first_kept;
                SourceError::Gone { first_kept }
            }
            hoop_log::Error::Damaged {
                resume: Some(next), ..
            } => {
                self.next = next;
                SourceError::Damaged { next }
            }
            other => SourceError::Io(io::Error::other(other)),
        }
    }
}

/// What metrics show.
struct Measured {
    counters: Counters,
    health: Health,
    log: Files,
}

impl Gauges for Measured {
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            log_newest: self.log.last(),
            log_oldest: self.health.oldest(),
            log_bytes: self.health.bytes(),
            queues: vec![("unwritten", self.health.waiting())],
            ..self.counters.snapshot()
        }
    }
}
