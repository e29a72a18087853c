//! Gemini `generateContent` and `streamGenerateContent`, as Google AI and Vertex speak them
//! (Gemini API reference, "Generating content").

use super::call::{
    Message, OutputType, Part, Request, ToolCall, ToolDefinition, ToolResult, Usage,
};
use super::json::Json;
use super::output::Output;
use super::parts;

pub(super) fn is_request(json: &Json) -> bool {
    json.get("contents").is_array() || json.get("contents").is_object()
}

pub(super) fn request(json: &Json, request: &mut Request) {
    let config = json.any(&["generationConfig", "generation_config"]);
    let setting = |names: [&str; 2]| config.any(&names);
    request.max_tokens = setting(["maxOutputTokens", "max_output_tokens"]).u64();
    request.choices = setting(["candidateCount", "candidate_count"]).u64();
    request.temperature = config.get("temperature").f64();
    request.top_p = setting(["topP", "top_p"]).f64();
    request.top_k = setting(["topK", "top_k"]).f64();
    request.frequency_penalty = setting(["frequencyPenalty", "frequency_penalty"]).f64();
    request.presence_penalty = setting(["presencePenalty", "presence_penalty"]).f64();
    request.seed = config.get("seed").i64();
    request.stop_sequences = parts::strings(setting(["stopSequences", "stop_sequences"]));
    request.output_type = output_type(config);
    let thinking = setting(["thinkingConfig", "thinking_config"]);
    request.reasoning_effort = thinking.any(&["thinkingLevel", "thinking_level"]).text();
    let system = json.any(&["systemInstruction", "system_instruction"]);
    request.instructions = content(system);
    let contents = json.get("contents");
    let contents = if contents.is_array() {
        contents.items()
    } else {
        std::slice::from_ref(contents)
    };
    request.messages = contents
        .iter()
        .filter(|content| !content.is_null())
        .map(message)
        .collect();
    request.tools = json.get("tools").items().iter().flat_map(tools).collect();
}

fn output_type(config: &Json) -> Option<OutputType> {
    let modalities = config.any(&["responseModalities", "response_modalities"]);
    let wants = |modality: &str| {
        let mut all = modalities.items().iter().filter_map(Json::str);
        all.any(|one| one.eq_ignore_ascii_case(modality))
    };
    if wants("image") {
        return Some(OutputType::Image);
    }
    if wants("audio") {
        return Some(OutputType::Speech);
    }
    match config
        .any(&["responseMimeType", "response_mime_type"])
        .str()?
    {
        "application/json" => Some(OutputType::Json),
        "text/plain" => Some(OutputType::Text),
        _ => None,
    }
}

fn message(json: &Json) -> Message {
    let parts = content(json);
    let role = match json.get("role").str() {
        Some("model") => "assistant",
        Some("function") => "tool",
        Some("user") | None => {
            let results = parts.iter().any(|part| matches!(part, Part::ToolResult(_)));
            if results { "tool" } else { "user" }
        }
        Some(other) => other,
    };
    Message {
        role: role.to_owned(),
        name: None,
        parts,
    }
}

/// The parts of a content; some clients send a bare text, or parts without a content.
fn content(json: &Json) -> Vec<Part> {
    if let Some(text) = json.str() {
        return vec![Part::Text(text.to_owned())];
    }
    let parts = json.get("parts");
    match parts {
        Json::Null if json.is_array() => json.items().iter().flat_map(part).collect(),
        Json::Null => Vec::new(),
        Json::Array(items) => items.iter().flat_map(part).collect(),
        one => part(one),
    }
}

/// One part; more if members are together that should not be, so that none hides another.
fn part(json: &Json) -> Vec<Part> {
    if let Some(text) = json.str() {
        return vec![Part::Text(text.to_owned())];
    }
    let mut parts = Vec::new();
    if let Some(text) = json.get("text").text() {
        let thought = json.get("thought").bool() == Some(true);
        parts.push(if thought {
            Part::Reasoning(text)
        } else {
            Part::Text(text)
        });
    }
    parts.extend(
        json.members()
            .iter()
            .filter_map(|(kind, value)| member(kind, value)),
    );
    if parts.is_empty() {
        let members = json.members().iter();
        let kind = members
            .map(|(kind, _)| kind.as_str())
            .find(|kind| !kind.starts_with("thought"));
        parts.push(parts::other(kind.unwrap_or_default(), json));
    }
    parts
}

fn member(kind: &str, value: &Json) -> Option<Part> {
    let mime = || value.any(&["mimeType", "mime_type"]).text();
    let text = |key: &str| value.get(key).text();
    Some(match kind {
        "inlineData" | "inline_data" => parts::blob(
            "document",
            mime(),
            value.get("data").str().unwrap_or_default(),
        ),
        "fileData" | "file_data" => {
            let uri = value
                .any(&["fileUri", "file_uri"])
                .text()
                .unwrap_or_default();
            let modality = mime().map_or("document", |mime| parts::modality_of(&mime, "document"));
            parts::media(modality, mime(), &uri)
        }
        "functionCall" | "function_call" => Part::ToolCall(ToolCall {
            id: text("id"),
            name: text("name").unwrap_or_default(),
            arguments: parts::arguments(value.any(&["args", "partialArgs"])),
        }),
        "functionResponse" | "function_response" => Part::ToolResult(ToolResult {
            id: text("id"),
            name: text("name"),
            content: parts::text_without_data(value.get("response")),
            is_error: None,
        }),
        "executableCode" | "executable_code" => Part::ServerToolCall {
            kind: kind.to_owned(),
            call: ToolCall {
                id: text("id"),
                name: "code_execution".to_owned(),
                arguments: text("code").unwrap_or_default(),
            },
        },
        "codeExecutionResult" | "code_execution_result" => Part::ServerToolResult {
            kind: kind.to_owned(),
            result: ToolResult {
                id: text("id"),
                name: None,
                content: text("output").unwrap_or_default(),
                is_error: text("outcome").map(|outcome| outcome != "OUTCOME_OK"),
            },
        },
        _ => return None,
    })
}

/// An entry of `tools`: functions, or tools of Google's by their names.
fn tools(json: &Json) -> Vec<ToolDefinition> {
    let mut all = Vec::new();
    for (key, value) in json.members() {
        match key.as_str() {
            "functionDeclarations" | "function_declarations" => {
                all.extend(value.items().iter().map(parts::definition));
            }
            _ => all.push(ToolDefinition {
                kind: key.clone(),
                name: key.clone(),
                description: None,
                parameters_size: None,
            }),
        }
    }
    all
}

/// A response, or a chunk of one: both are read in the same way, what is told is added.
pub(super) fn response(json: &Json, output: &mut Output) {
    let candidates = json.get("candidates");
    output.shaped |= candidates.is_array() || json.get("promptFeedback").is_object();
    output.set_id(json.get("responseId"));
    output.set_model(json.get("modelVersion"));
    output.set_error(json.get("error"));
    output.set_usage(usage(json.get("usageMetadata")));
    for (i, candidate) in (0..).zip(candidates.items()) {
        let index = candidate.get("index").u64().unwrap_or(i);
        for part in content(candidate.get("content")) {
            add(index, part, output);
        }
        output.set_finish(index, candidate.get("finishReason"));
    }
    // A prompt that is blocked has no candidates.
    output.set_finish(0, json.get("promptFeedback").get("blockReason"));
}

/// Another part of a candidate; text goes on where the last part is of its kind.
fn add(choice: u64, part: Part, output: &mut Output) {
    let last = output.last(choice);
    let goes_on = last.as_ref().is_some_and(|(_, last)| {
        matches!(
            (last, &part),
            (Part::Text(_), Part::Text(_)) | (Part::Reasoning(_), Part::Reasoning(_))
        )
    });
    let place = last.map(|(place, _)| place);
    match (place, part) {
        (Some(place), Part::Text(text) | Part::Reasoning(text)) if goes_on => {
            output.append(place, &text, || Part::Text(String::new()));
        }
        (_, Part::Text(text)) if text.is_empty() => {}
        (place, part) => {
            let item = place.map_or(0, |(_, item, _)| item.saturating_add(1));
            output.put((choice, item, 0), part);
        }
    }
}

fn usage(json: &Json) -> Usage {
    let count = |key: &str| json.get(key).u64();
    let sum = |first: Option<u64>, second: Option<u64>| match (first, second) {
        (Some(first), Some(second)) => Some(first.saturating_add(second)),
        (first, second) => first.or(second),
    };
    let reasoning = count("thoughtsTokenCount");
    Usage {
        input: sum(count("promptTokenCount"), count("toolUsePromptTokenCount")),
        output: sum(count("candidatesTokenCount"), reasoning),
        cache_read: count("cachedContentTokenCount"),
        cache_creation: None,
        reasoning,
    }
}
