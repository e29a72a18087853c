//! What the providers' messages have in common.

use super::call::{Part, ToolCall, ToolDefinition};
use super::json::Json;

/// Members that hold data, or what only the provider can read.
const DATA: [&str; 9] = [
    "data",
    "file_data",
    "encrypted_content",
    "signature",
    "thoughtSignature",
    "thought_signature",
    "b64_json",
    "encrypted_index",
    "encrypted_stdout",
];

/// Media by its address: a `data:` URI is taken for the data that it is.
pub(crate) fn media(modality: &'static str, mime_type: Option<String>, uri: &str) -> Part {
    match data_uri(uri) {
        Some((mime, size)) => {
            let mime_type = mime_type.or_else(|| (!mime.is_empty()).then(|| mime.to_owned()));
            Part::Blob {
                modality,
                mime_type,
                size,
                transcript: None,
            }
        }
        None => Part::Uri {
            modality,
            mime_type,
            uri: uri.to_owned(),
        },
    }
}

/// Media in base64.
pub(crate) fn blob(modality: &'static str, mime_type: Option<String>, base64: &str) -> Part {
    let modality = mime_type
        .as_deref()
        .map_or(modality, |mime| modality_of(mime, modality));
    Part::Blob {
        modality,
        mime_type,
        size: base64_size(base64),
        transcript: None,
    }
}

/// Media that the provider has.
pub(crate) fn file(modality: &'static str, mime_type: Option<String>, id: String) -> Part {
    Part::File {
        modality,
        mime_type,
        id,
    }
}

/// The modality of a media type.
pub(crate) fn modality_of(mime_type: &str, otherwise: &'static str) -> &'static str {
    match mime_type.split('/').next() {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        Some("text" | "application") => "document",
        _ => otherwise,
    }
}

/// Media type and size of a `data:` URI.
fn data_uri(uri: &str) -> Option<(&str, u64)> {
    let scheme = uri.get(..5)?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let (head, data) = uri[5..].split_once(',').unwrap_or((&uri[5..], ""));
    let mime = head.split(';').next().unwrap_or_default();
    let encoded = head.ends_with(";base64");
    Some((
        mime,
        if encoded {
            base64_size(data)
        } else {
            data.len() as u64
        },
    ))
}

/// How many bytes base64 stands for.
fn base64_size(text: &str) -> u64 {
    let digits = text.trim_end_matches(['=', '\n', '\r']).len() as u64;
    digits * 3 / 4
}

/// A part of a kind that is not known.
pub(crate) fn other(kind: &str, json: &Json) -> Part {
    let kind = if kind.is_empty() { "unknown" } else { kind };
    Part::Other {
        kind: kind.to_owned(),
        content: text_without_data(json),
    }
}

/// A string itself; anything else as JSON, with a size in place of data.
pub(crate) fn text_without_data(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => without_data(other).to_json(),
    }
}

fn without_data(json: &Json) -> Json {
    let size = |bytes: u64| Json::String(format!("[{bytes} bytes]"));
    match json {
        Json::String(text) => match data_uri(text) {
            Some((_, bytes)) if text.contains(";base64,") => size(bytes),
            _ => json.clone(),
        },
        Json::Array(items) => Json::Array(items.iter().map(without_data).collect()),
        Json::Object(members) => Json::Object(
            members
                .iter()
                .map(|(key, value)| match value {
                    Json::String(text) if DATA.contains(&key.as_str()) => {
                        (key.clone(), size(base64_size(text)))
                    }
                    value => (key.clone(), without_data(value)),
                })
                .collect(),
        ),
        _ => json.clone(),
    }
}

/// Arguments as text: a string is taken to be JSON already, an object is written as JSON.
pub(crate) fn arguments(json: &Json) -> String {
    json.text().unwrap_or_default()
}

/// `{"id": ..., "function": {"name": ..., "arguments": ...}}`, or `{"custom": {"input": ...}}`.
pub(crate) fn nested_call(json: &Json) -> ToolCall {
    let function = json.any(&["function", "custom"]);
    ToolCall {
        id: json.get("id").text(),
        name: function.get("name").text().unwrap_or_default(),
        arguments: arguments(function.any(&["arguments", "input"])),
    }
}

/// A tool's definition: a function within or without `function`, or a tool of the provider's.
pub(crate) fn definition(json: &Json) -> ToolDefinition {
    let kind = json.get("type").text();
    let inner = match json.any(&["function", "custom"]) {
        inner if inner.is_object() => inner,
        _ => json,
    };
    let kind = kind.unwrap_or_else(|| "function".to_owned());
    let label = inner.any(&["name", "server_label"]).text();
    let parameters = inner.any(&[
        "parameters",
        "input_schema",
        "parametersJsonSchema",
        "inputSchema",
        "format",
    ]);
    ToolDefinition {
        name: label.unwrap_or_else(|| kind.clone()),
        kind,
        description: inner.any(&["description", "server_description"]).text(),
        parameters_size: parameters.text().map(|text| text.len() as u64),
    }
}

/// A string, or the strings of an array.
pub(crate) fn strings(json: &Json) -> Vec<String> {
    match json {
        Json::String(text) => vec![text.clone()],
        other => other.items().iter().filter_map(Json::string).collect(),
    }
}

/// A string that is not empty.
pub(crate) fn name(json: &Json) -> Option<String> {
    json.text().filter(|text| !text.is_empty())
}
