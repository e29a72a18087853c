//! OTLP: what a collector gets.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hoop_records::{
    Actor, ApiActivity, Attribute, Fact, HttpRequest, HttpResponse, Kind, Process, ProcessActivity,
    Record, Trace, Url,
};
use hoop_stream::memory::MemoryLog;
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use crate::node::{fill, start, stored};
use crate::receiver::{Receiver, answer};

/// What came to a collector that fails as `fails` says.
#[derive(Clone, Default)]
struct Collected {
    logs: Arc<Mutex<Vec<LogRecord>>>,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collected {
    async fn start(&self, mut fails: impl FnMut(&str) -> u16 + Send + 'static) -> Receiver {
        let collected = self.clone();
        Receiver::answering(None, "127.0.0.1:0".parse().unwrap(), move |posted| {
            assert_eq!(posted.headers["content-type"], "application/x-protobuf");
            let status = fails(&posted.path);
            if status != 200 {
                return answer(status);
            }
            match &*posted.path {
                "/v1/logs" => {
                    let request = ExportLogsServiceRequest::decode(&*posted.body).unwrap();
                    let scopes = request
                        .resource_logs
                        .into_iter()
                        .flat_map(|of| of.scope_logs);
                    let logs = scopes.flat_map(|of| of.log_records);
                    collected.logs.lock().unwrap().extend(logs);
                }
                "/v1/traces" => {
                    let request = ExportTraceServiceRequest::decode(&*posted.body).unwrap();
                    let scopes = request
                        .resource_spans
                        .into_iter()
                        .flat_map(|of| of.scope_spans);
                    collected
                        .spans
                        .lock()
                        .unwrap()
                        .extend(scopes.flat_map(|of| of.spans));
                }
                other => panic!("{other}"),
            }
            let body = Full::new(Bytes::new());
            http::Response::new(body)
        })
        .await
    }
}

fn config(receiver: &Receiver) -> Value {
    json!({
        "name": "otel",
        "kind": "otlp",
        "url": format!("http://{}/", receiver.address),
        "batch": { "records": 40, "delay": "1ms" },
        "backoff": { "min": "1ms", "max": "10ms" },
    })
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.clone()?.value? {
        Any::StringValue(text) => Some(text),
        Any::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn ids(logs: &[LogRecord]) -> Vec<String> {
    logs.iter()
        .map(|log| text(&log.attributes, "hoop.record.id").unwrap())
        .collect()
}

#[tokio::test]
async fn a_collector_that_fails_at_random_gets_every_record_and_every_span() {
    let collected = Collected::default();
    let mut random = fastrand::Rng::with_seed(5);
    let receiver = collected
        .start(move |_| if random.u8(..4) == 0 { 503 } else { 200 })
        .await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let sinks = start(&log, cursors.path(), [config(&receiver)]);
    for number in 1..=2000_u64 {
        let record = Record {
            number,
            kind: Kind::Exit as i32,
            trace: Some(trace(number)),
            actor: Some(process("1-0").into()),
            ..Record::default()
        };
        log.append(record.encode_to_vec());
    }
    stored(&sinks, 2000).await;
    let wanted: Vec<_> = (1..=2000)
        .map(|number| format!("node-1-7f3a/{number}"))
        .collect();
    assert_eq!(ids(&collected.logs.lock().unwrap()), wanted);
    let spans = collected.spans.lock().unwrap();
    let spans: Vec<_> = spans
        .iter()
        .map(|span| text(&span.attributes, "hoop.record.id").unwrap())
        .collect();
    assert_eq!(spans, wanted);
}

#[tokio::test]
async fn what_a_collector_refuses_is_skipped_alone_in_both_signals() {
    let collected = Collected::default();
    // A first answer of 503 for traces leaves log records in front whose spans are not delivered.
    let mut turn = 0;
    let receiver = collected
        .start(move |path| {
            turn += 1;
            if turn < 4 && path == "/v1/traces" {
                503
            } else {
                200
            }
        })
        .await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let sinks = start(&log, cursors.path(), [config(&receiver)]);
    fill(&log, 100);
    stored(&sinks, 100).await;
    assert_eq!(collected.logs.lock().unwrap().len(), 100);
    assert!(collected.spans.lock().unwrap().is_empty());
}

#[tokio::test]
async fn calls_and_processes_are_spans_of_their_session() {
    let collected = Collected::default();
    let receiver = collected.start(|_| 200).await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let attribute = |key: &str, value: &str| Attribute {
        key: key.into(),
        value: value.into(),
    };
    let call = Record {
        number: 1,
        time_dt: 5_000_000_000,
        boot_time_ns: 3_000_000_000,
        kind: Kind::Api as i32,
        trace: Some(trace(1)),
        fact: Some(Fact::Api(Box::new(ApiActivity {
            http_request: Some(HttpRequest {
                http_method: "POST".into(),
                url: Some(Url {
                    scheme: "https".into(),
                    hostname: "api.llm.test".into(),
                    path: "/v1/chat?x=1".into(),
                }),
                ..HttpRequest::default()
            }),
            http_response: Some(HttpResponse {
                code: 429,
                ..HttpResponse::default()
            }),
            attributes: vec![
                attribute("gen_ai.operation.name", r#""chat""#),
                attribute("gen_ai.request.model", r#""m""#),
                attribute("gen_ai.usage.input_tokens", "7"),
                attribute("gen_ai.input.messages", r#"[{"role":"user"}]"#),
            ],
            duration_ns: 250,
            ..ApiActivity::default()
        }))),
        ..Record::default()
    };
    let exit = Record {
        number: 2,
        time_dt: 6_000_000_000,
        boot_time_ns: 4_000_000_000,
        kind: Kind::Exit as i32,
        trace: Some(trace(2)),
        actor: Some(process("77-1500000000").into()),
        fact: Some(Fact::Process(ProcessActivity {
            exit_code: Some(3),
            ..ProcessActivity::default()
        })),
        ..Record::default()
    };
    // Ids that are none of W3C's go without.
    let unknown = Record {
        number: 3,
        trace: Some(Trace {
            trace_id: vec![1; 3],
            ..Trace::default()
        }),
        ..exit.clone()
    };
    let sinks = start(&log, cursors.path(), [config(&receiver)]);
    for record in [call, exit, unknown] {
        log.append(record.encode_to_vec());
    }
    stored(&sinks, 3).await;

    let spans = collected.spans.lock().unwrap();
    let [call, exit] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(call.name, "chat m");
    assert_eq!(
        (call.start_time_unix_nano, call.end_time_unix_nano),
        (5_000_000_000, 5_000_000_250)
    );
    assert_eq!((call.trace_id.len(), &call.span_id), (16, &vec![1; 8]));
    assert_eq!(call.parent_span_id, [9; 8]);
    assert_eq!(call.status.as_ref().unwrap().message, "HTTP 429");
    for (key, value) in [
        ("gen_ai.usage.input_tokens", "7"),
        ("gen_ai.input.messages", r#"[{"role":"user"}]"#),
        ("http.response.status_code", "429"),
        ("url.path", "/v1/chat"),
        ("url.query", "x=1"),
    ] {
        assert_eq!(text(&call.attributes, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(exit.name, "kubectl");
    assert_eq!(
        (exit.start_time_unix_nano, exit.end_time_unix_nano),
        (3_500_000_000, 6_000_000_000)
    );
    assert_eq!(exit.status.as_ref().unwrap().message, "exit status 3");

    let logs = collected.logs.lock().unwrap();
    assert_eq!(logs[0].event_name, "hoop.api");
    assert_eq!(logs[0].span_id, [1; 8]);
    assert!(logs[2].trace_id.is_empty());
}

fn trace(number: u64) -> Trace {
    Trace {
        trace_id: vec![8; 16],
        span_id: vec![number.to_le_bytes()[0].max(1); 8],
        parent_span_id: vec![9; 8],
    }
}

fn process(uid: &str) -> Actor {
    Actor {
        process: Some(Process {
            pid: 77,
            uid: uid.into(),
            name: "kubectl".into(),
            ..Process::default()
        }),
        ..Actor::default()
    }
}
