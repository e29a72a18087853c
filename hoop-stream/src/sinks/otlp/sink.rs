use std::sync::Arc;

use hoop_ocsf::Node;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::{Config, Signal, logs, spans};
use crate::http::Poster;
use crate::render;
use crate::runner::{Failure, Sink};
use crate::source::Entry;
use crate::tls::TlsError;

const PROTOBUF: &str = "application/x-protobuf";

/// The sink. Connects with the first record.
pub(crate) fn sink(config: &Config, node: &Arc<Node>) -> Result<impl Sink + use<>, TlsError> {
    let of = |signal, endpoint| {
        let wanted = config.signals.contains(&signal);
        wanted.then(|| Poster::new(endpoint)).transpose()
    };
    Ok(Otlp {
        logs: of(Signal::Logs, &config.logs)?,
        traces: of(Signal::Traces, &config.traces)?,
        node: Arc::clone(node),
        logged: 0,
    })
}

struct Otlp {
    node: Arc<Node>,
    logs: Option<Poster>,
    traces: Option<Poster>,
    /// Number of the last record whose log record was taken: it is not sent again for its span's sake.
    logged: u64,
}

impl Sink for Otlp {
    async fn deliver(&mut self, records: &[Entry]) -> Result<(), Failure> {
        let (records, rest) = render::decode(records);
        if let Some(logs) = &mut self.logs {
            let logged = records.partition_point(|record| record.number <= self.logged);
            let new = &records[logged..];
            if let Some(last) = new.last() {
                let body = logs::request(new, &self.node).encode_to_vec();
                let answer = logs.post(PROTOBUF, body, new.len()).await;
                // Records may stand in front whose spans are not delivered.
                let answer = answer.map_err(|failure| failure.with_in_front(logged))?;
                // What an answer says beyond its status is for people.
                let answer = ExportLogsServiceResponse::decode(answer).unwrap_or_default();
                let partial = answer.partial_success.unwrap_or_default();
                warn(
                    "logs",
                    partial.rejected_log_records,
                    &partial.error_message,
                    new,
                );
                self.logged = last.number;
            }
        }
        if let Some(traces) = &mut self.traces
            && let Some(request) = spans::request(&records, &self.node)
        {
            let answer = traces
                .post(PROTOBUF, request.encode_to_vec(), records.len())
                .await?;
            let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
            let partial = answer.partial_success.unwrap_or_default();
            warn(
                "traces",
                partial.rejected_spans,
                &partial.error_message,
                &records,
            );
        }
        rest
    }
}

/// Tells what a collector did not keep. By the protocol it must not be sent again, and it does not say which.
fn warn(signal: &str, rejected: i64, message: &str, records: &[hoop_records::Record]) {
    if rejected > 0 {
        let ends =
            [records.first(), records.last()].map(|record| record.map(|record| record.number));
        let message = message.escape_debug().take(200).collect::<String>();
        tracing::error!(
            signal,
            rejected,
            message,
            from = ends[0],
            to = ends[1],
            "the collector kept not all"
        );
    }
}
