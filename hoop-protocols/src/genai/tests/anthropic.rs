//! Messages.

use serde_json::{Value, json};

use super::{Case, attribute};
use crate::genai::{Issue, Part, Usage};

const HOST: &str = "api.anthropic.com";
const PATH: &str = "/v1/messages";

pub(super) fn cases() -> Vec<Case> {
    vec![whole(), stream(), vertex(), overloaded()]
}

fn request(stream: bool) -> Value {
    json!({
        "model": "claude-sonnet-4", "max_tokens": 1024, "stream": stream, "temperature": 1.0,
        "top_k": 40, "stop_sequences": ["END"],
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Read a and b."},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Two files.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "AAAA"},
                {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}},
                {"type": "tool_use", "id": "toolu_2", "name": "read", "input": {"path": "b"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "text of a"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true,
                    "content": [{"type": "text", "text": "no such file"}]},
                {"type": "text", "text": "Go on."},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                    "data": "AAAAAAAA"}},
                {"type": "document", "title": "Notes", "source": {"type": "text",
                    "media_type": "text/plain", "data": "a note"}},
            ]},
        ],
        "tools": [
            {"name": "read", "description": "Reads a file",
                "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        ],
        "mcp_servers": [{"type": "url", "name": "files", "url": "https://mcp.example"}],
    })
}

fn content() -> Value {
    json!([
        {"type": "thinking", "thinking": "One more.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "AAAA"},
        {"type": "text", "text": "I look."},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search",
            "input": {"query": "news"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
            {"type": "web_search_result", "title": "T", "url": "https://example.com",
                "encrypted_content": "AAAA"}]},
        {"type": "tool_use", "id": "toolu_3", "name": "read", "input": {"path": "c"}},
        {"type": "tool_use", "id": "toolu_4", "name": "now", "input": {}},
    ])
}

fn usage() -> Value {
    json!({"input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 100,
        "output_tokens": 50})
}

fn response() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-1",
        "content": content(), "stop_reason": "tool_use", "stop_sequence": null, "usage": usage()})
}

fn whole() -> Case {
    Case::json(HOST, PATH, &request(false), &response())
}

fn stream() -> Case {
    let mut start = response();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = json!(1);
    let mut events = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "ping"}),
    ];
    for (i, block) in content().as_array().unwrap().iter().enumerate() {
        let mut begun = block.clone();
        let mut deltas = Vec::new();
        match block["type"].as_str().unwrap() {
            "text" => {
                begun["text"] = json!("");
                deltas = vec![
                    json!({"type": "text_delta", "text": "I lo"}),
                    json!({"type": "citations_delta", "citation": {"cited_text": "x"}}),
                    json!({"type": "text_delta", "text": "ok."}),
                ];
            }
            "thinking" => {
                begun["thinking"] = json!("");
                deltas = vec![
                    json!({"type": "thinking_delta", "thinking": "One "}),
                    json!({"type": "thinking_delta", "thinking": "more."}),
                    json!({"type": "signature_delta", "signature": "c2ln"}),
                ];
            }
            "tool_use" | "server_tool_use" => {
                begun["input"] = json!({});
                let input = block["input"].to_string();
                if input != "{}" {
                    let (one, two) = input.split_at(4);
                    deltas = ["", one, two]
                        .map(|part| json!({"type": "input_json_delta", "partial_json": part}))
                        .to_vec();
                }
            }
            _ => {}
        }
        events.push(json!({"type": "content_block_start", "index": i, "content_block": begun}));
        events.extend(
            deltas
                .into_iter()
                .map(|delta| json!({"type": "content_block_delta", "index": i, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": i}));
    }
    events.push(
        json!({"type": "message_delta", "usage": {"output_tokens": 50},
        "delta": {"stop_reason": "tool_use", "stop_sequence": null}}),
    );
    events.push(json!({"type": "message_stop"}));
    Case::events(HOST, PATH, &request(true), &events)
}

fn vertex() -> Case {
    let mut request = request(false);
    request.as_object_mut().unwrap().remove("model");
    request["anthropic_version"] = json!("vertex-2023-10-16");
    let path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4@1:rawPredict";
    Case::json(
        "us-east5-aiplatform.googleapis.com",
        path,
        &request,
        &response(),
    )
}

fn overloaded() -> Case {
    let error = json!({"type": "error", "error": {"type": "overloaded_error",
        "message": "Overloaded"}, "request_id": "req_1"});
    Case::json(HOST, PATH, &request(false), &error).status(529)
}

#[test]
fn blocks_become_parts() {
    let call = whole().call();
    assert!(call.is_complete());
    assert_eq!(call.replies().collect::<Vec<_>>(), ["I look."]);
    let parts = &attribute(&call, "gen_ai.output.messages")[0]["parts"];
    assert_eq!(
        parts[0],
        json!({"type": "reasoning", "content": "One more."})
    );
    assert_eq!(parts[1]["type"], "redacted_thinking");
    assert_eq!(
        parts[3],
        json!({"type": "server_tool_call", "id": "srvtoolu_1", "name": "web_search",
            "server_tool_call": {"type": "server_tool_use", "arguments": {"query": "news"}}})
    );
    let found = &parts[4]["server_tool_call_response"];
    assert_eq!(found["type"], "web_search_tool_result");
    assert_eq!(found["response"][0]["encrypted_content"], "[3 bytes]");
    assert_eq!(
        parts[5],
        json!({"type": "tool_call", "id": "toolu_3", "name": "read", "arguments": {"path": "c"}})
    );
}

#[test]
fn the_request_is_read() {
    let call = whole().call();
    assert_eq!(call.system_prompts().collect::<Vec<_>>(), ["Be brief."]);
    let prompts: Vec<_> = call.user_prompts().collect();
    assert_eq!(prompts, ["Read a and b.", "Go on.", "Notes", "a note"]);
    let results: Vec<_> = call
        .tool_results()
        .map(|r| (&*r.content, r.is_error))
        .collect();
    assert_eq!(results, [("text of a", None), ("no such file", Some(true))]);
    let roles: Vec<_> = call
        .request
        .messages
        .iter()
        .map(|message| &*message.role)
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool", "user"]);
    assert!(matches!(
        &call.request.messages[3].parts[1],
        Part::Blob { size: 6, .. }
    ));
    let tools: Vec<_> = call
        .request
        .tools
        .iter()
        .map(|tool| (&*tool.kind, &*tool.name))
        .collect();
    let expected = [
        ("function", "read"),
        ("web_search_20250305", "web_search"),
        ("mcp_server", "files"),
    ];
    assert_eq!(tools, expected);
    assert_eq!(attribute(&call, "gen_ai.request.top_k"), json!(40.0));
}

#[test]
fn cached_input_is_counted_in() {
    let usage = Usage {
        input: Some(113),
        output: Some(50),
        cache_read: Some(100),
        cache_creation: Some(3),
        reasoning: None,
    };
    assert_eq!(whole().call().response.usage, usage);
    assert_eq!(stream().call().response.usage, usage);
}

#[test]
fn a_stream_says_what_the_whole_says() {
    let (mut streamed, whole) = (stream().call(), whole().call());
    assert!(streamed.is_complete(), "{:?}", streamed.issues);
    streamed.response.streamed = false;
    assert_eq!(streamed.response, whole.response);
}

#[test]
fn vertex_names_the_model_in_the_path() {
    let call = vertex().call();
    assert_eq!(call.provider, "gcp.vertex_ai");
    assert_eq!(call.request.model.as_deref(), Some("claude-opus-4@1"));
}

#[test]
fn errors_are_told_whole_and_within_a_stream() {
    let call = overloaded().call();
    assert_eq!(attribute(&call, "error.type"), json!("overloaded_error"));
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "O"}});
    let start = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": "Half"}});
    let call = Case::events(HOST, PATH, &request(true), &[start, error]).call();
    assert!(call.is_complete());
    assert_eq!(call.replies().collect::<Vec<_>>(), ["Half"]);
    assert_eq!(
        attribute(&call, "gen_ai.output.messages")[0]["finish_reason"],
        "error"
    );
}

#[test]
fn a_stream_without_its_end_says_so() {
    let start = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": "Half"}});
    let call = Case::events(HOST, PATH, &request(true), &[start]).call();
    assert!(call.issues.contains(&Issue::Incomplete));
}
