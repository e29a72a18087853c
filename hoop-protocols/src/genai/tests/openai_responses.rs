//! Responses.

use serde_json::{Value, json};

use super::{Case, attribute};
use crate::genai::{Issue, Part, ToolCall};

const HOST: &str = "api.openai.com";
const PATH: &str = "/v1/responses";

pub(super) fn cases() -> Vec<Case> {
    vec![whole(), stream(), failed()]
}

fn request(stream: bool) -> Value {
    json!({
        "model": "o4-mini", "instructions": "Be brief.", "previous_response_id": "resp_0",
        "conversation": {"id": "conv_1"}, "stream": stream, "max_output_tokens": 50,
        "reasoning": {"effort": "high", "summary": "auto"}, "text": {"format": {"type": "text"}},
        "input": [
            {"role": "user", "content": "What is new?"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "And this?"},
                {"type": "input_image", "image_url": "data:image/jpeg;base64,AAAA"},
                {"type": "input_file", "file_id": "file_1"},
            ]},
            {"type": "reasoning", "id": "rs_0", "summary": [{"type": "summary_text", "text": "Hm."}],
                "encrypted_content": "AAAA"},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{\"a\":1}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "seen"},
            {"type": "computer_call_output", "call_id": "call_2", "output":
                {"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAAAAAA"}},
            {"type": "item_reference", "id": "msg_9"},
        ],
        "tools": [
            {"type": "function", "name": "look", "description": "Looks", "parameters": {}},
            {"type": "web_search"},
            {"type": "mcp", "server_label": "files", "server_url": "https://mcp.example"},
        ],
    })
}

fn output() -> Value {
    json!([
        {"type": "reasoning", "id": "rs_1", "summary": [
            {"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed",
            "action": {"type": "search", "query": "news"}},
        {"type": "mcp_call", "id": "mcp_1", "name": "read", "server_label": "files",
            "arguments": "{\"path\":\"/a\"}", "output": "text of a", "error": null},
        {"type": "function_call", "id": "fc_1", "call_id": "call_3", "name": "look",
            "arguments": "{\"a\":2}", "status": "completed"},
        {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_4", "name": "sql",
            "input": "select 1"},
        {"type": "computer_call", "id": "cu_1", "call_id": "call_5",
            "action": {"type": "click", "x": 1, "y": 2}},
        {"type": "image_generation_call", "id": "ig_1", "result": "AAAAAAAA"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "It rains.", "annotations": []},
                {"type": "refusal", "refusal": "No more."}]},
    ])
}

fn response(status: &str, output: &Value) -> Value {
    json!({"id": "resp_1", "object": "response", "status": status, "model": "o4-mini-2025",
        "error": null, "incomplete_details": null, "conversation": {"id": "conv_1"},
        "output": output, "usage": {"input_tokens": 30, "input_tokens_details":
            {"cached_tokens": 10}, "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 50}})
}

fn whole() -> Case {
    Case::json(
        HOST,
        PATH,
        &request(false),
        &response("completed", &output()),
    )
}

/// The events of the items above; deltas for those that have them.
fn events() -> Vec<Value> {
    let mut all = vec![
        json!({"type": "response.created", "response": response("in_progress", &json!([]))}),
        json!({"type": "response.in_progress", "response": response("in_progress", &json!([]))}),
    ];
    let delta = |kind: &str, index: usize, sub: (&str, u64), text: &str| json!({"type": kind, "output_index": index, sub.0: sub.1, "delta": text});
    for (i, item) in output().as_array().unwrap().iter().enumerate() {
        let mut begun = item.clone();
        for key in ["summary", "content"] {
            if begun.get(key).is_some() {
                begun[key] = json!([]);
            }
        }
        for key in ["arguments", "input"] {
            if begun.get(key).is_some() {
                begun[key] = json!("");
            }
        }
        begun.as_object_mut().unwrap().remove("output");
        all.push(json!({"type": "response.output_item.added", "output_index": i, "item": begun}));
        match item["type"].as_str().unwrap() {
            "reasoning" => {
                let kind = "response.reasoning_summary_text.delta";
                all.push(delta(kind, i, ("summary_index", 0), "Fir"));
                all.push(delta(kind, i, ("summary_index", 0), "st."));
                all.push(delta(kind, i, ("summary_index", 1), "Then."));
            }
            "function_call" => {
                let kind = "response.function_call_arguments.delta";
                all.push(delta(kind, i, ("sequence_number", 1), "{\"a\""));
                all.push(delta(kind, i, ("sequence_number", 2), ":2}"));
                all.push(json!({"type": "response.function_call_arguments.done",
                    "output_index": i, "arguments": "{\"a\":2}"}));
            }
            "custom_tool_call" => {
                let kind = "response.custom_tool_call_input.delta";
                all.push(delta(kind, i, ("sequence_number", 3), "select 1"));
            }
            "message" => {
                all.push(
                    json!({"type": "response.content_part.added", "output_index": i,
                    "content_index": 0, "part": {"type": "output_text", "text": ""}}),
                );
                let kind = "response.output_text.delta";
                all.push(delta(kind, i, ("content_index", 0), "It "));
                all.push(delta(kind, i, ("content_index", 0), "rains."));
                all.push(
                    json!({"type": "response.output_text.done", "output_index": i,
                    "content_index": 0, "text": "It rains."}),
                );
                all.push(delta(
                    "response.refusal.delta",
                    i,
                    ("content_index", 1),
                    "No more.",
                ));
            }
            "mcp_call" => {
                let kind = "response.mcp_call_arguments.delta";
                all.push(delta(kind, i, ("sequence_number", 4), "{\"path\":\"/a\"}"));
            }
            _ => {}
        }
        if item["type"] != "message" && item["type"] != "reasoning" {
            all.push(json!({"type": "response.output_item.done", "output_index": i, "item": item}));
        }
    }
    all
}

fn stream() -> Case {
    let mut events = events();
    events.push(json!({"type": "response.completed",
        "response": response("completed", &output())}));
    Case::events(HOST, PATH, &request(true), &events)
}

fn failed() -> Case {
    let mut failed = response("failed", &json!([]));
    failed["error"] = json!({"code": "server_error", "message": "It broke."});
    Case::events(
        HOST,
        PATH,
        &request(true),
        &[json!({"type": "response.failed", "response": failed})],
    )
}

#[test]
fn items_become_parts() {
    let call = whole().call();
    assert!(call.is_complete());
    let parts = attribute(&call, "gen_ai.output.messages");
    assert_eq!(parts[0]["finish_reason"], "tool_call");
    assert_eq!(
        parts[0]["parts"],
        json!([
            {"type": "reasoning", "content": "First."},
            {"type": "reasoning", "content": "Then."},
            {"type": "server_tool_call", "id": "ws_1", "name": "web_search", "server_tool_call":
                {"type": "web_search_call", "arguments": {"type": "search", "query": "news"}}},
            {"type": "server_tool_call", "id": "mcp_1", "name": "read", "server_tool_call":
                {"type": "mcp_call", "arguments": {"path": "/a"}}},
            {"type": "server_tool_call_response", "id": "mcp_1", "server_tool_call_response":
                {"type": "mcp_call", "response": "text of a"}},
            {"type": "tool_call", "id": "call_3", "name": "look", "arguments": {"a": 2}},
            {"type": "tool_call", "id": "call_4", "name": "sql", "arguments": "select 1"},
            {"type": "tool_call", "id": "call_5", "name": "computer",
                "arguments": {"type": "click", "x": 1, "y": 2}},
            {"type": "server_tool_call", "id": "ig_1", "name": "image_generation",
                "server_tool_call": {"type": "image_generation_call", "arguments": ""}},
            {"type": "blob", "modality": "image", "mime_type": null, "content": "", "size": 6,
                "transcript": null},
            {"type": "text", "content": "It rains."},
            {"type": "refusal", "content": "No more."},
        ])
    );
}

#[test]
fn the_request_is_read() {
    let call = whole().call();
    for (name, value) in [
        ("openai.api.type", json!("responses")),
        ("gen_ai.conversation.id", json!("conv_1")),
        ("hoop.gen_ai.request.previous_response_id", json!("resp_0")),
        ("hoop.gen_ai.request.reasoning_effort", json!("high")),
        ("gen_ai.output.type", json!("text")),
        (
            "gen_ai.system_instructions",
            json!([{"type": "text", "content": "Be brief."}]),
        ),
        ("gen_ai.usage.input_tokens", json!(30)),
        ("gen_ai.usage.cache_read.input_tokens", json!(10)),
        ("gen_ai.usage.reasoning.output_tokens", json!(5)),
    ] {
        assert_eq!(attribute(&call, name), value, "{name}");
    }
    assert_eq!(
        call.user_prompts().collect::<Vec<_>>(),
        ["What is new?", "And this?"]
    );
    let roles: Vec<_> = call
        .request
        .messages
        .iter()
        .map(|message| &*message.role)
        .collect();
    let expected = [
        "user",
        "user",
        "assistant",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ];
    assert_eq!(roles, expected);
    assert!(matches!(
        call.request.messages[5].parts[1],
        Part::Blob { size: 6, .. }
    ));
    let tools: Vec<_> = call
        .request
        .tools
        .iter()
        .map(|tool| (&*tool.kind, &*tool.name))
        .collect();
    assert_eq!(
        tools,
        [
            ("function", "look"),
            ("web_search", "web_search"),
            ("mcp", "files")
        ]
    );
}

#[test]
fn a_stream_says_what_the_whole_says() {
    let (mut streamed, whole) = (stream().call(), whole().call());
    assert!(streamed.response.streamed && streamed.is_complete());
    streamed.response.streamed = false;
    assert_eq!(streamed.response, whole.response);
}

/// Without its last event: all of it is there from the deltas, and it says that it was cut.
#[test]
fn deltas_alone_say_the_same() {
    let call = Case::events(HOST, PATH, &request(true), &events()).call();
    assert_eq!(call.issues.iter().collect::<Vec<_>>(), [&Issue::Incomplete]);
    let whole = whole().call();
    assert_eq!(
        call.response.choices[0].message,
        whole.response.choices[0].message
    );
}

#[test]
fn a_failure_is_told() {
    let call = failed().call();
    assert!(call.is_complete());
    assert_eq!(attribute(&call, "error.type"), json!("server_error"));
    let event = json!({"type": "error", "code": "rate_limit", "message": "Slow down."});
    let call = Case::events(HOST, PATH, &request(true), &[event]).call();
    assert_eq!(attribute(&call, "error.type"), json!("rate_limit"));
    assert_eq!(attribute(&call, "error.message"), json!("Slow down."));
}

#[test]
fn an_incomplete_response_says_why() {
    let mut response = response("incomplete", &output());
    response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    let call = Case::json(HOST, PATH, &request(false), &response).call();
    assert_eq!(
        attribute(&call, "gen_ai.response.finish_reasons"),
        json!(["max_output_tokens"])
    );
    assert_eq!(
        attribute(&call, "gen_ai.output.messages")[0]["finish_reason"],
        "length"
    );
}

#[test]
fn a_text_alone_is_a_user_prompt() {
    let request = json!({"model": "gpt-4o", "input": "Hello"});
    let call = Case::json(HOST, PATH, &request, &response("completed", &json!([]))).call();
    assert_eq!(call.user_prompts().collect::<Vec<_>>(), ["Hello"]);
}

#[test]
fn code_and_approvals_are_calls_of_the_providers_tools() {
    let output = json!([
        {"type": "code_interpreter_call", "id": "ci_1", "code": "print(1)",
            "outputs": [{"type": "logs", "logs": "1"}]},
        {"type": "mcp_approval_request", "id": "ap_1", "name": "rm", "arguments": "{}"},
    ]);
    let call = Case::json(HOST, PATH, &request(false), &response("completed", &output)).call();
    let calls: Vec<_> = call.tool_calls().cloned().collect();
    let expect = |id: &str, name: &str, arguments: &str| ToolCall {
        id: Some(id.to_owned()),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    assert_eq!(
        calls,
        [
            expect("ci_1", "code_interpreter", "print(1)"),
            expect("ap_1", "rm", "{}")
        ]
    );
}
