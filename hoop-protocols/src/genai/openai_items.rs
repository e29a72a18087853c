//! The items that OpenAI's responses and realtime interfaces are made of, in and out
//! (OpenAI API reference, "Responses", "Input items" and "Output items").

use super::call::{Message, Part, ToolCall, ToolResult};
use super::json::Json;
use super::openai_chat::{content, result};
use super::parts;

/// An item of an input, as a message.
pub(super) fn message(json: &Json) -> Message {
    let kind = json.get("type").str().unwrap_or("message");
    let told = || parts::name(json.get("role"));
    let role = match kind {
        "message" => told().unwrap_or_else(|| "user".to_owned()),
        _ if kind.ends_with("_output") || kind == "mcp_approval_response" => "tool".to_owned(),
        _ => told().unwrap_or_else(|| "assistant".to_owned()),
    };
    Message {
        role,
        name: None,
        parts: item(json),
    }
}

/// The parts of an item.
pub(super) fn item(json: &Json) -> Vec<Part> {
    let kind = json.get("type").str().unwrap_or("message");
    match kind {
        "message" => content(json.get("content")),
        "function_call" | "custom_tool_call" | "computer_call" | "local_shell_call"
        | "shell_call" | "apply_patch_call" => vec![Part::ToolCall(call(kind, json))],
        "reasoning" => reasoning(json),
        "web_search_call"
        | "file_search_call"
        | "code_interpreter_call"
        | "image_generation_call"
        | "mcp_call"
        | "mcp_list_tools"
        | "mcp_approval_request"
        | "tool_search_call" => server_call(kind, json),
        "mcp_approval_response" => vec![Part::ServerToolResult {
            kind: kind.to_owned(),
            result: ToolResult {
                id: json.get("approval_request_id").text(),
                name: None,
                content: json.get("approve").text().unwrap_or_default(),
                is_error: None,
            },
        }],
        _ if kind.ends_with("_output") => call_output(json),
        _ => vec![parts::other(kind, json)],
    }
}

/// A call of a tool that the program runs.
pub(super) fn call(kind: &str, json: &Json) -> ToolCall {
    let given = json.any(&["arguments", "input", "action", "actions", "operation"]);
    let name = json.get("name").text();
    ToolCall {
        id: json.any(&["call_id", "id"]).text(),
        name: name.unwrap_or_else(|| kind.trim_end_matches("_call").to_owned()),
        arguments: parts::arguments(given),
    }
}

/// The result of such a call: a text, or parts of which texts are joined and media stand beside.
fn call_output(json: &Json) -> Vec<Part> {
    let output = json.get("output");
    let mut media = Vec::new();
    let is_part = |json: &Json| {
        json.get("type")
            .str()
            .is_some_and(|kind| kind.starts_with("input_") || kind == "computer_screenshot")
    };
    let mut text = String::new();
    if output.items().iter().any(is_part) || is_part(output) {
        for part in content(output) {
            match part {
                Part::Text(more) if text.is_empty() => text = more,
                Part::Text(more) => {
                    text.push('\n');
                    text.push_str(&more);
                }
                part => media.push(part),
            }
        }
    } else {
        text = result(output);
    }
    let mut parts = vec![Part::ToolResult(ToolResult {
        id: json.get("call_id").text(),
        name: json.get("name").text(),
        content: text,
        is_error: None,
    })];
    parts.append(&mut media);
    parts
}

/// Reasoning, or summaries of it. What is only encrypted is told as such.
fn reasoning(json: &Json) -> Vec<Part> {
    let texts = json
        .get("summary")
        .items()
        .iter()
        .chain(json.get("content").items());
    let parts: Vec<_> = texts
        .filter_map(|part| part.get("text").text().map(Part::Reasoning))
        .collect();
    if parts.is_empty() && json.get("encrypted_content").str().is_some() {
        return vec![parts::other("reasoning", json)];
    }
    parts
}

/// A call of a tool that the provider runs, and its result where there is one.
fn server_call(kind: &str, json: &Json) -> Vec<Part> {
    let given = ["arguments", "action", "queries", "code", "revised_prompt"];
    let id = json.get("id").text();
    let label = json.any(&["name", "server_label"]).text();
    let name = label.unwrap_or_else(|| kind.trim_end_matches("_call").to_owned());
    let call = ToolCall {
        id: id.clone(),
        name,
        arguments: parts::arguments(json.any(&given)),
    };
    let mut parts = vec![Part::ServerToolCall {
        kind: kind.to_owned(),
        call,
    }];
    let error = json.get("error");
    let outcome = [
        error,
        json.get("output"),
        json.get("outputs"),
        json.get("results"),
        json.get("tools"),
    ];
    if let Some(outcome) = outcome.into_iter().find(|outcome| !outcome.is_null()) {
        parts.push(Part::ServerToolResult {
            kind: kind.to_owned(),
            result: ToolResult {
                id,
                name: None,
                content: parts::text_without_data(outcome),
                is_error: (!error.is_null()).then_some(true),
            },
        });
    }
    if let Some(image) = json.get("result").str() {
        parts.push(parts::blob("image", None, image));
    }
    parts
}
