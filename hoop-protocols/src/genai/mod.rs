//! Calls of models: what was asked of which model, what it answered, and which tools it called,
//! from HTTP exchanges and WebSockets whose bodies are decoded already.
//!
//! [`recognise`] tells by the address of a request which interface it may be for. An [`Exchange`]
//! takes the two bodies as they come and becomes a [`Call`]; a [`WebSocket`] becomes many. Memory
//! is bounded by [`Limits`]. Whatever was cut, left out or could not be read is an [`Issue`] of the
//! call: a call without issues is all that was said.
//!
//! Strings come out as they were sent. Mask each by [`Call::texts_mut`], then take
//! [`Call::attributes`].
#![expect(clippy::doc_markdown, reason = "OpenAI is a name")]

mod anthropic;
mod api;
pub(crate) mod attributes;
mod call;
mod exchange;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod gemini;
pub(crate) mod json;
pub(crate) mod lines;
mod ollama;
mod openai_chat;
mod openai_items;
mod openai_responses;
mod output;
pub(crate) mod parts;
#[cfg(test)]
mod tests;
pub(crate) mod texts;
mod websocket;

pub use api::{Api, Kind, recognise};
pub use call::{
    Call, Choice, Error, Issue, Message, OutputType, Part, Request, Response, ToolCall,
    ToolDefinition, ToolResult, Usage,
};
pub use exchange::{Exchange, Limits};
#[cfg(feature = "fuzzing")]
pub use fuzzing::fuzz;
pub use json::CUT;
pub(crate) use output::note;
pub use websocket::WebSocket;
