//! Ollama `/api/chat` and `/api/generate` (Ollama, `docs/api.md`). A stream is lines of JSON.

use super::call::{Message, OutputType, Part, Request, ToolCall, ToolResult, Usage};
use super::json::Json;
use super::openai_chat;
use super::output::Output;
use super::parts;

/// Items of the one choice, in the order in which they are told.
const REASONING: u64 = 0;
const TEXT: u64 = 1;
const CALLS: u64 = 2;

/// Other programs have an `/api/chat` that takes messages, but none that names a model.
pub(super) fn is_chat_request(json: &Json) -> bool {
    json.get("model").str().is_some() && json.get("messages").is_array()
}

pub(super) fn is_generate_request(json: &Json) -> bool {
    json.get("model").str().is_some()
}

fn settings(json: &Json, request: &mut Request) {
    openai_chat::settings(json, request);
    // Ollama streams unless told not to.
    request.stream = request.stream.or(Some(true));
    let options = json.get("options");
    request.max_tokens = options.get("num_predict").u64();
    request.temperature = options.get("temperature").f64();
    request.top_p = options.get("top_p").f64();
    request.top_k = options.get("top_k").f64();
    request.frequency_penalty = options.get("frequency_penalty").f64();
    request.presence_penalty = options.get("presence_penalty").f64();
    request.seed = options.get("seed").i64();
    request.stop_sequences = parts::strings(options.get("stop"));
    let format = json.get("format");
    let wants_json = format.is_object() || format.str() == Some("json");
    request.output_type = wants_json.then_some(OutputType::Json);
    request.reasoning_effort = json.get("think").string();
}

pub(super) fn chat_request(json: &Json, request: &mut Request) {
    settings(json, request);
    request.messages = json.get("messages").items().iter().map(message).collect();
}

pub(super) fn generate_request(json: &Json, request: &mut Request) {
    settings(json, request);
    let text = |key: &str| parts::name(json.get(key)).map(Part::Text);
    request.instructions.extend(text("system"));
    let mut parts: Vec<_> = text("prompt").into_iter().collect();
    if let Some(suffix) = parts::name(json.get("suffix")) {
        parts.push(Part::Other {
            kind: "suffix".to_owned(),
            content: suffix,
        });
    }
    parts.extend(images(json));
    if !parts.is_empty() {
        request.messages.push(openai_chat::user(parts));
    }
}

fn message(json: &Json) -> Message {
    let role = parts::name(json.get("role")).unwrap_or_else(|| "user".to_owned());
    let mut parts: Vec<_> = json
        .get("thinking")
        .text()
        .map(Part::Reasoning)
        .into_iter()
        .collect();
    if role == "tool" {
        parts.push(Part::ToolResult(ToolResult {
            id: json.get("tool_call_id").text(),
            name: json.any(&["tool_name", "name"]).text(),
            content: openai_chat::result(json.get("content")),
            is_error: None,
        }));
    } else {
        // A call alone comes with an empty content.
        let content = openai_chat::content(json.get("content"));
        parts.extend(
            content
                .into_iter()
                .filter(|part| *part != Part::Text(String::new())),
        );
    }
    parts.extend(images(json));
    parts.extend(
        json.get("tool_calls")
            .items()
            .iter()
            .map(|c| Part::ToolCall(call(c))),
    );
    Message {
        role,
        name: None,
        parts,
    }
}

fn images(json: &Json) -> impl Iterator<Item = Part> {
    let images = json.get("images").items().iter().filter_map(Json::str);
    images.map(|data| parts::blob("image", None, data))
}

fn call(json: &Json) -> ToolCall {
    parts::nested_call(json)
}

/// A response, or a line of one: both are read in the same way, what is told is added.
pub(super) fn response(json: &Json, output: &mut Output) {
    let message = json.get("message");
    output.shaped |= json.get("model").str().is_some() && json.get("done").bool().is_some();
    output.set_model(json.get("model"));
    output.set_error(json.get("error"));
    output.set_role(0, message.get("role"));
    for (item, json, begin) in [
        (
            REASONING,
            json.get("thinking"),
            Part::Reasoning as fn(String) -> Part,
        ),
        (REASONING, message.get("thinking"), Part::Reasoning),
        (TEXT, json.get("response"), Part::Text),
        (TEXT, message.get("content"), Part::Text),
    ] {
        let text = json.str().unwrap_or_default();
        output.append((0, item, 0), text, || begin(String::new()));
    }
    for told in message.get("tool_calls").items() {
        let last = output
            .last(0)
            .map(|((_, item, _), _)| item)
            .filter(|item| *item >= CALLS);
        let item = last.map_or(CALLS, |last| last.saturating_add(1));
        output.put((0, item, 0), Part::ToolCall(call(told)));
    }
    output.set_usage(Usage {
        input: json.get("prompt_eval_count").u64(),
        output: json.get("eval_count").u64(),
        ..Usage::default()
    });
    if json.get("done").bool() == Some(true) {
        output.finished = true;
        output.set_finish(0, json.get("done_reason"));
    }
}
