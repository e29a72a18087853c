//! 6003 API Activity, with the profiles `ai_operation` and `trace`.

use hoop_records::{ApiActivity, Body, HttpHeader, HttpRequest, HttpResponse, Record, Url};
use serde_json::{Map, Value, json};

use crate::event::{API, Event, OTHER, milliseconds};
use crate::network::tls_endpoints;
use crate::object::{Object, hex, id};
use crate::{Node, record_uid};

/// What OCSF knows as `http_method`.
const METHODS: [&str; 9] = [
    "OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH",
];

/// A request and its response, a message, or a call.
pub(crate) fn event(record: &Record, node: &Node, fact: &ApiActivity) -> Event {
    let request = fact.http_request.as_ref();
    let method = request.map_or("", |request| request.http_method.as_str());
    let activity = match method {
        "POST" => (1, "Create"),
        "GET" | "HEAD" | "OPTIONS" => (2, "Read"),
        "PUT" | "PATCH" => (3, "Update"),
        "DELETE" => (4, "Delete"),
        _ => (OTHER, "Call"),
    };
    let mut event = Event::new(record, node, API, activity);
    event.require_actor();
    let attributes = Attributes(fact);

    let end = record.time_dt.saturating_add_unsigned(fact.duration_ns);
    event
        .attributes
        .set("start_time", milliseconds(record.time_dt));
    event.attributes.set("end_time", milliseconds(end));
    event
        .attributes
        .set("duration", fact.duration_ns / 1_000_000);

    event
        .attributes
        .set("api", api(record, node, fact, &attributes));
    if let Some(request) = request {
        event
            .attributes
            .set("http_request", http_request(request, fact));
        if !METHODS.contains(&method) {
            event.unmapped.set_text("http_method", method);
        }
    }
    if let Some(response) = fact
        .http_response
        .as_ref()
        .filter(|response| response.code != 0)
    {
        event
            .attributes
            .set("http_response", http_response(response, fact));
        event
            .attributes
            .set("status_code", response.code.to_string());
        event.status(response.code < 400);
    }
    endpoints(&mut event, node, fact);
    model(&mut event, node, &attributes);
    trace(&mut event, record, end, &attributes);

    event.unmapped.set_text("protocol", &fact.protocol);
    event.unmapped.set_json("attributes", &attributes.all());
    event.unmapped.set_json("message", &fact.message);
    event.unmapped.set_json("connection", &fact.connection);
    event.unmapped.set_json("incomplete", &fact.incomplete);
    event.unmapped.set_json("masked", &fact.masked);
    event
}

fn api(record: &Record, node: &Node, fact: &ApiActivity, attributes: &Attributes<'_>) -> Value {
    let mut api = Object::default();
    let request = fact.http_request.as_ref();
    let named = ["mcp.method.name", "gen_ai.operation.name"]
        .iter()
        .find_map(|name| attributes.text(name));
    let operation = named.unwrap_or_else(|| match request {
        Some(request) => {
            let path = request.url.as_ref().map_or("", |url| url.path.as_str());
            let path = path.split('?').next().unwrap_or_default();
            format!("{} {path}", request.http_method)
        }
        None => fact.protocol.clone(),
    });
    api.set("operation", id(operation.trim()));
    let host = request
        .and_then(|request| request.url.as_ref())
        .map_or("", |url| &url.hostname);
    if !host.is_empty() {
        api.set("service", json!({ "name": host }));
    }
    let mut asked = Object::default();
    let span = record
        .trace
        .as_ref()
        .map_or_else(String::new, |trace| hex(&trace.span_id));
    let uid = if span.is_empty() {
        record_uid(node, record.number)
    } else {
        span
    };
    asked.set("uid", uid);
    if let Some(body) = request.and_then(|request| request.body.as_ref()) {
        asked.set_json("data", body);
    }
    api.set("request", asked.into_value());
    if let Some(response) = &fact.http_response {
        let mut answer = Object::default();
        if response.code != 0 {
            answer.set("code", response.code);
        }
        if let Some(body) = &response.body {
            answer.set_json("data", body);
        }
        if !answer.0.is_empty() {
            api.set("response", answer.into_value());
        }
    }
    api.into_value()
}

fn http_request(request: &HttpRequest, fact: &ApiActivity) -> Value {
    let mut object = Object::default();
    if METHODS.contains(&request.http_method.as_str()) {
        object.set("http_method", request.http_method.as_str());
    }
    if let Some(url) = &request.url {
        object.set("url", url_object(url));
    }
    object.set_text("version", version(&fact.protocol));
    object.set_text("user_agent", header(&request.http_headers, "user-agent"));
    set_headers(&mut object, &request.http_headers);
    set_length(&mut object, request.body.as_ref());
    object.into_value()
}

fn http_response(response: &HttpResponse, _: &ApiActivity) -> Value {
    let mut object = Object::default();
    object.set("code", response.code);
    object.set_text(
        "content_type",
        header(&response.http_headers, "content-type"),
    );
    set_headers(&mut object, &response.http_headers);
    set_length(&mut object, response.body.as_ref());
    object.into_value()
}

fn version(protocol: &str) -> &str {
    match protocol {
        "h2" => "2",
        other => other.strip_prefix("http/").unwrap_or_default(),
    }
}

fn set_headers(object: &mut Object, headers: &[HttpHeader]) {
    let headers: Vec<_> = headers
        .iter()
        .map(|header| json!({ "name": header.name, "value": header.value }))
        .collect();
    if !headers.is_empty() {
        object.set("http_headers", headers);
    }
}

fn set_length(object: &mut Object, body: Option<&Body>) {
    if let Some(body) = body {
        object.set("body_length", body.size);
    }
}

fn header<'a>(headers: &'a [HttpHeader], name: &str) -> &'a str {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name));
    header.map_or("", |header| header.value.as_str())
}

fn url_object(url: &Url) -> Value {
    let mut object = Object::default();
    object.set_text("scheme", &url.scheme);
    object.set_text("hostname", &url.hostname);
    let (path, query) = url.path.split_once('?').unwrap_or((&url.path, ""));
    object.set("path", if path.is_empty() { "/" } else { path });
    object.set_text("query_string", query);
    if !url.scheme.is_empty() && !url.hostname.is_empty() {
        let text = format!("{}://{}{}", url.scheme, url.hostname, url.path);
        object.set("url_string", text);
    }
    object.into_value()
}

fn endpoints(event: &mut Event, node: &Node, fact: &ApiActivity) {
    event
        .attributes
        .set("src_endpoint", json!({ "hostname": id(&node.hostname) }));
    if let Some(connection) = &fact.connection {
        for (name, value) in tls_endpoints(connection) {
            event.attributes.set(name, value);
        }
    }
}

/// The profile `ai_operation`: which model, and how much.
fn model(event: &mut Event, node: &Node, attributes: &Attributes<'_>) {
    let operation = attributes.text("gen_ai.operation.name");
    let tool = attributes.text("gen_ai.tool.name");
    let mcp = attributes.text("mcp.method.name");
    if operation.is_none() && tool.is_none() && mcp.is_none() {
        return;
    }
    event.profile("ai_operation");
    let named = ["gen_ai.response.model", "gen_ai.request.model"]
        .iter()
        .find_map(|name| attributes.text(name));
    if let Some(name) = named {
        let provider = attributes.text("gen_ai.provider.name");
        let model = json!({
            "name": id(&name),
            "ai_provider": provider.as_deref().map_or("unknown", id),
        });
        event.attributes.set("ai_model", model);
    }
    let mut context = Object::default();
    let is_tool = tool.is_some() || mcp.is_some() || operation.as_deref() == Some("execute_tool");
    let (role, name) = if is_tool {
        (3, "Tool")
    } else {
        (2, "Assistant")
    };
    context.set("ai_role_id", role);
    context.set("ai_role", name);
    context.set("service", json!({ "name": id(&node.hostname) }));
    context.set_text("name", &tool.unwrap_or_default());
    let uid = ["gen_ai.response.id", "gen_ai.conversation.id"]
        .iter()
        .find_map(|name| attributes.text(name));
    context.set_text("uid", &uid.unwrap_or_default());
    let input = attributes.number("gen_ai.usage.input_tokens");
    let output = attributes.number("gen_ai.usage.output_tokens");
    if let Some(input) = input {
        context.set("prompt_tokens", input);
    }
    if let Some(output) = output {
        context.set("completion_tokens", output);
    }
    if let Some((input, output)) = input.zip(output) {
        context.set("total_tokens", input.saturating_add(output));
    }
    event
        .attributes
        .set("message_context", context.into_value());
}

/// The profile `trace`.
fn trace(event: &mut Event, record: &Record, end: i64, attributes: &Attributes<'_>) {
    let Some(trace) = record
        .trace
        .as_ref()
        .filter(|trace| !trace.trace_id.is_empty())
    else {
        return;
    };
    let mut span = Object::default();
    span.set("uid", id(&hex(&trace.span_id)));
    span.set_text("parent_uid", &hex(&trace.parent_span_id));
    span.set("start_time", milliseconds(record.time_dt));
    span.set("end_time", milliseconds(end));
    span.set_text(
        "operation",
        &attributes.text("gen_ai.operation.name").unwrap_or_default(),
    );
    let trace = json!({ "uid": hex(&trace.trace_id), "span": span.into_value() });
    event.profile("trace");
    event.attributes.set("trace", trace);
}

/// Attributes by the OpenTelemetry conventions, each a JSON text.
struct Attributes<'a>(&'a ApiActivity);

impl Attributes<'_> {
    fn value(&self, key: &str) -> Option<Value> {
        let attribute = self
            .0
            .attributes
            .iter()
            .find(|attribute| attribute.key == key)?;
        serde_json::from_str(&attribute.value).ok()
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.as_u64()
    }

    fn all(&self) -> Map<String, Value> {
        let attributes = self.0.attributes.iter().map(|attribute| {
            let value = serde_json::from_str(&attribute.value);
            let text = || Value::String(attribute.value.clone());
            (attribute.key.clone(), value.unwrap_or_else(|_| text()))
        });
        attributes.collect()
    }
}
