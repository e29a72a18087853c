//! What a request asks for.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use hoop_records::{Kind, Result as Verdict};
use tokio::sync::watch;
use tonic::{Request, Status};

use super::codec::Response;
use super::proto::StreamRequest;
use super::proto::audit_service_server::AuditService;
use super::stream::Reading;
use crate::filter::Filter;
use crate::source::Log;

/// The service.
pub(super) struct Audit<L> {
    pub log: L,
    pub heartbeat: Duration,
    /// Becomes true when the daemon stops.
    pub stop: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl<L: Log> AuditService for Audit<L> {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<StreamRequest>,
    ) -> Result<tonic::Response<Self::StreamStream>, Status> {
        let request = request.into_inner();
        let newest = self.log.last();
        if request.only_new && (request.from != 0 || !request.follow) {
            return Err(Status::invalid_argument(
                "only_new needs follow, and from to be 0",
            ));
        }
        let from = if request.only_new {
            newest + 1
        } else {
            request.from
        };
        let through = if request.follow { u64::MAX } else { newest };
        let reading = Reading {
            source: self.log.open(from),
            log: self.log.clone(),
            oldest: from == 0,
            passed: from.saturating_sub(1),
            through,
            filter: filter(request)?,
            heartbeat: self.heartbeat,
            stop: self.stop.clone(),
        };
        let batches = stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Ok(responses) if responses.is_empty() => None,
                Ok(responses) => Some((Ok(responses), Some(reading))),
                Err(status) => Some((Err(status), None)),
            }
        });
        let responses = batches.flat_map(|batch| {
            let (responses, error) = match batch {
                Ok(responses) => (responses, None),
                Err(status) => (Vec::new(), Some(Err(status))),
            };
            stream::iter(responses.into_iter().map(Ok).chain(error))
        });
        Ok(tonic::Response::new(Box::pin(responses)))
    }
}

fn filter(request: StreamRequest) -> Result<Filter, Status> {
    let kinds = request.kinds.into_iter().map(|number| {
        let kind = Kind::try_from(number).ok();
        kind.filter(|&kind| kind != Kind::Unspecified)
            .ok_or_else(|| Status::invalid_argument(format!("kinds: {number} is none")))
    });
    let verdicts = request.verdicts.into_iter().map(|number| {
        let verdict = Verdict::try_from(number).ok();
        verdict
            .filter(|&verdict| verdict != Verdict::Unspecified)
            .ok_or_else(|| Status::invalid_argument(format!("verdicts: {number} is none")))
    });
    Ok(Filter {
        kinds: kinds.collect::<Result<_, _>>()?,
        verdicts: verdicts.collect::<Result<_, _>>()?,
        workloads: request.workloads,
        policies: request.policies,
        identities: request.identities,
        sessions: request.sessions,
    })
}
