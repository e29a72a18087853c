//! Every record as a log record.

use hoop_ocsf::Node;
use hoop_records::{Kind, Record, Result as Verdict};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};

use super::attributes::{Attributes, id, resource, scope, time};
use crate::config::Format;
use crate::render;

/// The request that carries the records.
pub(super) fn request(records: &[Record], node: &Node) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource(node)),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope(node)),
                log_records: records.iter().map(|record| log(record, node)).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

/// The record; its body is its JSON.
fn log(record: &Record, node: &Node) -> LogRecord {
    let (severity, text) = severity(record);
    let mut body = Vec::new();
    render::json(record, Format::Json, node, &mut body);
    let body = String::from_utf8_lossy(&body).into_owned();
    let trace = record.trace.clone().unwrap_or_default();
    LogRecord {
        time_unix_nano: time(record.time_dt),
        observed_time_unix_nano: time(record.time_dt),
        severity_number: severity.into(),
        severity_text: text.to_owned(),
        body: Some(AnyValue {
            value: Some(Any::StringValue(body)),
        }),
        attributes: Attributes::of(record, node).0,
        trace_id: id::<16>(&trace.trace_id),
        span_id: id::<8>(&trace.span_id),
        event_name: format!("hoop.{}", record.kind().word()),
        ..LogRecord::default()
    }
}

fn severity(record: &Record) -> (SeverityNumber, &'static str) {
    let verdict = record.verdict.as_ref();
    if record.kind() == Kind::Tamper || verdict.is_some_and(|of| of.enforcement == "failed") {
        return (SeverityNumber::Error, "ERROR");
    }
    match verdict.map(hoop_records::Verdict::result) {
        Some(Verdict::Deny | Verdict::Shadow) => (SeverityNumber::Warn, "WARN"),
        _ if record.kind() == Kind::Gap => (SeverityNumber::Warn, "WARN"),
        _ => (SeverityNumber::Info, "INFO"),
    }
}
