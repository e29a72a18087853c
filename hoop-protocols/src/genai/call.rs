//! What a call said, provider by provider the same.

use std::collections::BTreeSet;

use super::api::Kind;

/// One call of a model, from its request and its response.
///
/// Every string is as it came from the wire: mask each by [`texts_mut`](Self::texts_mut) before it
/// is kept anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `gen_ai.provider.name`.
    pub provider: &'static str,
    /// The interface that was spoken.
    pub kind: Kind,
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub response: Response,
    /// Why this is not all that was said; empty if it is.
    pub issues: BTreeSet<Issue>,
}

/// What was asked of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model's name.
    pub model: Option<String>,
    /// Instructions given apart from the messages.
    pub instructions: Vec<Part>,
    /// The messages in the order sent, earlier turns included.
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    pub tools: Vec<ToolDefinition>,
    /// The conversation that the provider keeps.
    pub conversation_id: Option<String>,
    /// The response whose history is taken as given.
    pub previous_response_id: Option<String>,
    /// Whether the response is wanted as a stream.
    pub stream: Option<bool>,
    /// The most tokens to be generated.
    pub max_tokens: Option<u64>,
    /// How many choices are wanted.
    pub choices: Option<u64>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Top-k sampling.
    pub top_k: Option<f64>,
    /// Frequency penalty.
    pub frequency_penalty: Option<f64>,
    /// Presence penalty.
    pub presence_penalty: Option<f64>,
    /// The seed.
    pub seed: Option<i64>,
    /// Sequences at which generation stops.
    pub stop_sequences: Vec<String>,
    /// What form the output shall have, by `gen_ai.output.type`.
    pub output_type: Option<OutputType>,
    /// How much the model shall reason, in the provider's words.
    pub reasoning_effort: Option<String>,
}

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The HTTP status; `None` if no response was seen, or over a WebSocket.
    pub http_status: Option<u16>,
    /// The response's identifier.
    pub id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// The conversation that the provider keeps.
    pub conversation_id: Option<String>,
    /// One message for each choice.
    pub choices: Vec<Choice>,
    /// Token counts.
    pub usage: Usage,
    /// Whether it came as a stream.
    pub streamed: bool,
    /// The error, if it is one or ended in one.
    pub error: Option<Error>,
}

/// One choice of a response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The message. Its role is `assistant` if none was told.
    pub message: Message,
    /// Why the model stopped, in the provider's words.
    pub finish_reason: Option<String>,
}

/// A message of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool` or, in the provider's words, another.
    pub role: String,
    /// The participant's name.
    pub name: Option<String>,
    /// What it is made of.
    pub parts: Vec<Part>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text.
    Text(String),
    /// The model's reasoning, or a summary of it.
    Reasoning(String),
    /// What the model says instead of an answer.
    Refusal(String),
    /// A call of a tool that the program runs.
    ToolCall(ToolCall),
    /// The result of such a call, given back.
    ToolResult(ToolResult),
    /// A call of a tool that the provider runs; `kind` of it is the provider's word for it.
    ServerToolCall {
        /// What kind of tool.
        kind: String,
        /// The call.
        call: ToolCall,
    },
    /// The result of such a call.
    ServerToolResult {
        /// What kind of result.
        kind: String,
        /// The result.
        result: ToolResult,
    },
    /// Data sent along: named, not kept.
    Blob {
        /// `image`, `audio`, `video` or `document`.
        modality: &'static str,
        /// Its media type.
        mime_type: Option<String>,
        /// Its size in bytes, encoding taken off.
        size: u64,
        /// What is said in it, where the provider tells.
        transcript: Option<String>,
    },
    /// Data that the provider has already.
    File {
        /// `image`, `audio`, `video` or `document`.
        modality: &'static str,
        /// Its media type.
        mime_type: Option<String>,
        /// Its identifier.
        id: String,
    },
    /// Data that the provider is to fetch.
    Uri {
        /// `image`, `audio`, `video` or `document`.
        modality: &'static str,
        /// Its media type.
        mime_type: Option<String>,
        /// Where it is.
        uri: String,
    },
    /// A part of a kind that is not known, as JSON.
    Other {
        /// The provider's word for it.
        kind: String,
        /// All of it, except what is only data (encrypted reasoning, signatures).
        content: String,
    },
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCall {
    /// Its identifier.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// The arguments: JSON as the model wrote it, or free text.
    pub arguments: String,
}

/// The result of a call of a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolResult {
    /// The identifier of the call.
    pub id: Option<String>,
    /// The tool's name, where it is told.
    pub name: Option<String>,
    /// The result: text, or JSON.
    pub content: String,
    /// Whether it is said to be an error.
    pub is_error: Option<bool>,
}

/// A tool that a model may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolDefinition {
    /// `function`, or the provider's word for a tool of its own.
    pub kind: String,
    /// Its name; the kind again for a tool that has none.
    pub name: String,
    /// What the model is told that it does.
    pub description: Option<String>,
    /// The size in bytes of the schema of its parameters, as JSON without space.
    pub parameters_size: Option<u64>,
}

/// Token counts, as far as the provider tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the input, those from or for a cache included.
    pub input: Option<u64>,
    /// Of the output, reasoning included.
    pub output: Option<u64>,
    /// Of the input, those read from a cache.
    pub cache_read: Option<u64>,
    /// Of the input, those written into a cache.
    pub cache_creation: Option<u64>,
    /// Of the output, those of reasoning.
    pub reasoning: Option<u64>,
}

/// An error that a provider told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Error {
    /// Its type or code, in the provider's words.
    pub kind: Option<String>,
    /// Its message.
    pub message: Option<String>,
}

/// What form the output shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputType {
    /// Free text.
    Text,
    /// JSON.
    Json,
    /// An image.
    Image,
    /// Speech.
    Speech,
}

/// Why a call is not all that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Issue {
    /// The exchange, or its capture, ended before the response did.
    Incomplete,
    /// The request is longer than is kept.
    RequestTruncated,
    /// The request, or the rest of it, could not be read.
    RequestMalformed,
    /// The response is longer than is kept.
    ResponseTruncated,
    /// The response, or some of it, could not be read.
    ResponseMalformed,
    /// Values too deep, or too many of them, were passed over.
    Skipped,
    /// An object has a key twice; the last one was taken.
    RepeatedKey,
    /// Text that is no Unicode was replaced by U+FFFD.
    TextReplaced,
}

impl Issue {
    /// A word for it, for `hoop.gen_ai.issues`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::RequestTruncated => "request_truncated",
            Self::RequestMalformed => "request_malformed",
            Self::ResponseTruncated => "response_truncated",
            Self::ResponseMalformed => "response_malformed",
            Self::Skipped => "skipped",
            Self::RepeatedKey => "repeated_key",
            Self::TextReplaced => "text_replaced",
        }
    }
}

impl Call {
    /// What the model is told to be: the instructions, and the system messages among the others.
    pub fn system_prompts(&self) -> impl Iterator<Item = &str> {
        let messages = self.request.messages.iter();
        let system = messages.filter(|message| matches!(&*message.role, "system" | "developer"));
        let parts = self
            .request
            .instructions
            .iter()
            .chain(system.flat_map(|m| &m.parts));
        parts.filter_map(Part::as_text)
    }

    /// What users said, in order.
    pub fn user_prompts(&self) -> impl Iterator<Item = &str> {
        let messages = self
            .request
            .messages
            .iter()
            .filter(|message| message.role == "user");
        messages
            .flat_map(|message| &message.parts)
            .filter_map(Part::as_text)
    }

    /// What the model said, choice by choice.
    pub fn replies(&self) -> impl Iterator<Item = &str> {
        self.response_parts().filter_map(Part::as_text)
    }

    /// The tools that the model called, those that the provider runs too.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.response_parts().filter_map(|part| match part {
            Part::ToolCall(call) | Part::ServerToolCall { call, .. } => Some(call),
            _ => None,
        })
    }

    /// The results of tools that the request gives back.
    pub fn tool_results(&self) -> impl Iterator<Item = &ToolResult> {
        let parts = self
            .request
            .messages
            .iter()
            .flat_map(|message| &message.parts);
        parts.filter_map(|part| match part {
            Part::ToolResult(result) => Some(result),
            _ => None,
        })
    }

    /// Whether this is all that was said.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.issues.is_empty()
    }

    fn response_parts(&self) -> impl Iterator<Item = &Part> {
        self.response
            .choices
            .iter()
            .flat_map(|choice| &choice.message.parts)
    }
}

impl Part {
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Refusal(text) => Some(text),
            _ => None,
        }
    }
}
