//! Anthropic messages (Anthropic API reference, "Messages" and "Streaming messages").

use super::call::{Message, Part, Request, ToolCall, ToolResult, Usage};
use super::json::Json;
use super::openai_chat;
use super::output::Output;
use super::parts;

pub(super) fn is_request(json: &Json) -> bool {
    let settings = ["model", "anthropic_version", "max_tokens"];
    json.get("messages").is_array() && !json.any(&settings).is_null()
}

pub(super) fn request(json: &Json, request: &mut Request) {
    openai_chat::settings(json, request);
    request.instructions = blocks(json.get("system"));
    let servers = json.get("mcp_servers").items().iter().map(|server| {
        let mut tool = parts::definition(server);
        "mcp_server".clone_into(&mut tool.kind);
        tool
    });
    request.tools.extend(servers);
    for message in json.get("messages").items() {
        let role = parts::name(message.get("role")).unwrap_or_else(|| "user".to_owned());
        let (results, others): (Vec<_>, Vec<_>) = blocks(message.get("content"))
            .into_iter()
            .partition(|part| matches!(part, Part::ToolResult(_)));
        // Results are told in a user's message; the conventions have a role for them.
        let split = [("tool", results), (role.as_str(), others)];
        let split = split.into_iter().filter(|(_, parts)| !parts.is_empty());
        request.messages.extend(split.map(|(role, parts)| Message {
            role: role.to_owned(),
            name: None,
            parts,
        }));
    }
}

/// A whole response that is no stream.
pub(super) fn response(json: &Json, output: &mut Output) {
    head(json, output);
    for (i, block) in (0..).zip(json.get("content").items()) {
        output.put_item(0, i, block_parts(block));
    }
    output.set_finish(0, json.get("stop_reason"));
}

/// One event of a stream.
pub(super) fn event(json: &Json, output: &mut Output) {
    let index = json.get("index").u64().unwrap_or(0);
    match json.get("type").str() {
        Some("message_start") => head(json.get("message"), output),
        Some("content_block_start") => {
            output.shaped = true;
            let mut parts = block_parts(json.get("content_block"));
            for part in &mut parts {
                // The input of a call that begins is `{}`, and is told anew by what follows.
                if let Part::ToolCall(call) | Part::ServerToolCall { call, .. } = part
                    && call.arguments == "{}"
                {
                    call.arguments.clear();
                }
            }
            output.put_item(0, index, parts);
        }
        Some("content_block_delta") => {
            output.shaped = true;
            delta(index, json.get("delta"), output);
        }
        Some("content_block_stop") => {
            if let Some(Part::ToolCall(call) | Part::ServerToolCall { call, .. }) =
                output.part((0, index, 0))
                && call.arguments.is_empty()
            {
                output.append((0, index, 0), "{}", || Part::Text(String::new()));
            }
        }
        Some("message_delta") => {
            output.set_usage(usage(json.get("usage"), output.response.usage));
            output.set_finish(0, json.get("delta").get("stop_reason"));
        }
        Some("message_stop") => output.finished = true,
        Some("error") => output.set_error(json.get("error")),
        // `ping`, and what may be added: the documentation asks clients to pass over it.
        _ => {}
    }
}

fn head(json: &Json, output: &mut Output) {
    output.shaped |= json.get("type").str() == Some("message") || json.get("content").is_array();
    output.set_id(json.get("id"));
    output.set_model(json.get("model"));
    output.set_role(0, json.get("role"));
    output.set_usage(usage(json.get("usage"), output.response.usage));
    output.set_error(json.get("error"));
}

fn delta(index: u64, json: &Json, output: &mut Output) {
    let place = (0, index, 0);
    let text = |key: &str| json.get(key).str().unwrap_or_default();
    match json.get("type").str() {
        Some("text_delta") => {
            output.append(place, text("text"), || Part::Text(String::new()));
        }
        Some("thinking_delta") => {
            output.append(place, text("thinking"), || Part::Reasoning(String::new()));
        }
        Some("input_json_delta") => {
            output.append(place, text("partial_json"), || {
                Part::ToolCall(ToolCall::default())
            });
        }
        // Signatures are the provider's own; citations repeat what was given.
        _ => {}
    }
}

/// Content: text, or blocks.
fn blocks(json: &Json) -> Vec<Part> {
    match json {
        Json::Null => Vec::new(),
        Json::String(text) => vec![Part::Text(text.clone())],
        Json::Array(items) => items.iter().flat_map(block_parts).collect(),
        one => block_parts(one),
    }
}

fn block_parts(json: &Json) -> Vec<Part> {
    let kind = json.get("type").str().unwrap_or_default();
    let text = |key: &str| json.get(key).text();
    let part = match kind {
        "text" => text("text").map(Part::Text),
        "thinking" => text("thinking").map(Part::Reasoning),
        "image" => source(json.get("source"), "image"),
        "document" => return document(json),
        "container_upload" => text("file_id").map(|id| parts::file("document", None, id)),
        "tool_use" => Some(Part::ToolCall(call(json))),
        "tool_result" => return tool_result(json),
        _ if kind.ends_with("_tool_use") => Some(Part::ServerToolCall {
            kind: kind.to_owned(),
            call: call(json),
        }),
        _ if kind.ends_with("_tool_result") => Some(Part::ServerToolResult {
            kind: kind.to_owned(),
            result: result(json, openai_chat::result(json.get("content"))),
        }),
        _ => None,
    };
    vec![part.unwrap_or_else(|| parts::other(kind, json))]
}

fn call(json: &Json) -> ToolCall {
    ToolCall {
        id: json.get("id").text(),
        name: json.get("name").text().unwrap_or_default(),
        arguments: parts::arguments(json.get("input")),
    }
}

fn result(json: &Json, content: String) -> ToolResult {
    let is_error = json.get("is_error").bool();
    ToolResult {
        id: json.get("tool_use_id").text(),
        name: None,
        content,
        is_error,
    }
}

/// A result: its texts joined, media beside it.
fn tool_result(json: &Json) -> Vec<Part> {
    let mut texts = Vec::new();
    let mut media = Vec::new();
    for part in blocks(json.get("content")) {
        match part {
            Part::Text(text) => texts.push(text),
            Part::Other { content, .. } => texts.push(content),
            part => media.push(part),
        }
    }
    let mut parts = vec![Part::ToolResult(result(json, texts.join("\n")))];
    parts.append(&mut media);
    parts
}

fn document(json: &Json) -> Vec<Part> {
    let from = json.get("source");
    let mut parts: Vec<_> = ["title", "context"]
        .iter()
        .filter_map(|key| json.get(key).text().map(Part::Text))
        .collect();
    match from.get("type").str() {
        Some("text") => parts.extend(from.get("data").text().map(Part::Text)),
        Some("content") => parts.extend(blocks(from.get("content"))),
        _ => parts.extend(source(from, "document")),
    }
    if parts.is_empty() {
        parts.push(parts::other("document", json));
    }
    parts
}

fn source(json: &Json, modality: &'static str) -> Option<Part> {
    let mime = json.get("media_type").text();
    match json.get("type").str()? {
        "base64" => Some(parts::blob(modality, mime, json.get("data").str()?)),
        "url" => Some(parts::media(modality, mime, json.get("url").str()?)),
        "file" => Some(parts::file(modality, mime, json.get("file_id").text()?)),
        _ => None,
    }
}

/// Anthropic counts cached input apart; the conventions count it in.
fn usage(json: &Json, before: Usage) -> Usage {
    let read = json
        .get("cache_read_input_tokens")
        .u64()
        .or(before.cache_read);
    let creation = json
        .get("cache_creation_input_tokens")
        .u64()
        .or(before.cache_creation);
    let input = json.get("input_tokens").u64().map(|input| {
        input
            .saturating_add(read.unwrap_or(0))
            .saturating_add(creation.unwrap_or(0))
    });
    Usage {
        input,
        output: json.get("output_tokens").u64(),
        cache_read: read,
        cache_creation: creation,
        reasoning: None,
    }
}
