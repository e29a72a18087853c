//! OpenAI responses (OpenAI API reference, "Responses" and "Streaming events"). Over a WebSocket
//! the same events are messages, and realtime's are nearly the same.

use super::call::{Part, Request, ToolCall};
use super::json::Json;
use super::openai_chat::{self, content_part, output_type, settings, usage_of, user};
use super::openai_items::{item, message};
use super::output::{Output, Place};
use super::parts;

/// Parts of a reasoning item: its text stands behind all summaries.
const REASONING_TEXT: u64 = 1 << 32;

pub(super) fn is_request(json: &Json) -> bool {
    let named = !json.any(&["model", "prompt"]).is_null();
    let settings = [
        "input",
        "instructions",
        "previous_response_id",
        "conversation",
        "prompt",
    ];
    named && !json.any(&settings).is_null()
}

pub(super) fn request(json: &Json, request: &mut Request) {
    settings(json, request);
    request.output_type = output_type(json.get("text").get("format"));
    request.reasoning_effort = json.get("reasoning").get("effort").text();
    request.previous_response_id = json.get("previous_response_id").text();
    request.conversation_id = conversation(json.get("conversation"));
    request.instructions = openai_chat::content(json.get("instructions"));
    let prompt = json.get("prompt");
    if prompt.is_object() {
        request.instructions.push(parts::other("prompt", prompt));
    }
    let input = json.get("input");
    request.messages = match input {
        Json::Array(items) => items.iter().map(message).collect(),
        Json::Null => Vec::new(),
        one => vec![user(openai_chat::content(one))],
    };
}

fn conversation(json: &Json) -> Option<String> {
    json.string().or_else(|| json.get("id").string())
}

/// A whole response: what was there before is replaced.
pub(super) fn response(json: &Json, output: &mut Output) {
    head(json, output);
    let items = json.get("output").items();
    if !items.is_empty() {
        output.clear();
    }
    for (i, json) in (0..).zip(items) {
        output.put_item(0, i, item(json));
    }
    match json.get("status").str() {
        Some("incomplete" | "cancelled") => {
            let details = json.any(&["incomplete_details", "status_details"]);
            let reason = details.get("reason");
            output.set_finish(
                0,
                if reason.is_null() {
                    json.get("status")
                } else {
                    reason
                },
            );
        }
        Some("completed" | "failed") => output.set_finish(0, json.get("status")),
        _ => {}
    }
    output.set_error(json.get("status_details").get("error"));
}

/// What every event with a response tells, the first one too.
fn head(json: &Json, output: &mut Output) {
    output.shaped |= matches!(
        json.get("object").str(),
        Some("response" | "realtime.response")
    );
    output.set_id(json.get("id"));
    output.set_model(json.get("model"));
    output.set_error(json.get("error"));
    usage_of(json, output);
    if let Some(id) = conversation(json.get("conversation")) {
        output.response.conversation_id = Some(id);
    }
}

/// One event of a stream.
pub(super) fn event(json: &Json, output: &mut Output) {
    let Some(kind) = json.get("type").str() else {
        // Some servers end a stream with a bare error.
        return output.set_error(json.get("error"));
    };
    let index = json.get("output_index").u64().unwrap_or(0);
    let sub = json
        .any(&["content_index", "summary_index"])
        .u64()
        .unwrap_or(0);
    let place = (0, index, sub.min(REASONING_TEXT - 1));
    match kind {
        "response.created" | "response.in_progress" | "response.queued" => {
            head(json.get("response"), output);
        }
        "response.completed" | "response.incomplete" | "response.failed" | "response.done" => {
            response(json.get("response"), output);
            output.finished = true;
        }
        "response.output_item.added" | "response.output_item.done" => {
            let parts = item(json.get("item"));
            // A message that begins has no parts yet.
            if !parts.is_empty() {
                output.put_item(0, index, parts);
            }
        }
        "response.content_part.added" | "response.content_part.done" => {
            let part = content_part(json.get("part"));
            if !matches!(&part, Part::Text(text) if text.is_empty()) {
                output.put(place, part);
            }
        }
        "error" => {
            let nested = json.get("error");
            if nested.is_object() {
                output.set_error(nested);
            } else {
                output.set_error(&without_type(json));
            }
        }
        _ => text(kind, json, place, output),
    }
}

/// The text events: `.delta` adds, `.done` repeats all of it.
fn text(kind: &str, json: &Json, place: Place, output: &mut Output) {
    let (what, done) = match kind.rsplit_once('.') {
        Some((what, "delta")) => (what, false),
        Some((what, "done")) => (what, true),
        _ => return,
    };
    let call = || Part::ToolCall(ToolCall::default());
    let server = |kind: &str, name: &str| Part::ServerToolCall {
        kind: kind.to_owned(),
        call: ToolCall {
            name: name.to_owned(),
            ..ToolCall::default()
        },
    };
    let (choice, index, sub) = place;
    let (place, begin) = match what.trim_start_matches("response.") {
        "output_text" | "text" => (place, Part::Text(String::new())),
        "audio_transcript" | "output_audio_transcript" => (place, parts::blob("audio", None, "")),
        "refusal" => (place, Part::Refusal(String::new())),
        "reasoning_summary_text" => (place, Part::Reasoning(String::new())),
        "reasoning_text" => (
            (choice, index, REASONING_TEXT.saturating_add(sub)),
            Part::Reasoning(String::new()),
        ),
        "function_call_arguments" | "custom_tool_call_input" => ((choice, index, 0), call()),
        "mcp_call_arguments" | "mcp_call.arguments" => {
            ((choice, index, 0), server("mcp_call", "mcp"))
        }
        "code_interpreter_call_code" | "code_interpreter_call.code" => (
            (choice, index, 0),
            server("code_interpreter_call", "code_interpreter"),
        ),
        _ => return,
    };
    output.shaped = true;
    if !done {
        let delta = json.get("delta").text().unwrap_or_default();
        output.append(place, &delta, || begin);
        return;
    }
    // Only where no delta came: a capture that began late, a server that sends none.
    let whole = json.any(&[
        "text",
        "transcript",
        "refusal",
        "arguments",
        "input",
        "code",
    ]);
    let missing = output
        .part(place)
        .and_then(Part::text_mut)
        .is_none_or(|text| text.is_empty());
    if missing {
        output.append(place, whole.str().unwrap_or_default(), || begin);
    }
}

/// An `error` event has the code and the message in it, beside its own type.
fn without_type(json: &Json) -> Json {
    let members = json.members().iter().filter(|(key, _)| key != "type");
    Json::Object(members.cloned().collect())
}
