//! A session as traces in OTLP/JSON (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids in
//! hexadecimal digits, 64-bit numbers as strings, enums as numbers. Attributes follow OpenTelemetry's semantic
//! conventions: `process.*`, `gen_ai.*`, `mcp.*`, `network.*`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::ids::SpanId;
use crate::session::{Call, Process, Request, Session, Time, Turn};

/// `SpanKind`.
const INTERNAL: u32 = 1;
const CLIENT: u32 = 3;

/// `StatusCode`.
const ERROR: u32 = 2;

/// How deep values of attributes are: readers of OTLP have limits of their own.
const MAX_DEPTH: usize = 16;

/// Writes an `ExportTraceServiceRequest`, in which the session is one trace: a span for each process, for each
/// request below the process that sent it, and for each call of a tool below the request whose response asked
/// for it. A call is linked to what carried it out. Verdicts are events of their process's span.
///
/// # Errors
///
/// The writer's.
pub fn otlp(session: &Session, out: &mut impl Write) -> io::Result<()> {
    let mut spans = Vec::new();
    let export = Export {
        session,
        events: events(session),
    };
    let processes = session.processes.iter().enumerate();
    spans.extend(processes.map(|(index, process)| export.process(index, process)));
    for turn in &session.turns {
        spans.push(export.turn(turn));
        spans.extend(turn.calls.iter().map(|call| export.call(turn, call)));
    }
    spans.extend(
        session
            .requests
            .iter()
            .map(|request| export.request(request)),
    );
    let resource = attributes_of([
        ("service.name", text(&session.policy)),
        ("service.instance.id", text(&session.uid)),
        ("hoop.session.uid", text(&session.uid)),
        ("hoop.identity", text(&session.identity)),
        ("hoop.on_behalf_of", text(&session.on_behalf_of)),
        ("hoop.policy", text(&session.policy)),
        ("hoop.cgroup", text(&session.cgroup)),
    ]);
    let document = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{
            "scope": {"name": "hoop", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans,
        }],
    }]});
    serde_json::to_writer(&mut *out, &document)?;
    out.write_all(b"\n")
}

struct Export<'a> {
    session: &'a Session,
    /// Events of processes.
    events: BTreeMap<usize, Vec<Value>>,
}

impl Export<'_> {
    fn process(&self, index: usize, process: &Process) -> Value {
        let parent = process
            .parent
            .and_then(|parent| self.session.processes.get(parent));
        // As records have it: the session's first process stands for a parent that is not known.
        let first = self
            .session
            .processes
            .iter()
            .find(|first| first.uid == self.session.uid);
        let parent = parent.or(first).filter(|parent| parent.uid != process.uid);
        let exit_code = process
            .ended
            .strip_prefix("exit ")
            .and_then(|code| code.parse::<i64>().ok());
        let attributes = attributes_of([
            ("process.pid", Some(json!(process.pid))),
            ("process.executable.name", text(&process.name)),
            ("process.executable.path", text(&process.path)),
            ("process.command_line", text(&process.cmd_line)),
            (
                "process.working_directory",
                text(&process.working_directory),
            ),
            ("process.user.id", process.user.map(|user| json!(user))),
            ("process.exit.code", exit_code.map(|code| json!(code))),
            ("hoop.process.uid", text(&process.uid)),
        ]);
        let name = if process.name.is_empty() {
            "process"
        } else {
            &process.name
        };
        let end = process.end.unwrap_or(self.session.end);
        let mut span = self.span(
            name,
            INTERNAL,
            process.span,
            (process.start, end),
            attributes,
        );
        put_parent(&mut span, parent.map(|parent| parent.span));
        if let Some(events) = self.events.get(&index) {
            span.insert("events".to_owned(), json!(events));
        }
        Value::Object(span)
    }

    fn turn(&self, turn: &Turn) -> Value {
        let name = format!("{} {}", turn.operation, turn.model);
        let mut attributes = own_attributes(&turn.attributes);
        attributes.extend(attributes_of([("server.address", text(&turn.destination))]));
        let mut span = self.span(
            name.trim(),
            CLIENT,
            turn.span,
            (turn.start, turn.end),
            attributes,
        );
        put_parent(&mut span, self.process_span(turn.process));
        if !turn.error.is_empty() {
            span.insert(
                "status".to_owned(),
                json!({"code": ERROR, "message": turn.error}),
            );
        }
        Value::Object(span)
    }

    fn call(&self, turn: &Turn, call: &Call) -> Value {
        let result = call.result.as_ref();
        let attributes = attributes_of([
            ("gen_ai.operation.name", text("execute_tool")),
            ("gen_ai.tool.name", text(&call.tool)),
            ("gen_ai.tool.call.id", text(&call.id)),
            ("gen_ai.tool.call.arguments", text(&call.arguments)),
            (
                "gen_ai.tool.call.result",
                result.and_then(|result| text(&result.text)),
            ),
        ]);
        let end = result.map_or(turn.end, |result| result.time).max(turn.end);
        let name = format!("execute_tool {}", call.tool);
        let mut span = self.span(&name, INTERNAL, call.span, (turn.end, end), attributes);
        put_parent(&mut span, Some(turn.span));
        if result.is_some_and(|result| result.is_error) {
            span.insert("status".to_owned(), json!({"code": ERROR}));
        }
        let links = call.links.iter().map(|link| {
            json!({
                "traceId": self.session.trace_id,
                "spanId": link.span,
                "attributes": attributes_of([
                    ("hoop.link.joined_by", text(&link.joined_by)),
                    ("hoop.link.confidence", Some(json!(link.confidence))),
                ]),
            })
        });
        let links: Vec<Value> = links.collect();
        if !links.is_empty() {
            span.insert("links".to_owned(), json!(links));
        }
        Value::Object(span)
    }

    fn request(&self, request: &Request) -> Value {
        let mut attributes = own_attributes(&request.attributes);
        if request.status > 0 && !has(&request.attributes, "http.response.status_code") {
            attributes.extend(attributes_of([(
                "http.response.status_code",
                Some(json!(request.status)),
            )]));
        }
        let times = (request.time, request.end);
        let mut span = self.span(&request.summary, CLIENT, request.span, times, attributes);
        put_parent(&mut span, self.process_span(request.process));
        Value::Object(span)
    }

    fn span(
        &self,
        name: &str,
        kind: u32,
        id: SpanId,
        (start, end): (Time, Time),
        attributes: Vec<Value>,
    ) -> Map<String, Value> {
        let mut span = Map::new();
        for (key, value) in [
            ("traceId", json!(self.session.trace_id)),
            ("spanId", json!(id)),
            ("name", json!(name)),
            ("kind", json!(kind)),
            ("startTimeUnixNano", nanoseconds(start)),
            ("endTimeUnixNano", nanoseconds(end.max(start))),
            ("attributes", Value::Array(attributes)),
        ] {
            span.insert(key.to_owned(), value);
        }
        span
    }

    fn process_span(&self, process: Option<usize>) -> Option<SpanId> {
        let process = process.and_then(|process| self.session.processes.get(process));
        process.map(|process| process.span)
    }
}

fn put_parent(span: &mut Map<String, Value>, parent: Option<SpanId>) {
    if let Some(parent) = parent {
        span.insert("parentSpanId".to_owned(), json!(parent));
    }
}

/// What was judged, by process.
fn events(session: &Session) -> BTreeMap<usize, Vec<Value>> {
    let mut events: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    let mut add = |process: Option<usize>, time, name: &str, attributes: Vec<Value>| {
        let event =
            json!({"timeUnixNano": nanoseconds(time), "name": name, "attributes": attributes});
        // Without a process it is the agent's, as far as is known.
        events.entry(process.unwrap_or(0)).or_default().push(event);
    };
    for connection in session
        .connections
        .iter()
        .filter(|connection| connection.denial.is_none())
    {
        let attributes = attributes_of([
            ("hoop.destination", text(&connection.destination)),
            ("hoop.verdict", text(&connection.result)),
            ("hoop.rule", text(&connection.rule)),
            ("hoop.record", Some(json!(connection.number))),
        ]);
        let name = format!("hoop.{}", connection.kind);
        add(connection.process, connection.time, &name, attributes);
    }
    for denial in &session.denials {
        let attributes = attributes_of([
            ("hoop.subject", text(&denial.subject)),
            ("hoop.verdict", text(&denial.result)),
            ("hoop.rule", text(&denial.rule)),
            ("hoop.because", text(&denial.because)),
            ("hoop.mode", text(&denial.mode)),
            ("hoop.hook", text(&denial.hook)),
            ("hoop.enforcement", text(&denial.enforcement)),
            ("hoop.record", Some(json!(denial.number))),
        ]);
        let name = format!("hoop.{}", denial.kind);
        add(denial.process, denial.time, &name, attributes);
    }
    events
}

fn nanoseconds(time: Time) -> Value {
    json!(time.0.max(0).to_string())
}

/// A text, if there is one.
fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!(text))
}

fn has(attributes: &[(String, String)], name: &str) -> bool {
    attributes.iter().any(|(key, _)| key == name)
}

/// The attributes of a record.
fn own_attributes(attributes: &[(String, String)]) -> Vec<Value> {
    let attributes = attributes.iter().map(|(key, json)| {
        let value = serde_json::from_str(json).unwrap_or_else(|_| json!(json));
        json!({"key": key, "value": any_value(&value, 0)})
    });
    attributes.collect()
}

/// As `KeyValue`s, without what is not known.
fn attributes_of<const N: usize>(all: [(&str, Option<Value>); N]) -> Vec<Value> {
    let known = all
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    known
        .map(|(key, value)| json!({"key": key, "value": any_value(&value, 0)}))
        .collect()
}

/// As `AnyValue`.
fn any_value(value: &Value, depth: usize) -> Value {
    match value {
        _ if depth > MAX_DEPTH => json!({"stringValue": value.to_string()}),
        Value::Null => json!({}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) => match number.as_i64() {
            Some(number) => json!({"intValue": number.to_string()}),
            None => json!({"doubleValue": number}),
        },
        Value::String(text) => json!({"stringValue": text}),
        Value::Array(values) => {
            let values: Vec<Value> = values
                .iter()
                .map(|value| any_value(value, depth + 1))
                .collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| json!({"key": key, "value": any_value(value, depth + 1)}));
            json!({"kvlistValue": {"values": members.collect::<Vec<_>>()}})
        }
    }
}
