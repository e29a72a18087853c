//! What a record of an API says, read from its attributes (OpenTelemetry's conventions for generative AI and
//! MCP). Attributes are JSON that the daemon wrote about hostile bytes: what does not parse is taken as absent.

use hoop_records::ApiActivity;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A message of a conversation.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(default)]
    pub(crate) role: String,
    #[serde(default, borrow)]
    pub(crate) parts: Vec<Part<'a>>,
}

/// A part of one.
#[derive(Debug, Deserialize)]
pub(crate) struct Part<'a> {
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default, borrow)]
    pub(crate) content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) arguments: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) response: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) is_error: Option<bool>,
}

/// A call of a tool through MCP.
#[derive(Debug)]
pub(crate) struct McpCall {
    pub(crate) tool: String,
    /// JSON; `null` if there are none.
    pub(crate) arguments: Value,
}

/// The JSON of an attribute.
pub(crate) fn attribute<'a>(api: &'a ApiActivity, key: &str) -> Option<&'a str> {
    let mut attributes = api.attributes.iter();
    attributes
        .find(|attribute| attribute.key == key)
        .map(|attribute| attribute.value.as_str())
}

/// An attribute that is a string.
pub(crate) fn string(api: &ApiActivity, key: &str) -> Option<String> {
    serde_json::from_str(attribute(api, key)?).ok()
}

/// An attribute that is a number.
pub(crate) fn number(api: &ApiActivity, key: &str) -> Option<u64> {
    serde_json::from_str(attribute(api, key)?).ok()
}

/// What a model was told, earlier turns included.
pub(crate) fn input(api: &ApiActivity) -> Vec<Message<'_>> {
    messages(api, "gen_ai.input.messages")
}

/// What a model answered: a message for each choice.
pub(crate) fn output(api: &ApiActivity) -> Vec<Message<'_>> {
    messages(api, "gen_ai.output.messages")
}

/// The messages behind the model's last: what is new in this request.
pub(crate) fn news<'m, 'a>(messages: &'m [Message<'a>]) -> &'m [Message<'a>] {
    let last = messages
        .iter()
        .rposition(|message| matches!(message.role.as_str(), "assistant" | "model"));
    &messages[last.map_or(0, |last| last + 1)..]
}

/// Whether it is a request to a model.
pub(crate) fn is_model(api: &ApiActivity) -> bool {
    attribute(api, "gen_ai.provider.name").is_some()
        || attribute(api, "gen_ai.output.messages").is_some()
}

/// The call of a tool that it is, through MCP.
pub(crate) fn mcp_call(api: &ApiActivity) -> Option<McpCall> {
    if string(api, "mcp.method.name")? != "tools/call" {
        return None;
    }
    let arguments = attribute(api, "gen_ai.tool.call.arguments");
    Some(McpCall {
        tool: string(api, "gen_ai.tool.name")?,
        arguments: arguments.map_or(Value::Null, value),
    })
}

impl Part<'_> {
    /// Whether it asks the program for a call of a tool.
    pub(crate) fn is_call(&self) -> bool {
        self.kind == "tool_call"
    }

    /// Whether it is the result of one.
    pub(crate) fn is_result(&self) -> bool {
        self.kind == "tool_call_response"
    }
}

/// JSON, or JSON in a string, as models write arguments.
pub(crate) fn value(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    match &value {
        Value::String(inner) => serde_json::from_str(inner)
            .ok()
            .filter(|inner: &Value| inner.is_object() || inner.is_array())
            .unwrap_or(value),
        _ => value,
    }
}

/// JSON as text for a person: a string as it is, the rest as JSON.
pub(crate) fn plain(text: &str) -> String {
    serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned())
}

fn messages<'a>(api: &'a ApiActivity, key: &str) -> Vec<Message<'a>> {
    attribute(api, key)
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}
