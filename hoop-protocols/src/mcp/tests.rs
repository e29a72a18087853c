//! Sessions in the shapes of the specification, and what must come out of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall end")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::session::EARLY;
use super::{Call, Http, HttpRequest, Limits, Outcome, Side, Stdio};
use crate::genai::{Issue, Part};

fn attribute(call: &Call, name: &str) -> Value {
    call.attributes()
        .find(|(key, _)| *key == name)
        .map_or(Value::Null, |(_, value)| value)
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "agent", "version": "1.2"}}})
}

fn initialized() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": "2025-03-26",
        "capabilities": {"tools": {}}, "serverInfo": {"name": "files", "version": "3"}}})
}

fn read(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "read_file", "arguments": {"path": "/etc/hosts"}, "_meta": {"progressToken": 1}}})
}

fn contents(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"isError": false, "content": [
        {"type": "text", "text": "127.0.0.1"},
        {"type": "image", "data": "AAAA", "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "file:///a", "text": "of a"}},
        {"type": "resource_link", "uri": "file:///b", "name": "b"}],
        "structuredContent": {"lines": 1}}})
}

/// Both directions of a pair of pipes.
fn session() -> Vec<(Side, Value)> {
    use Side::{Client, Server};
    let rpc = |mut json: Value| {
        json["jsonrpc"] = json!("2.0");
        json
    };
    vec![
        (Client, initialize()),
        (Server, initialized()),
        (Client, rpc(json!({"method": "notifications/initialized"}))),
        (Client, rpc(json!({"id": 1, "method": "tools/list"}))),
        (
            Server,
            rpc(json!({"id": 1, "result": {"tools": [{"name": "read_file",
            "description": "Reads", "inputSchema": {"type": "object"}}]}})),
        ),
        (Client, read(&json!(2))),
        // The server asks the client, with an identifier that the client has in use too.
        (
            Server,
            rpc(
                json!({"id": 2, "method": "sampling/createMessage", "params": {
            "messages": [{"role": "user", "content": {"type": "text", "text": "Sum up."}}]}}),
            ),
        ),
        (
            Client,
            rpc(json!({"id": 2, "result": {"role": "assistant",
            "content": {"type": "text", "text": "Short."}, "model": "m"}})),
        ),
        (Server, contents(&json!(2))),
        (
            Client,
            rpc(json!({"id": "2", "method": "resources/read", "params": {"uri": "file:///a"}})),
        ),
        (
            Server,
            rpc(
                json!({"id": "2", "error": {"code": -32002, "message": "Not found",
            "data": {"uri": "file:///a"}}}),
            ),
        ),
        (
            Client,
            rpc(
                json!({"id": 3, "method": "prompts/get", "params": {"name": "review",
            "arguments": {"code": "x"}}}),
            ),
        ),
        (
            Server,
            rpc(json!({"id": 3, "result": {"messages": [{"role": "user",
            "content": {"type": "text", "text": "Review x"}}]}})),
        ),
        (Client, read(&json!(4))),
        (
            Client,
            rpc(json!({"method": "notifications/cancelled",
            "params": {"requestId": 4, "reason": "too slow"}})),
        ),
        (Client, json!([read(&json!(5)), read(&json!(6))])),
        (
            Server,
            json!([
                contents(&json!(6)),
                rpc(json!({"id": 5, "result": {"isError": true,
            "content": [{"type": "text", "text": "denied"}]}}))
            ]),
        ),
    ]
}

fn run(messages: &[(Side, Value)], size: usize) -> Vec<Call> {
    let mut stdio = Stdio::new(Limits::default());
    let mut calls = Vec::new();
    for (side, message) in messages {
        for piece in format!("{message}\n").as_bytes().chunks(size) {
            stdio.push(*side, piece, |call| calls.push(call));
        }
    }
    stdio.end(|call| calls.push(call));
    calls
}

#[test]
fn requests_meet_their_responses() {
    let calls = run(&session(), usize::MAX);
    let told: Vec<_> = calls
        .iter()
        .map(|call| {
            (
                call.method.as_deref().unwrap(),
                call.id.as_deref(),
                call.caller,
            )
        })
        .collect();
    use Side::{Client, Server};
    assert_eq!(
        told,
        [
            ("initialize", Some("0"), Client),
            ("notifications/initialized", None, Client),
            ("tools/list", Some("1"), Client),
            ("sampling/createMessage", Some("2"), Server),
            ("tools/call", Some("2"), Client),
            ("resources/read", Some("2"), Client),
            ("prompts/get", Some("3"), Client),
            ("notifications/cancelled", None, Client),
            ("tools/call", Some("6"), Client),
            ("tools/call", Some("5"), Client),
            ("tools/call", Some("4"), Client),
        ]
    );
    let unanswered = calls.last().unwrap();
    assert_eq!(unanswered.outcome, Outcome::Unanswered);
    assert_eq!(unanswered.cancelled.as_deref(), Some("too slow"));
    assert!(calls.iter().all(|call| call.issues.is_empty()));
}

#[test]
fn the_attributes_are_those_of_the_conventions() {
    let calls = run(&session(), usize::MAX);
    for (name, value) in [
        ("mcp.method.name", json!("tools/call")),
        ("gen_ai.operation.name", json!("execute_tool")),
        ("gen_ai.tool.name", json!("read_file")),
        ("gen_ai.tool.call.arguments", json!({"path": "/etc/hosts"})),
        ("jsonrpc.request.id", json!("2")),
        ("mcp.protocol.version", json!("2025-03-26")),
        ("network.transport", json!("pipe")),
        ("network.protocol.name", Value::Null),
        ("error.type", Value::Null),
        ("hoop.mcp.client.name", json!("agent")),
        ("hoop.mcp.server.version", json!("3")),
    ] {
        assert_eq!(attribute(&calls[4], name), value, "{name}");
    }
    let result = attribute(&calls[4], "gen_ai.tool.call.result");
    assert_eq!(result["structured_content"], json!({"lines": 1}));
    assert_eq!(result["content"][0]["content"], "127.0.0.1");
    assert_eq!(result["content"][1]["size"], 3);
    assert_eq!(result["content"][3]["uri"], "file:///b");
    assert_eq!(
        attribute(&calls[2], "gen_ai.tool.definitions")[0]["name"],
        "read_file"
    );
    assert_eq!(attribute(&calls[5], "error.type"), json!("-32002"));
    assert_eq!(
        attribute(&calls[5], "rpc.response.status_code"),
        json!("-32002")
    );
    assert_eq!(attribute(&calls[5], "mcp.resource.uri"), json!("file:///a"));
    assert_eq!(attribute(&calls[6], "gen_ai.prompt.name"), json!("review"));
    assert_eq!(attribute(&calls[6], "gen_ai.operation.name"), Value::Null);
    assert_eq!(attribute(&calls[9], "error.type"), json!("tool_error"));
    assert_eq!(attribute(&calls[9], "gen_ai.tool.call.result"), Value::Null);
}

#[test]
fn the_visitor_forgets_no_text() {
    for mut call in run(&session(), 100) {
        call.texts_mut(|text, _| "#".clone_into(text));
        let left = format!("{call:?}");
        let mut quoted = left.split('"').skip(1).step_by(2);
        let constants = ["#", "image", "document"];
        assert_eq!(quoted.find(|text| !constants.contains(text)), None);
    }
}

#[test]
fn how_bytes_are_cut_means_nothing() {
    let whole = run(&session(), usize::MAX);
    for size in [1, 2, 3, 50, 1000] {
        assert_eq!(run(&session(), size), whole, "{size}");
    }
}

#[test]
fn a_pipe_that_is_none_keeps_nothing() {
    for first in [
        "hello\n",
        "{\"a\":1}\n",
        "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"tools/list\"}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"} x\n",
        "[]\n",
        "Content-Length: 20\r\n\r\n",
    ] {
        let mut stdio = Stdio::new(Limits::default());
        let message = format!("{first}{}\n", read(&json!(1)));
        for byte in message.as_bytes() {
            stdio.push(Side::Client, &[*byte], |_| panic!("{first}"));
        }
        assert_eq!(stdio.is_mcp(), Some(false), "{first}");
        stdio.end(|_| panic!("{first}"));
    }
}

#[test]
fn a_banner_hides_no_server() {
    for banner_first in [true, false] {
        for size in [1, 5, 1000] {
            let mut calls = Vec::new();
            let mut stdio = Stdio::new(Limits::default());
            let mut parts = [
                (Side::Server, "Server 1.0 is running\nready\n".to_owned()),
                (Side::Client, format!("{}\n", read(&json!(1)))),
            ];
            if !banner_first {
                parts.reverse();
            }
            for (side, text) in parts
                .into_iter()
                .chain([(Side::Server, format!("{}\n", contents(&json!(1))))])
            {
                for piece in text.as_bytes().chunks(size) {
                    stdio.push(side, piece, |call| calls.push(call));
                }
            }
            let [call] = calls.as_slice() else {
                panic!("{}", calls.len())
            };
            assert_eq!(call.tool.as_deref(), Some("read_file"));
            assert!(matches!(call.outcome, Outcome::Result { .. }));
            assert_eq!(
                call.issues.contains(&Issue::ResponseMalformed),
                !banner_first
            );
        }
    }
}

#[test]
fn a_response_without_its_request_says_so() {
    let calls = run(&[(Side::Server, contents(&json!(9)))], 10);
    assert_eq!(
        (calls[0].method.as_deref(), calls[0].caller),
        (None, Side::Client)
    );
    assert!(calls[0].issues.contains(&Issue::Incomplete));
    assert_eq!(calls[0].content[0], Part::Text("127.0.0.1".to_owned()));
}

#[test]
fn an_answer_that_is_seen_before_its_request_meets_it() {
    let mut stdio = Stdio::new(Limits::default());
    let mut calls = Vec::new();
    let mut push = |side, message: Value| {
        stdio.push(side, format!("{message}\n").as_bytes(), |call| {
            calls.push(call);
        });
    };
    push(Side::Server, contents(&json!(2)));
    push(Side::Server, contents(&json!(1)));
    push(Side::Client, read(&json!(1)));
    push(Side::Client, read(&json!(2)));
    stdio.end(|_| panic!("everything was told"));
    assert_eq!(calls.len(), 2);
    for (call, id) in calls.iter().zip(["1", "2"]) {
        assert_eq!(call.id.as_deref(), Some(id));
        assert_eq!(call.tool.as_deref(), Some("read_file"));
        assert!(call.is_complete(), "{call:?}");
    }
}

#[test]
fn answers_whose_requests_do_not_come_are_told() {
    let mut stdio = Stdio::new(Limits::default());
    let mut told = 0;
    for id in 0..100 {
        let line = format!("{}\n", contents(&json!(id)));
        stdio.push(Side::Server, line.as_bytes(), |_| told += 1);
    }
    assert_eq!(told, 100 - EARLY);
    stdio.settle(|_| panic!("the requests may still come"));
    stdio.settle(|call| {
        assert!(call.issues.contains(&Issue::Incomplete));
        told += 1;
    });
    assert_eq!(told, 100);
}

#[test]
fn what_waits_is_bounded() {
    let mut stdio = Stdio::new(Limits {
        waiting: 10_000,
        ..Limits::default()
    });
    let mut calls = Vec::new();
    for id in 0..100 {
        let line = format!("{}\n", read(&json!(id)));
        stdio.push(Side::Client, line.as_bytes(), |call| calls.push(call));
    }
    assert!(calls.len() > 90);
    stdio.end(|call| calls.push(call));
    assert_eq!(calls.len(), 100);
    assert!(calls.iter().all(|call| call.outcome == Outcome::Unanswered));
}

#[test]
fn a_line_beyond_the_limit_is_cut_and_it_is_said() {
    let mut stdio = Stdio::new(Limits {
        message: 200,
        ..Limits::default()
    });
    let mut calls = Vec::new();
    let long = json!({"jsonrpc": "2.0", "method": "tools/call", "id": 2,
        "params": {"name": "write", "arguments": {"text": "x".repeat(500)}}});
    for line in [read(&json!(1)), long, read(&json!(3))] {
        for piece in format!("{line}\n").as_bytes().chunks(33) {
            stdio.push(Side::Client, piece, |call| calls.push(call));
        }
    }
    stdio.end(|call| calls.push(call));
    assert_eq!(calls.len(), 3);
    assert!(
        calls
            .iter()
            .any(|call| call.issues.contains(&Issue::RequestTruncated))
    );
}

const POST: HttpRequest<'_> = HttpRequest {
    method: "POST",
    authority: "mcp.example",
    path: "/mcp",
    content_type: Some("application/json"),
    accept: Some("application/json, text/event-stream"),
    session_id: None,
    protocol_version: None,
};

/// A `POST`, answered by JSON.
fn post(
    http: &mut Http,
    head: &HttpRequest<'_>,
    body: &Value,
    answer: Option<(&Value, Option<&str>)>,
    calls: &mut Vec<Call>,
) {
    let mut exchange = http.begin(head).unwrap();
    for piece in body.to_string().as_bytes().chunks(9) {
        http.request_bytes(&mut exchange, piece);
    }
    http.request_end(&mut exchange, |call| calls.push(call));
    let (json, id) = answer.map_or((Value::Null, None), |(json, id)| (json.clone(), id));
    let status = if json.is_null() { 202 } else { 200 };
    http.response_head(&mut exchange, status, Some("application/json"), id);
    if !json.is_null() {
        for piece in json.to_string().as_bytes().chunks(9) {
            http.response_bytes(&mut exchange, piece);
        }
    }
    http.end(exchange, true, |call| calls.push(call));
}

#[test]
fn streamable_http() {
    let mut http = Http::new(Limits::default());
    let mut calls = Vec::new();
    post(
        &mut http,
        &POST,
        &initialize(),
        Some((&initialized(), Some("s1"))),
        &mut calls,
    );
    let head = HttpRequest {
        session_id: Some("s1"),
        protocol_version: Some("2025-03-26"),
        ..POST
    };
    let mut exchange = http.begin(&head).unwrap();
    http.request_bytes(&mut exchange, read(&json!(1)).to_string().as_bytes());
    http.request_end(&mut exchange, |_| panic!());
    http.response_head(&mut exchange, 200, Some("text/event-stream"), None);
    let ask = json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create",
        "params": {"message": "Sure?"}});
    http.sse(
        &mut exchange,
        "message",
        ask.to_string().as_bytes(),
        |_| panic!(),
    );
    // The client answers in an exchange of its own.
    let answer = json!({"jsonrpc": "2.0", "id": 7, "result": {"action": "accept"}});
    post(&mut http, &head, &answer, None, &mut calls);
    http.sse(
        &mut exchange,
        "message",
        contents(&json!(1)).to_string().as_bytes(),
        |call| calls.push(call),
    );
    http.end(exchange, true, |_| panic!());
    http.finish(|_| panic!());
    let told: Vec<_> = calls
        .iter()
        .map(|call| call.method.as_deref().unwrap())
        .collect();
    assert_eq!(told, ["initialize", "elicitation/create", "tools/call"]);
    for call in &calls {
        assert_eq!(call.session_id.as_deref(), Some("s1"));
        assert_eq!(attribute(call, "network.transport"), json!("tcp"));
        assert_eq!(call.server.as_ref().unwrap().name, "files");
        assert!(call.is_complete());
    }
}

#[test]
fn the_older_transport() {
    let mut http = Http::new(Limits::default());
    let mut calls = Vec::new();
    let get = HttpRequest {
        method: "GET",
        path: "/sse",
        content_type: None,
        accept: Some("text/event-stream"),
        ..POST
    };
    let mut stream = http.begin(&get).unwrap();
    http.response_head(&mut stream, 200, Some("text/event-stream"), None);
    http.sse(
        &mut stream,
        "endpoint",
        b"/messages/?session_id=5",
        |_| panic!(),
    );
    let head = HttpRequest {
        path: "/messages/?session_id=5",
        ..POST
    };
    post(&mut http, &head, &read(&json!(1)), None, &mut calls);
    http.sse(
        &mut stream,
        "message",
        contents(&json!(1)).to_string().as_bytes(),
        |call| calls.push(call),
    );
    post(&mut http, &head, &read(&json!(2)), None, &mut calls);
    http.end(stream, false, |call| calls.push(call));
    http.finish(|call| calls.push(call));
    let told: Vec<_> = calls
        .iter()
        .map(|call| (call.id.as_deref(), call.outcome == Outcome::Unanswered))
        .collect();
    assert_eq!(told, [(Some("1"), false), (Some("2"), true)]);
}

#[test]
fn other_json_rpc_is_none() {
    let mut http = Http::new(Limits::default());
    let mut calls = Vec::new();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []});
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": "0x1"});
    post(&mut http, &POST, &body, Some((&answer, None)), &mut calls);
    assert!(calls.is_empty());
    assert!(
        http.begin(&HttpRequest {
            content_type: Some("text/html"),
            accept: None,
            ..POST
        })
        .is_none()
    );
}

#[test]
fn a_refused_request_is_told_with_its_status() {
    let mut http = Http::new(Limits::default());
    let mut calls = Vec::new();
    let mut exchange = http
        .begin(&HttpRequest {
            session_id: Some("gone"),
            ..POST
        })
        .unwrap();
    http.request_bytes(&mut exchange, read(&json!(1)).to_string().as_bytes());
    http.response_head(&mut exchange, 404, Some("text/html"), None);
    http.response_bytes(&mut exchange, b"<html>");
    http.end(exchange, true, |call| calls.push(call));
    assert_eq!(
        (calls[0].http_status, &calls[0].outcome),
        (Some(404), &Outcome::Unanswered)
    );
}

#[test]
fn sessions_are_bounded_and_end() {
    let mut http = Http::new(Limits {
        sessions: 4,
        ..Limits::default()
    });
    let mut calls = Vec::new();
    let ids: Vec<_> = (0..20).map(|id| id.to_string()).collect();
    for id in &ids {
        let head = HttpRequest {
            session_id: Some(id),
            ..POST
        };
        post(&mut http, &head, &read(&json!(1)), None, &mut calls);
    }
    assert_eq!(calls.len(), 16);
    let head = HttpRequest {
        method: "DELETE",
        session_id: Some("19"),
        ..POST
    };
    let mut exchange = http.begin(&head).unwrap();
    http.response_head(&mut exchange, 204, None, None);
    http.end(exchange, true, |call| calls.push(call));
    assert_eq!(calls.last().unwrap().session_id.as_deref(), Some("19"));
    http.finish(|call| calls.push(call));
    assert_eq!(calls.len(), 20);
}

proptest! {
    /// Any change of one byte, and any cut: no panic, and never more calls than messages.
    #[test]
    fn a_broken_session_is_no_panic(at: prop::sample::Index, byte: u8, size in 1_usize..200) {
        let mut stdio = Stdio::new(Limits::default());
        let mut calls = 0;
        for (side, message) in session() {
            let mut line = format!("{message}\n").into_bytes();
            let at = at.index(line.len());
            line[at] = byte;
            for piece in line.chunks(size) {
                stdio.push(side, piece, |_| calls += 1);
            }
        }
        stdio.end(|_| calls += 1);
        prop_assert!(calls <= 60);
    }
}
