//! What took time, as spans of its session's trace: a request with its response, and a process when it has ended.

use hoop_ocsf::Node;
use hoop_records::{ApiActivity, Fact, Kind, Process, Record};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::attributes::{Attributes, id, resource, scope, time};

/// The request that carries the spans of the records; nothing if there is none.
pub(super) fn request(records: &[Record], node: &Node) -> Option<ExportTraceServiceRequest> {
    let spans: Vec<_> = records
        .iter()
        .filter_map(|record| span(record, node))
        .collect();
    if spans.is_empty() {
        return None;
    }
    Some(ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(node)),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope(node)),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    })
}

fn span(record: &Record, node: &Node) -> Option<Span> {
    let trace = record.trace.as_ref()?;
    let (trace_id, span_id) = (id::<16>(&trace.trace_id), id::<8>(&trace.span_id));
    if trace_id.is_empty() || span_id.is_empty() {
        return None;
    }
    let mut span = match &record.fact {
        Some(Fact::Api(fact)) => call(record, fact),
        _ if record.kind() == Kind::Exit => process(record)?,
        _ => return None,
    };
    span.trace_id = trace_id;
    span.span_id = span_id;
    span.parent_span_id = id::<8>(&trace.parent_span_id);
    span.attributes = Attributes::of(record, node).0;
    Some(span)
}

/// A request and its response, named as the conventions for what it is have it.
fn call(record: &Record, fact: &ApiActivity) -> Span {
    let attribute = |key: &str| {
        let attribute = fact
            .attributes
            .iter()
            .find(|attribute| attribute.key == key)?;
        serde_json::from_str::<String>(&attribute.value).ok()
    };
    let method = fact
        .http_request
        .as_ref()
        .map(|request| request.http_method.clone());
    let what = ["gen_ai.operation.name", "mcp.method.name"]
        .iter()
        .find_map(|key| attribute(key));
    let of = ["gen_ai.request.model", "gen_ai.tool.name"]
        .iter()
        .find_map(|key| attribute(key));
    let name = match (what, of) {
        (Some(what), Some(of)) => format!("{what} {of}"),
        (Some(what), None) => what,
        _ => method.unwrap_or_else(|| fact.protocol.clone()),
    };
    let code = fact
        .http_response
        .as_ref()
        .map_or(0, |response| response.code);
    Span {
        name,
        kind: SpanKind::Client.into(),
        start_time_unix_nano: time(record.time_dt),
        end_time_unix_nano: time(record.time_dt).saturating_add(fact.duration_ns),
        status: (code >= 400).then(|| failed(format!("HTTP {code}"))),
        ..Span::default()
    }
}

/// A process, from its start, which its key has, to its exit.
fn process(record: &Record) -> Option<Span> {
    let process = record.actor.as_ref()?.process.as_ref()?;
    let end = time(record.time_dt);
    let start = started(process, record).unwrap_or(end);
    let status = match &record.fact {
        Some(Fact::Process(fact)) => match (fact.signal, fact.exit_code) {
            (Some(signal), _) => Some(failed(format!("ended by signal {signal}"))),
            (None, Some(code)) if code != 0 => Some(failed(format!("exit status {code}"))),
            _ => None,
        },
        _ => None,
    };
    Some(Span {
        name: if process.name.is_empty() {
            "process".to_owned()
        } else {
            process.name.clone()
        },
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        status,
        ..Span::default()
    })
}

fn started(process: &Process, record: &Record) -> Option<u64> {
    let (_, since_boot) = process.uid.split_once('-')?;
    let age = record.boot_time_ns.checked_sub(since_boot.parse().ok()?)?;
    time(record.time_dt).checked_sub(age)
}

fn failed(message: String) -> Status {
    Status {
        message,
        code: StatusCode::Error.into(),
    }
}
