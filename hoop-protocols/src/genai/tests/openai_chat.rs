//! Chat completions.

use serde_json::{Value, json};

use super::{Case, attribute};
use crate::genai::{Issue, Part, Usage};

const HOST: &str = "api.openai.com";
const PATH: &str = "/v1/chat/completions";

pub(super) fn cases() -> Vec<Case> {
    vec![whole(), stream(), choices(), failed(), media()]
}

fn request(stream: bool) -> Value {
    json!({
        "model": "gpt-4o",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": "Weather in Paris and Rome?"},
            {"role": "assistant", "content": null, "tool_calls": [{
                "id": "call_1", "type": "function",
                "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"},
            }]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rainy, 57F"},
        ],
        "tools": [{"type": "function", "function": {
            "name": "get_weather", "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        }}],
        "temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 100, "seed": 7, "n": 1,
        "stop": "END", "frequency_penalty": 0.1, "presence_penalty": -0.1, "stream": stream,
        "response_format": {"type": "json_object"}, "reasoning_effort": "low",
    })
}

fn whole() -> Case {
    Case::json(
        HOST,
        PATH,
        &request(false),
        &json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": null, "refusal": null,
                "tool_calls": [
                    {"id": "call_2", "type": "function",
                     "function": {"name": "get_weather", "arguments": "{\"city\":\"Rome\"}"}},
                    {"id": "call_3", "type": "custom",
                     "custom": {"name": "note", "input": "free text"}},
                ],
            }}],
            "usage": {"prompt_tokens": 80, "completion_tokens": 20, "total_tokens": 100,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 8}},
        }),
    )
}

fn chunk(choices: &Value) -> Value {
    json!({"id": "chatcmpl-2", "object": "chat.completion.chunk", "model": "gpt-4o-2024",
        "choices": choices, "usage": null})
}

fn delta(delta: &Value) -> Value {
    chunk(&json!([{"index": 0, "delta": delta, "finish_reason": null}]))
}

fn call(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    delta(&json!({"tool_calls": [{
        "index": index, "id": id, "type": "function",
        "function": {"name": name, "arguments": arguments},
    }]}))
}

/// Azure's empty chunk, text, two calls whose arguments come by turns, usage without choices.
fn stream() -> Case {
    Case::events(
        HOST,
        PATH,
        &request(true),
        &[
            json!({"choices": [], "id": "", "model": "", "object": "",
                "prompt_filter_results": [{"prompt_index": 0}]}),
            delta(&json!({"role": "assistant", "content": "", "refusal": null})),
            delta(&json!({"reasoning_content": "Two "})),
            delta(&json!({"reasoning_content": "cities."})),
            delta(&json!({"content": "Let me "})),
            delta(&json!({"content": "look."})),
            call(0, Some("call_2"), Some("get_weather"), ""),
            call(1, Some("call_3"), Some("get_weather"), ""),
            call(0, None, None, "{\"city\":"),
            call(1, None, None, "{\"city\":\"Ro"),
            call(0, None, None, "\"Paris\"}"),
            call(1, None, None, "me\"}"),
            chunk(&json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])),
            json!({"id": "chatcmpl-2", "model": "gpt-4o-2024", "choices": [],
                "usage": {"prompt_tokens": 5, "completion_tokens": 6}}),
        ],
    )
    .done()
}

/// Two choices by turns, one of them refused.
fn choices() -> Case {
    let one = |index: u64, delta: Value, finish: Value| {
        chunk(&json!([{"index": index, "delta": delta, "finish_reason": finish}]))
    };
    Case::events(
        HOST,
        PATH,
        &json!({"model": "gpt-4o", "n": 2, "stream": true,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
        &[
            one(
                1,
                json!({"role": "assistant", "refusal": "I can"}),
                Value::Null,
            ),
            one(
                0,
                json!({"role": "assistant", "content": "He"}),
                Value::Null,
            ),
            one(1, json!({"refusal": "not."}), json!("content_filter")),
            one(0, json!({"content": "llo"}), json!("stop")),
        ],
    )
    .done()
}

fn failed() -> Case {
    let request = json!({"model": "gpt-none", "messages": [{"role": "user", "content": "Hi"}]});
    let error = json!({"error": {"message": "The model does not exist",
        "type": "invalid_request_error", "param": null, "code": "model_not_found"}});
    Case::json(
        "llm.internal:8000",
        "/api/v1/chat/completions",
        &request,
        &error,
    )
    .status(404)
}

fn media() -> Case {
    let png = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(40));
    Case::json(
        "acme.openai.azure.com",
        "/openai/deployments/prod-4o/chat/completions?api-version=2024-10-21",
        &json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": png}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "hologram", "beam": 1},
        ]}]}),
        &json!({"id": "chatcmpl-3", "model": "gpt-4o", "choices": [{"index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": null,
                "audio": {"id": "audio_1", "data": "AAAAAAAA", "transcript": "A cat."}}}]}),
    )
}

#[test]
fn a_whole_response_has_its_calls_and_counts() {
    let call = whole().call();
    assert!(call.is_complete());
    assert_eq!(call.system_prompts().collect::<Vec<_>>(), ["Be brief."]);
    assert_eq!(
        call.user_prompts().collect::<Vec<_>>(),
        ["Weather in Paris and Rome?"]
    );
    let called: Vec<_> = call
        .tool_calls()
        .map(|c| (&*c.name, &*c.arguments))
        .collect();
    assert_eq!(
        called,
        [("get_weather", r#"{"city":"Rome"}"#), ("note", "free text")]
    );
    assert_eq!(call.tool_results().next().unwrap().content, "rainy, 57F");
    let usage = Usage {
        input: Some(80),
        output: Some(20),
        cache_read: Some(64),
        cache_creation: None,
        reasoning: Some(8),
    };
    assert_eq!(call.response.usage, usage);
}

#[test]
fn the_attributes_are_those_of_the_conventions() {
    let call = whole().call();
    for (name, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("openai")),
        ("openai.api.type", json!("chat_completions")),
        ("gen_ai.request.model", json!("gpt-4o")),
        ("gen_ai.response.model", json!("gpt-4o-2024")),
        ("gen_ai.response.id", json!("chatcmpl-1")),
        ("gen_ai.response.finish_reasons", json!(["tool_calls"])),
        ("gen_ai.request.temperature", json!(0.5)),
        ("gen_ai.request.top_p", json!(0.9)),
        ("gen_ai.request.max_tokens", json!(100)),
        ("gen_ai.request.seed", json!(7)),
        ("gen_ai.request.stop_sequences", json!(["END"])),
        ("gen_ai.request.stream", json!(false)),
        ("gen_ai.request.choice.count", Value::Null),
        ("gen_ai.output.type", json!("json")),
        ("gen_ai.usage.input_tokens", json!(80)),
        ("gen_ai.usage.cache_read.input_tokens", json!(64)),
        ("gen_ai.usage.reasoning.output_tokens", json!(8)),
        ("hoop.gen_ai.issues", Value::Null),
        (
            "gen_ai.input.messages",
            json!([
                {"role": "developer", "parts": [{"type": "text", "content": "Be brief."}]},
                {"role": "user", "name": "ann",
                    "parts": [{"type": "text", "content": "Weather in Paris and Rome?"}]},
                {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_1",
                    "name": "get_weather", "arguments": {"city": "Paris"}}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1",
                    "response": "rainy, 57F"}]},
            ]),
        ),
        (
            "gen_ai.output.messages",
            json!([{"role": "assistant", "finish_reason": "tool_call", "parts": [
                {"type": "tool_call", "id": "call_2", "name": "get_weather",
                    "arguments": {"city": "Rome"}},
                {"type": "tool_call", "id": "call_3", "name": "note", "arguments": "free text"},
            ]}]),
        ),
        (
            "gen_ai.tool.definitions",
            json!([{"type": "function", "name": "get_weather",
                "description": "Weather of a city", "parameters_size": 57}]),
        ),
    ] {
        assert_eq!(attribute(&call, name), value, "{name}");
    }
}

#[test]
fn deltas_are_joined() {
    let call = stream().call();
    assert!(call.is_complete(), "{:?}", call.issues);
    assert!(call.response.streamed);
    assert_eq!(call.response.id.as_deref(), Some("chatcmpl-2"));
    assert_eq!(call.response.usage.input, Some(5));
    let parts = &call.response.choices[0].message.parts;
    assert_eq!(parts[0], Part::Reasoning("Two cities.".to_owned()));
    assert_eq!(parts[1], Part::Text("Let me look.".to_owned()));
    let called: Vec<_> = call
        .tool_calls()
        .map(|c| (c.id.as_deref().unwrap(), &*c.arguments))
        .collect();
    assert_eq!(
        called,
        [
            ("call_2", r#"{"city":"Paris"}"#),
            ("call_3", r#"{"city":"Rome"}"#)
        ]
    );
}

#[test]
fn choices_stay_apart() {
    let call = choices().call();
    assert!(call.is_complete());
    assert_eq!(call.replies().collect::<Vec<_>>(), ["Hello", "I cannot."]);
    assert_eq!(
        attribute(&call, "gen_ai.response.finish_reasons"),
        json!(["stop", "content_filter"])
    );
    assert_eq!(attribute(&call, "gen_ai.request.choice.count"), json!(2));
}

#[test]
fn an_error_is_told_and_is_complete() {
    let call = failed().call();
    assert!(call.is_complete());
    assert_eq!(call.response.http_status, Some(404));
    assert_eq!(
        attribute(&call, "error.type"),
        json!("invalid_request_error")
    );
    assert_eq!(
        attribute(&call, "error.message"),
        json!("The model does not exist")
    );
}

#[test]
fn media_are_named_and_not_kept() {
    let call = media().call();
    assert_eq!(call.provider, "azure.ai.openai");
    assert_eq!(call.request.model.as_deref(), Some("prod-4o"));
    let parts = attribute(&call, "gen_ai.input.messages")[0]["parts"].clone();
    let blob = |modality, mime: &str, size| {
        json!({"type": "blob", "modality": modality, "mime_type": mime, "content": "",
            "size": size, "transcript": null})
    };
    assert_eq!(parts[1], blob("image", "image/png", 330));
    assert_eq!(parts[2]["uri"], "https://example.com/a.png");
    assert_eq!(parts[3], blob("audio", "audio/wav", 3));
    assert_eq!(parts[4]["file_id"], "file-1");
    assert_eq!(parts[5]["type"], "hologram");
    let spoken = &attribute(&call, "gen_ai.output.messages")[0]["parts"][0];
    assert_eq!(
        (&spoken["size"], &spoken["transcript"]),
        (&json!(6), &json!("A cat."))
    );
}

#[test]
fn a_stream_that_was_cut_says_so() {
    let mut case = stream();
    let super::Reply::Events(events) = &mut case.response else {
        unreachable!()
    };
    events.truncate(8);
    let call = case.call();
    assert_eq!(call.issues.iter().collect::<Vec<_>>(), [&Issue::Incomplete]);
    assert_eq!(
        attribute(&call, "gen_ai.output.messages")[0]["finish_reason"],
        "unknown"
    );
}

/// Some compatible servers tell no index, and the name each time.
#[test]
fn calls_without_index_stay_apart() {
    let one = |id: Option<&str>, arguments: &str| {
        delta(&json!({"tool_calls": [{"id": id,
            "function": {"name": "f", "arguments": arguments}}]}))
    };
    let events = [
        one(Some("a"), "{\"x\""),
        one(None, ":1}"),
        one(Some("b"), "{}"),
        chunk(&json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])),
    ];
    let call = Case::events(HOST, PATH, &request(true), &events).call();
    let called: Vec<_> = call
        .tool_calls()
        .map(|c| (&*c.name, &*c.arguments))
        .collect();
    assert_eq!(called, [("f", "{\"x\":1}"), ("f", "{}")]);
}

#[test]
fn completions_have_prompts_and_texts() {
    let request = json!({"model": "gpt-3.5-turbo-instruct", "prompt": ["Say", "hi"]});
    let response = json!({"id": "cmpl-1", "object": "text_completion", "model": "m",
        "choices": [{"text": "this", "index": 0, "finish_reason": "length"}]});
    let call = Case::json(HOST, "/v1/completions", &request, &response).call();
    assert_eq!(call.kind.operation(), "text_completion");
    assert_eq!(call.user_prompts().collect::<Vec<_>>(), ["Say", "hi"]);
    assert_eq!(call.replies().collect::<Vec<_>>(), ["this"]);
}

#[test]
fn the_old_function_call_is_joined_too() {
    let one = |name: Option<&str>, arguments: &str| {
        delta(&json!({"function_call": {"name": name, "arguments": arguments}}))
    };
    let events = [
        one(Some("f"), ""),
        one(None, "{}"),
        chunk(&json!([{"index": 0, "delta": {}, "finish_reason": "function_call"}])),
    ];
    let call = Case::events(HOST, PATH, &request(true), &events).call();
    let called: Vec<_> = call
        .tool_calls()
        .map(|c| (&*c.name, &*c.arguments))
        .collect();
    assert_eq!(called, [("f", "{}")]);
}
