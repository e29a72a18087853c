//! Attributes by the semantic conventions of OpenTelemetry (<https://opentelemetry.io/docs/specs/semconv/>), and
//! `hoop.*` for what those do not name.

use hoop_ocsf::Node;
use hoop_records::{Endpoint, Fact, Record};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value;

use crate::render;

/// Attributes that are being collected.
#[derive(Default)]
pub(super) struct Attributes(pub Vec<KeyValue>);

impl Attributes {
    /// What every record has.
    pub(super) fn of(record: &Record, node: &Node) -> Self {
        let mut out = Self::default();
        out.text("hoop.record.id", &render::id(node, record.number));
        out.text("hoop.record.kind", record.kind().word());
        if let Some(workload) = &record.workload {
            out.text("hoop.workload.cgroup", &workload.cgroup);
            out.text("hoop.workload.identity", &workload.identity);
            out.text("hoop.workload.on_behalf_of", &workload.on_behalf_of);
            out.text("hoop.policy.name", &workload.policy);
        }
        if let Some(verdict) = &record.verdict {
            out.text("hoop.verdict.result", verdict.result().word());
            out.text("hoop.verdict.rule", &verdict.rule);
            out.text("hoop.verdict.because", &verdict.because);
            out.text("hoop.verdict.enforcement", &verdict.enforcement);
        }
        if let Some(actor) = &record.actor {
            if let Some(session) = &actor.session {
                out.text("session.id", &session.uid);
            }
            if let Some(process) = &actor.process {
                out.integer("process.pid", process.pid.into());
                out.text("process.command_line", &process.cmd_line);
                out.text("process.executable.name", &process.name);
                if let Some(file) = &process.file {
                    out.text("process.executable.path", &file.path);
                }
                if let Some(parent) = &process.parent_process {
                    out.integer("process.parent_pid", parent.pid.into());
                }
            }
        }
        out.fact(record);
        out
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.any(key, Any::StringValue(text.to_owned()));
        }
    }

    pub(super) fn integer(&mut self, key: &str, value: i64) {
        self.any(key, Any::IntValue(value));
    }

    fn any(&mut self, key: &str, value: Any) {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }

    fn fact(&mut self, record: &Record) {
        match &record.fact {
            Some(Fact::Network(fact)) => self.peer(fact.dst_endpoint.as_ref()),
            Some(Fact::Process(fact)) => {
                if let Some(code) = fact.exit_code {
                    self.integer("process.exit.code", code.into());
                }
            }
            Some(Fact::Api(fact)) => {
                if let Some(connection) = &fact.connection {
                    self.peer(connection.dst_endpoint.as_ref());
                }
                if let Some(request) = &fact.http_request {
                    self.text("http.request.method", &request.http_method);
                    if let Some(url) = &request.url {
                        self.text("server.address", &url.hostname);
                        self.text("url.scheme", &url.scheme);
                        let (path, query) = url.path.split_once('?').unwrap_or((&url.path, ""));
                        self.text("url.path", path);
                        self.text("url.query", query);
                    }
                }
                let code = fact
                    .http_response
                    .as_ref()
                    .map_or(0, |response| response.code);
                if code != 0 {
                    self.integer("http.response.status_code", code.into());
                }
                for attribute in &fact.attributes {
                    let value = serde_json::from_str(&attribute.value);
                    let text = || Any::StringValue(attribute.value.clone());
                    self.any(&attribute.key, value.map_or_else(|_| text(), any));
                }
            }
            Some(Fact::Plaintext(fact)) => {
                if let Some(connection) = &fact.connection {
                    self.peer(connection.dst_endpoint.as_ref());
                }
            }
            Some(Fact::Coverage(fact)) => self.peer(fact.dst_endpoint.as_ref()),
            Some(Fact::Link(fact)) => {
                self.text("gen_ai.tool.name", &fact.tool);
                self.text("gen_ai.tool.call.id", &fact.call_id);
            }
            _ => {}
        }
    }

    fn peer(&mut self, endpoint: Option<&Endpoint>) {
        let Some(endpoint) = endpoint else { return };
        self.text("network.peer.address", &endpoint.ip);
        if let Some(port) = endpoint.port {
            self.integer("network.peer.port", port.into());
        }
    }
}

/// What a JSON value is as an attribute: what is no scalar and no list of them is a JSON text.
fn any(value: Value) -> Any {
    match value {
        Value::String(text) => Any::StringValue(text),
        Value::Bool(value) => Any::BoolValue(value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Any::IntValue(integer),
            None => Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::Array(values) if values.iter().all(is_scalar) => {
            let values = values.into_iter().map(|value| AnyValue {
                value: Some(any(value)),
            });
            Any::ArrayValue(ArrayValue {
                values: values.collect(),
            })
        }
        other => Any::StringValue(other.to_string()),
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Bool(_) | Value::Number(_))
}

/// The node, as what the records are from.
pub(super) fn resource(node: &Node) -> Resource {
    let mut attributes = Attributes::default();
    attributes.text("service.name", "hoop");
    attributes.text("service.version", &node.version);
    attributes.text("service.instance.id", &node.log);
    attributes.text("host.name", &node.hostname);
    Resource {
        attributes: attributes.0,
        ..Resource::default()
    }
}

pub(super) fn scope(node: &Node) -> InstrumentationScope {
    InstrumentationScope {
        name: "hoop".to_owned(),
        version: node.version.clone(),
        ..InstrumentationScope::default()
    }
}

/// An id of W3C Trace Context, or none: OTLP refuses ids of another length.
pub(super) fn id<const N: usize>(id: &[u8]) -> Vec<u8> {
    if id.len() == N && id.iter().any(|&byte| byte != 0) {
        id.to_vec()
    } else {
        Vec::new()
    }
}

/// Nanoseconds since 1970, of which OTLP has none below 0.
pub(super) fn time(time: i64) -> u64 {
    u64::try_from(time).unwrap_or_default()
}
