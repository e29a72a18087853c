//! OpenAI chat completions and completions, as OpenAI and those compatible with it speak them
//! (OpenAI API reference, "Chat" and "Completions").

use super::call::{Message, OutputType, Part, Request, ToolCall, ToolResult, Usage};
use super::json::Json;
use super::output::Output;
use super::parts;

/// Items of a choice, in the order in which they are told.
const REASONING: u64 = 0;
const TEXT: u64 = 1;
const REFUSAL: u64 = 2;
const AUDIO: u64 = 3;
const CALLS: u64 = 4;

pub(super) fn is_chat_request(json: &Json) -> bool {
    json.get("messages").is_array()
}

pub(super) fn is_completions_request(json: &Json) -> bool {
    !json.get("prompt").is_null()
}

/// Fields that most providers name in the same way.
pub(super) fn settings(json: &Json, request: &mut Request) {
    let model = json.get("model").text();
    request.model = model.or_else(|| request.model.take());
    request.stream = json.get("stream").bool().or(request.stream);
    let max_tokens = ["max_completion_tokens", "max_output_tokens", "max_tokens"];
    request.max_tokens = json.any(&max_tokens).u64();
    request.choices = json.get("n").u64();
    request.temperature = json.get("temperature").f64();
    request.top_p = json.get("top_p").f64();
    request.top_k = json.get("top_k").f64();
    request.frequency_penalty = json.get("frequency_penalty").f64();
    request.presence_penalty = json.get("presence_penalty").f64();
    request.seed = json.get("seed").i64();
    request.stop_sequences = parts::strings(json.any(&["stop", "stop_sequences"]));
    request.reasoning_effort = json.get("reasoning_effort").text();
    request.output_type = output_type(json.get("response_format"));
    request.tools = json
        .get("tools")
        .items()
        .iter()
        .map(parts::definition)
        .collect();
}

pub(super) fn output_type(format: &Json) -> Option<OutputType> {
    match format.get("type").str()? {
        "text" => Some(OutputType::Text),
        "json_object" | "json_schema" => Some(OutputType::Json),
        _ => None,
    }
}

pub(super) fn chat_request(json: &Json, request: &mut Request) {
    settings(json, request);
    request
        .tools
        .extend(json.get("functions").items().iter().map(parts::definition));
    request.messages = json.get("messages").items().iter().map(message).collect();
}

pub(super) fn completions_request(json: &Json, request: &mut Request) {
    settings(json, request);
    let prompt = json.get("prompt");
    let tokens =
        !prompt.items().is_empty() && prompt.items().iter().all(|item| item.u64().is_some());
    if tokens {
        let parts = vec![parts::other("tokens", prompt)];
        return request.messages.push(user(parts));
    }
    let prompts = match prompt {
        Json::Array(items) if items.iter().all(|item| item.str().is_some()) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    request.messages = prompts.iter().map(|prompt| user(content(prompt))).collect();
}

/// What a user says.
pub(super) fn user(parts: Vec<Part>) -> Message {
    Message {
        role: "user".to_owned(),
        name: None,
        parts,
    }
}

fn message(json: &Json) -> Message {
    let role = parts::name(json.get("role")).unwrap_or_else(|| "user".to_owned());
    let mut parts = Vec::new();
    parts.extend(reasoning(json).text().map(Part::Reasoning));
    if matches!(&*role, "tool" | "function") {
        parts.push(Part::ToolResult(ToolResult {
            id: json.get("tool_call_id").text(),
            name: json.get("name").text(),
            content: result(json.get("content")),
            is_error: None,
        }));
    } else {
        parts.extend(content(json.get("content")));
    }
    parts.extend(json.get("refusal").text().map(Part::Refusal));
    parts.extend(
        json.get("tool_calls")
            .items()
            .iter()
            .map(|call| Part::ToolCall(parts::nested_call(call))),
    );
    let legacy = json.get("function_call");
    if legacy.is_object() {
        parts.push(Part::ToolCall(legacy_call(legacy)));
    }
    if let Some(id) = json.get("audio").get("id").text() {
        parts.push(parts::file("audio", None, id));
    }
    Message {
        role,
        name: json.get("name").text(),
        parts,
    }
}

/// Reasoning has no field in OpenAI's chat; compatible servers have these.
fn reasoning(json: &Json) -> &Json {
    json.any(&["reasoning_content", "reasoning"])
}

fn legacy_call(json: &Json) -> ToolCall {
    ToolCall {
        id: None,
        name: json.get("name").text().unwrap_or_default(),
        arguments: parts::arguments(json.get("arguments")),
    }
}

/// The result of a tool: text, or the texts of its parts.
pub(super) fn result(json: &Json) -> String {
    let texts: Option<Vec<&str>> = json
        .items()
        .iter()
        .map(|part| part.get("text").str())
        .collect();
    match texts {
        Some(texts) if json.is_array() => texts.join("\n"),
        _ => parts::text_without_data(json),
    }
}

/// A message's content: text, or parts.
pub(super) fn content(json: &Json) -> Vec<Part> {
    match json {
        Json::Null => Vec::new(),
        Json::String(text) => vec![Part::Text(text.clone())],
        Json::Array(items) => items.iter().map(content_part).collect(),
        one => vec![content_part(one)],
    }
}

/// A part of a message, of chat or of responses.
pub(super) fn content_part(json: &Json) -> Part {
    let kind = json.get("type").str().unwrap_or_default();
    let text = || json.get("text").text();
    let part = match kind {
        "text" | "input_text" | "output_text" | "" => {
            json.str().map(str::to_owned).or_else(text).map(Part::Text)
        }
        "refusal" => json.get("refusal").text().map(Part::Refusal),
        "summary_text" | "reasoning_text" | "thinking" => {
            json.any(&["text", "thinking"]).text().map(Part::Reasoning)
        }
        "image_url" | "input_image" | "computer_screenshot" => {
            let url = json.get("image_url");
            let url = url.str().or_else(|| url.get("url").str());
            let file = || {
                json.get("file_id")
                    .string()
                    .map(|id| parts::file("image", None, id))
            };
            url.map(|url| parts::media("image", None, url))
                .or_else(file)
        }
        "input_audio" => {
            let audio = json.get("input_audio");
            let audio = if audio.is_object() { audio } else { json };
            let mime = audio
                .get("format")
                .str()
                .map(|format| format!("audio/{format}"));
            let data = audio.any(&["data", "audio"]).str().unwrap_or_default();
            Some(with_transcript(parts::blob("audio", mime, data), json))
        }
        "audio" | "output_audio" => {
            let data = json.any(&["data", "audio"]).str().unwrap_or_default();
            Some(with_transcript(parts::blob("audio", None, data), json))
        }
        "file" | "input_file" => input_file(json),
        _ => None,
    };
    part.unwrap_or_else(|| parts::other(kind, json))
}

fn with_transcript(mut part: Part, json: &Json) -> Part {
    if let Part::Blob { transcript, .. } = &mut part {
        *transcript = json.get("transcript").text();
    }
    part
}

fn input_file(json: &Json) -> Option<Part> {
    let file = json.get("file");
    let file = if file.is_object() { file } else { json };
    if let Some(id) = file.get("file_id").string() {
        return Some(parts::file("document", None, id));
    }
    if let Some(url) = file.get("file_url").str() {
        return Some(parts::media("document", None, url));
    }
    let data = file.get("file_data").str()?;
    Some(match parts::media("document", None, data) {
        Part::Uri { .. } => parts::blob("document", None, data),
        blob => blob,
    })
}

/// A response, or a chunk of one: both are read in the same way, what is told is added.
pub(super) fn response(json: &Json, output: &mut Output) {
    output.shaped |= json.get("choices").is_array();
    output.set_id(json.get("id"));
    output.set_model(json.get("model"));
    output.set_error(json.get("error"));
    output.set_usage(usage(json.get("usage")));
    for (i, choice) in (0..).zip(json.get("choices").items()) {
        let index = choice.get("index").u64().unwrap_or(i);
        let message = choice.any(&["delta", "message"]);
        output.set_role(index, message.get("role"));
        let mut add = |item, json: &Json, begin: fn(String) -> Part| {
            let text = json.text().unwrap_or_default();
            output.append((index, item, 0), &text, || begin(String::new()));
        };
        add(REASONING, reasoning(message), Part::Reasoning);
        add(TEXT, choice.get("text"), Part::Text);
        add(REFUSAL, message.get("refusal"), Part::Refusal);
        let content = message.get("content");
        if content.is_array() {
            // Mistral tells thinking so.
            for part in content.items() {
                content_delta(index, content_part(part), output);
            }
        } else {
            add(TEXT, content, Part::Text);
        }
        audio(index, message.get("audio"), output);
        for call in message.get("tool_calls").items() {
            tool_call(index, call, output);
        }
        let legacy = message.get("function_call");
        if legacy.is_object() {
            let Json::Object(members) = legacy else {
                continue;
            };
            let call = Json::Object(vec![
                ("index".to_owned(), Json::Number("0".to_owned())),
                ("function".to_owned(), Json::Object(members.clone())),
            ]);
            tool_call(index, &call, output);
        }
        output.set_finish(index, choice.get("finish_reason"));
    }
}

fn content_delta(choice: u64, part: Part, output: &mut Output) {
    match part {
        Part::Text(text) => {
            output.append((choice, TEXT, 0), &text, || Part::Text(String::new()));
        }
        Part::Reasoning(text) => {
            output.append((choice, REASONING, 0), &text, || {
                Part::Reasoning(String::new())
            });
        }
        part => {
            let next = output
                .last(choice)
                .map_or(0, |((_, _, sub), _)| sub.saturating_add(1));
            output.put((choice, TEXT, next.max(1)), part);
        }
    }
}

fn audio(choice: u64, json: &Json, output: &mut Output) {
    if !json.is_object() {
        return;
    }
    let place = (choice, AUDIO, 0);
    let more = parts::blob("audio", None, json.get("data").str().unwrap_or_default());
    match (output.part(place), more) {
        (Some(Part::Blob { size, .. }), Part::Blob { size: more, .. }) => *size += more,
        (_, more) => output.put(place, more),
    }
    let transcript = json.get("transcript").str().unwrap_or_default();
    output.append(place, transcript, || Part::Text(String::new()));
}

/// A call, or more of one. Its place is its index; some servers tell none, and then an identifier
/// begins a new call.
fn tool_call(choice: u64, json: &Json, output: &mut Output) {
    let told = parts::nested_call(json);
    let last = output
        .last(choice)
        .map(|((_, item, _), _)| item)
        .filter(|item| *item >= CALLS);
    let item = match (json.get("index").u64(), last) {
        (Some(index), _) => CALLS.saturating_add(index),
        (None, Some(last)) if told.id.is_none() => last,
        (None, last) => last.map_or(CALLS, |last| last.saturating_add(1)),
    };
    let place = (choice, item, 0);
    if matches!(output.part(place), Some(Part::ToolCall(_))) {
        let labels = told.name.len() + told.id.as_ref().map_or(0, String::len);
        if labels > 0
            && output.charge(labels)
            && let Some(Part::ToolCall(call)) = output.part(place)
        {
            call.id = call.id.take().or(told.id);
            // Told whole at first; whoever tells it in pieces has clients that join them.
            if call.name != told.name {
                call.name.push_str(&told.name);
            }
        }
        output.append(place, &told.arguments, || {
            Part::ToolCall(ToolCall::default())
        });
    } else {
        output.put(place, Part::ToolCall(told));
    }
}

fn usage(json: &Json) -> Usage {
    let input = json.any(&["prompt_tokens_details", "input_tokens_details"]);
    let output = json.any(&["completion_tokens_details", "output_tokens_details"]);
    let hits = json.get("prompt_cache_hit_tokens").u64();
    Usage {
        input: json.any(&["prompt_tokens", "input_tokens"]).u64(),
        output: json.any(&["completion_tokens", "output_tokens"]).u64(),
        cache_read: input.get("cached_tokens").u64().or(hits),
        cache_creation: None,
        reasoning: output.get("reasoning_tokens").u64(),
    }
}

/// Token counts, as chat and as responses name them.
pub(super) fn usage_of(json: &Json, output: &mut Output) {
    output.set_usage(usage(json.get("usage")));
}
