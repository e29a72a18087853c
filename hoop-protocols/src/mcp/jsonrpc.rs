//! JSON-RPC 2.0 messages (jsonrpc.org/specification).

use crate::genai::json::Json;

/// One message.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Request {
        id: &'a Json,
        method: &'a str,
        params: &'a Json,
    },
    Notification {
        method: &'a str,
        params: &'a Json,
    },
    Result {
        id: &'a Json,
        result: &'a Json,
    },
    Error {
        id: &'a Json,
        error: &'a Json,
    },
}

impl<'a> Message<'a> {
    /// A message, if this is one.
    pub(super) fn of(json: &'a Json) -> Option<Self> {
        if json.get("jsonrpc").str() != Some("2.0") {
            return None;
        }
        let id = json.get("id");
        let has_id = matches!(id, Json::String(_) | Json::Number(_));
        let params = json.get("params");
        let has = |key: &str| json.members().iter().any(|(name, _)| name == key);
        match json.get("method").str() {
            Some(method) if has_id => Some(Self::Request { id, method, params }),
            Some(method) => Some(Self::Notification { method, params }),
            None if json.get("error").is_object() => Some(Self::Error {
                id,
                error: json.get("error"),
            }),
            None if has_id && has("result") => Some(Self::Result {
                id,
                result: json.get("result"),
            }),
            None => None,
        }
    }
}

/// The messages of a document: itself, or the items of a batch.
pub(super) fn documents(json: &Json) -> &[Json] {
    match json {
        Json::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

/// Whether a document is a message, or a batch of which every item is one.
pub(super) fn is_jsonrpc(json: &Json) -> bool {
    let all = documents(json);
    !all.is_empty() && all.iter().all(|json| Message::of(json).is_some())
}

/// Whether a document can only be MCP's: it has a method of MCP's.
pub(super) fn is_mcp(json: &Json) -> bool {
    const METHODS: [&str; 10] = [
        "tools/",
        "resources/",
        "prompts/",
        "notifications/",
        "sampling/",
        "roots/",
        "elicitation/",
        "completion/",
        "logging/",
        "tasks/",
    ];
    is_jsonrpc(json)
        && documents(json)
            .iter()
            .any(|json| match json.get("method").str() {
                Some("initialize") => json.get("params").get("protocolVersion").str().is_some(),
                Some(method) => METHODS.iter().any(|start| method.starts_with(start)),
                None => false,
            })
}
