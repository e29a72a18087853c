//! One stream's way through the log. The client's own pace draws it: nothing is read ahead of what it takes.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::codec::Response;
use super::proto::{Gone, Heartbeat};
use crate::filter::Filter;
use crate::source::{Limit, Log, Source as _, SourceError};

/// What is read at once.
const AT_ONCE: Limit = Limit {
    records: 256,
    bytes: 256 << 10,
};

/// One stream.
pub(super) struct Reading<L: Log> {
    pub source: L::Source,
    pub log: L,
    /// Whether it begins with whatever is the oldest, and nothing has been read.
    pub oldest: bool,
    /// Number of the last record that was read.
    pub passed: u64,
    /// Number of the last record to read.
    pub through: u64,
    pub filter: Filter,
    pub heartbeat: Duration,
    pub stop: watch::Receiver<bool>,
}

impl<L: Log> Reading<L> {
    /// What to send next; nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Response>, Status> {
        let heartbeat = Instant::now() + self.heartbeat;
        while self.passed < self.through {
            let next = tokio::select! {
                biased;
                _ = self.stop.wait_for(|&stop| stop) => {
                    return Err(Status::unavailable("the daemon stops"));
                }
                next = timeout_at(heartbeat, self.source.next(AT_ONCE)) => next,
            };
            let responses = match next {
                Err(_) => vec![self.heartbeat()],
                Ok(Ok(entries)) => {
                    self.oldest = false;
                    let mut responses = Vec::with_capacity(entries.len());
                    for entry in entries {
                        if entry.number > self.through {
                            break;
                        }
                        self.passed = entry.number;
                        match self.filter.wants(&entry.record) {
                            Ok(true) => responses.push(Response::Record(entry.record)),
                            Ok(false) => {}
                            Err(error) => {
                                tracing::error!(record = entry.number, %error, "the log is damaged");
                                return Err(Status::data_loss(format!(
                                    "record {}: {error}",
                                    entry.number
                                )));
                            }
                        }
                    }
                    if responses.is_empty() && Instant::now() >= heartbeat {
                        responses.push(self.heartbeat());
                    }
                    responses
                }
                Ok(Err(SourceError::Gone { first_kept })) => {
                    self.passed = first_kept.saturating_sub(1).max(self.passed);
                    // Who asked for the oldest that is kept misses nothing.
                    if std::mem::take(&mut self.oldest) {
                        continue;
                    }
                    vec![Response::Gone(Gone { first_kept })]
                }
                Ok(Err(error @ SourceError::Damaged { next })) => {
                    tracing::error!(%error, "the log is damaged");
                    self.oldest = false;
                    self.passed = next.saturating_sub(1).max(self.passed);
                    vec![Response::Gone(Gone { first_kept: next })]
                }
                Ok(Err(SourceError::Closed)) => break,
                Ok(Err(SourceError::Io(error))) => {
                    tracing::error!(%error, "the log cannot be read");
                    return Err(Status::data_loss("the log cannot be read"));
                }
            };
            if !responses.is_empty() {
                return Ok(responses);
            }
        }
        Ok(Vec::new())
    }

    fn heartbeat(&self) -> Response {
        Response::Heartbeat(Heartbeat {
            through: self.passed,
            newest: self.log.last(),
        })
    }
}
