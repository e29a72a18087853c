//! A call by the names of OpenTelemetry's semantic conventions for generative AI
//! (`open-telemetry/semantic-conventions-genai`, `model/gen-ai`): attributes of its registry, and
//! messages, system instructions and tool definitions in the shape of its JSON schemas. What the
//! conventions have no name for is under `hoop.gen_ai`.

use serde_json::{Map, Value, json};

use super::api::Kind;
use super::call::{
    Call, Choice, Issue, Message, OutputType, Part, ToolCall, ToolDefinition, ToolResult,
};
use super::json;

impl Call {
    /// The attributes that are known of this call, in a fixed order.
    ///
    /// Strings are as they are now: call [`texts_mut`](Self::texts_mut) first. Arguments and
    /// results of tools that are JSON objects or arrays are told as such, unless one of their
    /// objects has a key twice: then as the text that they are, so that both are seen.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, Value)> + use<> {
        let mut out = Attributes::default();
        out.put("gen_ai.operation.name", Some(self.kind.operation()));
        out.put("gen_ai.provider.name", Some(self.provider));
        out.put("openai.api.type", openai_api(self.kind));
        self.request_attributes(&mut out);
        self.response_attributes(&mut out);
        let issues: Vec<_> = self
            .issues
            .iter()
            .map(|issue: &Issue| issue.as_str())
            .collect();
        out.put("hoop.gen_ai.issues", (!issues.is_empty()).then_some(issues));
        out.into_iter()
    }

    fn request_attributes(&self, out: &mut Attributes) {
        let request = &self.request;
        out.put("gen_ai.request.model", request.model.as_deref());
        out.put("gen_ai.request.stream", request.stream);
        out.put("gen_ai.request.max_tokens", request.max_tokens);
        // The conventions ask for it only if it is not 1.
        out.put(
            "gen_ai.request.choice.count",
            request.choices.filter(|choices| *choices != 1),
        );
        out.put("gen_ai.request.temperature", request.temperature);
        out.put("gen_ai.request.top_p", request.top_p);
        out.put("gen_ai.request.top_k", request.top_k);
        out.put(
            "gen_ai.request.frequency_penalty",
            request.frequency_penalty,
        );
        out.put("gen_ai.request.presence_penalty", request.presence_penalty);
        out.put("gen_ai.request.seed", request.seed);
        out.list(
            "gen_ai.request.stop_sequences",
            &request.stop_sequences,
            |text| json!(text),
        );
        out.put("gen_ai.output.type", request.output_type.map(output_type));
        let response = &self.response;
        let conversation = request
            .conversation_id
            .as_ref()
            .or(response.conversation_id.as_ref());
        out.put("gen_ai.conversation.id", conversation.map(String::as_str));
        out.put(
            "hoop.gen_ai.request.previous_response_id",
            request.previous_response_id.as_deref(),
        );
        out.put(
            "hoop.gen_ai.request.reasoning_effort",
            request.reasoning_effort.as_deref(),
        );
        out.list("gen_ai.system_instructions", &request.instructions, part);
        out.list("gen_ai.input.messages", &request.messages, |message| {
            Value::Object(object(message))
        });
        out.list("gen_ai.tool.definitions", &request.tools, definition);
    }

    fn response_attributes(&self, out: &mut Attributes) {
        let response = &self.response;
        out.put("http.response.status_code", response.http_status);
        out.put("gen_ai.response.id", response.id.as_deref());
        out.put("gen_ai.response.model", response.model.as_deref());
        let reasons: Vec<_> = response
            .choices
            .iter()
            .filter_map(|c| c.finish_reason.as_deref())
            .collect();
        out.put(
            "gen_ai.response.finish_reasons",
            (!reasons.is_empty()).then_some(reasons),
        );
        let usage = &response.usage;
        out.put("gen_ai.usage.input_tokens", usage.input);
        out.put("gen_ai.usage.output_tokens", usage.output);
        out.put("gen_ai.usage.cache_read.input_tokens", usage.cache_read);
        out.put(
            "gen_ai.usage.cache_creation.input_tokens",
            usage.cache_creation,
        );
        out.put("gen_ai.usage.reasoning.output_tokens", usage.reasoning);
        out.list("gen_ai.output.messages", &response.choices, |choice| {
            self.output(choice)
        });
        out.put("hoop.gen_ai.response.streamed", Some(response.streamed));
        let status = response.http_status.filter(|status| *status >= 400);
        let error = response.error.as_ref();
        if error.is_some() || status.is_some() {
            let kind = error.and_then(|error| error.kind.clone());
            let kind = kind.or_else(|| status.map(|status| status.to_string()));
            out.put(
                "error.type",
                Some(kind.unwrap_or_else(|| "_OTHER".to_owned())),
            );
        }
        out.put(
            "error.message",
            error.and_then(|error| error.message.as_deref()),
        );
    }

    fn output(&self, choice: &Choice) -> Value {
        let mut message = object(&choice.message);
        let calls = choice
            .message
            .parts
            .iter()
            .any(|part| matches!(part, Part::ToolCall(_)));
        let reason = choice.finish_reason.as_deref();
        let reason = reason.map_or(
            // The schema of the released conventions requires one.
            if self.response.error.is_some() {
                "error"
            } else {
                "unknown"
            },
            |reason| finish_reason(reason, calls),
        );
        message.insert("finish_reason".to_owned(), json!(reason));
        Value::Object(message)
    }
}

/// Attributes as they are put together.
#[derive(Debug, Default)]
pub(crate) struct Attributes(Vec<(&'static str, Value)>);

impl Attributes {
    pub(crate) fn into_iter(self) -> impl Iterator<Item = (&'static str, Value)> + use<> {
        self.0.into_iter()
    }

    pub(crate) fn put<T: Into<Value>>(&mut self, name: &'static str, value: Option<T>) {
        self.0.extend(value.map(|value| (name, value.into())));
    }

    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        items: &[T],
        one: impl FnMut(&T) -> Value,
    ) {
        if !items.is_empty() {
            self.0.push((name, items.iter().map(one).collect()));
        }
    }
}

/// `openai.api.type` of `model/openai`.
fn openai_api(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::OpenAiChat => Some("chat_completions"),
        Kind::OpenAiResponses => Some("responses"),
        _ => None,
    }
}

fn output_type(kind: OutputType) -> &'static str {
    match kind {
        OutputType::Text => "text",
        OutputType::Json => "json",
        OutputType::Image => "image",
        OutputType::Speech => "speech",
    }
}

/// The word of the schema of output messages for a provider's; the provider's own if it has none.
fn finish_reason(reason: &str, calls: bool) -> &str {
    match reason {
        // Gemini and Ollama stop in the same way before a call of a tool.
        "stop" | "STOP" | "end_turn" | "stop_sequence" | "completed" => {
            if calls {
                "tool_call"
            } else {
                "stop"
            }
        }
        "length"
        | "max_tokens"
        | "MAX_TOKENS"
        | "max_output_tokens"
        | "model_context_window_exceeded" => "length",
        "tool_calls" | "function_call" | "tool_use" => "tool_call",
        "content_filter" | "refusal" | "SAFETY" | "RECITATION" | "BLOCKLIST"
        | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" => "content_filter",
        "failed" | "error" | "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" => "error",
        other => other,
    }
}

fn object(message: &Message) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("role".to_owned(), json!(message.role));
    if let Some(name) = &message.name {
        out.insert("name".to_owned(), json!(name));
    }
    out.insert("parts".to_owned(), message.parts.iter().map(part).collect());
    out
}

pub(crate) fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "content": text}),
        Part::Reasoning(text) => json!({"type": "reasoning", "content": text}),
        Part::Refusal(text) => json!({"type": "refusal", "content": text}),
        Part::ToolCall(ToolCall {
            id,
            name,
            arguments,
        }) => json!({
            "type": "tool_call", "id": id, "name": name, "arguments": structured(arguments),
        }),
        Part::ToolResult(result) => tool_result(result),
        Part::ServerToolCall {
            kind,
            call:
                ToolCall {
                    id,
                    name,
                    arguments,
                },
        } => json!({
            "type": "server_tool_call", "id": id, "name": name,
            "server_tool_call": {"type": kind, "arguments": structured(arguments)},
        }),
        Part::ServerToolResult { kind, result } => json!({
            "type": "server_tool_call_response", "id": result.id,
            "server_tool_call_response": {
                "type": kind, "response": structured(&result.content),
            },
        }),
        // The schema requires a content. It is not kept, its size is.
        Part::Blob {
            modality,
            mime_type,
            size,
            transcript,
        } => json!({
            "type": "blob", "modality": modality, "mime_type": mime_type, "content": "",
            "size": size, "transcript": transcript,
        }),
        Part::File {
            modality,
            mime_type,
            id,
        } => json!({
            "type": "file", "modality": modality, "mime_type": mime_type, "file_id": id,
        }),
        Part::Uri {
            modality,
            mime_type,
            uri,
        } => json!({
            "type": "uri", "modality": modality, "mime_type": mime_type, "uri": uri,
        }),
        Part::Other { kind, content } => json!({"type": kind, "content": structured(content)}),
    }
}

fn tool_result(result: &ToolResult) -> Value {
    let ToolResult {
        id,
        name,
        content,
        is_error,
    } = result;
    let mut out = json!({
        "type": "tool_call_response", "id": id, "response": structured(content),
    });
    if let Some(name) = name {
        out["name"] = json!(name);
    }
    if let Some(is_error) = is_error {
        out["is_error"] = json!(is_error);
    }
    out
}

pub(crate) fn definition(tool: &ToolDefinition) -> Value {
    let ToolDefinition {
        kind,
        name,
        description,
        parameters_size,
    } = tool;
    let mut out = json!({"type": kind, "name": name});
    if let Some(description) = description {
        out["description"] = json!(description);
    }
    if let Some(size) = parameters_size {
        out["parameters_size"] = json!(size);
    }
    out
}

/// Text that is a JSON object or array as such, if nothing of it is lost by that; else a string.
pub(crate) fn structured(text: &str) -> Value {
    let exact = || {
        let (value, notes) = json::read(text.as_bytes());
        (notes.is_clean() && value.is_exact())
            .then(|| serde_json::from_str(text).ok())
            .flatten()
    };
    let starts = text.trim_start().starts_with(['{', '[']);
    starts
        .then(exact)
        .flatten()
        .unwrap_or_else(|| Value::String(text.to_owned()))
}
