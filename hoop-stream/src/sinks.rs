//! The sinks: each a task of its own with a cursor of its own.

pub mod file;
pub mod kafka;
pub mod nats;
pub mod otlp;
pub mod syslog;
pub mod webhook;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use hoop_ocsf::Node;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::config::{From, SinkConfig, from_fields};
use crate::cursor::CursorFile;
use crate::runner::{Runner, Sink, Stop};
use crate::source::Log;
use crate::status::SinkStatus;

/// Where a sink's records go.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Lines of a file.
    File(file::Config),
    /// An HTTP endpoint.
    Webhook(Box<webhook::Config>),
    /// A syslog receiver.
    Syslog(syslog::Config),
    /// An OpenTelemetry collector.
    Otlp(Box<otlp::Config>),
    /// A NATS `JetStream` stream.
    Nats(nats::Config),
    /// A Kafka topic.
    Kafka(kafka::Config),
}

impl Target {
    pub(crate) fn from_fields<E: serde::de::Error>(
        kind: &str,
        fields: Map<String, Value>,
    ) -> Result<Self, E> {
        let target = match kind {
            "file" => Self::File(from_fields(fields)?),
            "webhook" => Self::Webhook(Box::new(from_fields(fields)?)),
            "syslog" => Self::Syslog(from_fields(fields)?),
            "otlp" => Self::Otlp(Box::new(from_fields(fields)?)),
            "nats" => Self::Nats(from_fields(fields)?),
            "kafka" => Self::Kafka(from_fields(fields)?),
            other => {
                return Err(E::custom(format_args!(
                    "kind: {other:?} is none of file, webhook, syslog, otlp, nats, kafka"
                )));
            }
        };
        Ok(target)
    }
}

/// Why the sinks do not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two sinks would share a cursor.
    #[error("two sinks are named {0:?}")]
    SameName(String),
    /// The directory of the cursors cannot be made.
    #[error("make the directory {path} for the sinks' cursors: {source}", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a sink's configuration names cannot be used.
    #[error("sink {name:?}: {source}")]
    Sink {
        /// The sink's name.
        name: String,
        /// Why, from the field on.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The sinks at work. Dropping it ends them at once, as a crash would: the next start delivers again what the
/// stored cursors do not have.
#[derive(Debug)]
pub struct Sinks {
    tasks: JoinSet<()>,
    stop: watch::Sender<Option<Stop>>,
    newest: Newest,
    statuses: Statuses,
}

/// What the sinks are doing; of none by default.
#[derive(Clone, Debug, Default)]
pub struct Statuses(Arc<[Arc<SinkStatus>]>);

impl Statuses {
    /// Each sink, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &SinkStatus> {
        self.0.iter().map(|status| &**status)
    }

    /// Number of the oldest record that a sink may still ask for, also after a restart: retention keeps what is
    /// not below it. `None` if there is no sink.
    #[must_use]
    pub fn keep_from(&self) -> Option<u64> {
        self.iter().map(|status| status.stored() + 1).min()
    }
}

impl Sinks {
    /// Starts a task for each sink. `directory` holds their cursors; it is made where it is missing. Must be
    /// called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// Two sinks have one name, the directory cannot be made, or a file that the configuration names (of a
    /// certificate, a token) cannot be read. A far side that is away is no error.
    pub fn start<L: Log>(
        configs: &[SinkConfig],
        log: &L,
        node: &Arc<Node>,
        directory: &Path,
    ) -> Result<Self, StartError> {
        fs::create_dir_all(directory).map_err(|source| StartError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let mut names = BTreeSet::new();
        let mut start = Start {
            log,
            directory,
            tasks: JoinSet::new(),
            stop: watch::Sender::new(None),
            statuses: Vec::new(),
        };
        for config in configs {
            if !names.insert(&config.name) {
                return Err(StartError::SameName(config.name.clone()));
            }
            start
                .sink(config, node)
                .map_err(|source| StartError::Sink {
                    name: config.name.clone(),
                    source,
                })?;
        }
        let newest = log.clone();
        Ok(Self {
            tasks: start.tasks,
            stop: start.stop,
            newest: Newest(Box::new(move || newest.last())),
            statuses: Statuses(start.statuses.into()),
        })
    }

    /// What the sinks are doing.
    #[must_use]
    pub fn statuses(&self) -> Statuses {
        self.statuses.clone()
    }

    /// Delivers what is in the log by now, stores the cursors, and ends; no later than `grace` from now.
    pub async fn stop(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.stop.send_replace(Some(Stop {
            through: (self.newest.0)(),
            deadline,
        }));
        // Storing a cursor takes a moment more; a disk that hangs does not hold the daemon.
        let hung = deadline + Duration::from_secs(1);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(hung, ended).await.is_err() {
            tracing::warn!("a sink did not end in time");
        }
    }
}

/// Number of the newest record in the log.
struct Newest(Box<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Newest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0().fmt(f)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

struct Start<'a, L> {
    log: &'a L,
    directory: &'a Path,
    tasks: JoinSet<()>,
    stop: watch::Sender<Option<Stop>>,
    statuses: Vec<Arc<SinkStatus>>,
}

impl<L: Log> Start<'_, L> {
    fn sink(&mut self, config: &SinkConfig, node: &Arc<Node>) -> Result<(), BoxError> {
        match &config.target {
            Target::File(target) => self.run(config, file::sink(target, node)),
            Target::Webhook(target) => self.run(config, webhook::sink(target, node)?),
            Target::Syslog(target) => self.run(config, syslog::sink(target, node)?),
            Target::Otlp(target) => self.run(config, otlp::sink(target, node)?),
            Target::Nats(target) => self.run(config, nats::sink(target, node)?),
            Target::Kafka(target) => self.run(config, kafka::sink(target, node)?),
        }
        Ok(())
    }

    fn run(&mut self, config: &SinkConfig, sink: impl Sink) {
        let log = self.log.clone();
        let status = SinkStatus::new(config.name.clone(), move || log.last());
        let cursor = CursorFile::new(self.directory, &config.name);
        let done = self.begin(config, &cursor);
        status.counters.set_done(done);
        status.counters.set_stored(done);
        self.statuses.push(Arc::clone(&status));
        let runner = Runner {
            log: self.log.clone(),
            sink,
            status,
            filter: config.filter.clone(),
            batch: config.batch,
            backoff: config.backoff,
            cursor,
            stop: self.stop.subscribe(),
        };
        self.tasks.spawn(runner.run());
    }

    /// Number of the record behind which the sink goes on.
    fn begin(&self, config: &SinkConfig, cursor: &CursorFile) -> u64 {
        let newest = self.log.last();
        let sink = &config.name;
        match cursor.read() {
            Ok(Some(done)) if done > newest => {
                // The log lost its end, by a power cut or by hand: what comes next has numbers that were given
                // before.
                tracing::error!(%sink, done, newest, "the cursor is beyond the log; going on at the log's end");
                newest
            }
            Ok(Some(done)) => done,
            Ok(None) if config.from == From::Newest => newest,
            Ok(None) => 0,
            Err(error) => {
                tracing::error!(%sink, %error, "no cursor; delivering everything that is kept");
                0
            }
        }
    }
}
