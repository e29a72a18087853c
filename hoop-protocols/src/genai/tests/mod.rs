//! Exchanges in the shapes that the providers document, and what must come out of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall end")]

mod anthropic;
mod gemini;
mod hostile;
mod ollama;
mod openai_chat;
mod openai_responses;
mod recognise;
mod websocket;

use serde_json::Value;

use super::{Call, Exchange, Limits, recognise};

/// An exchange as it is on the wire.
pub(super) struct Case {
    pub host: &'static str,
    pub path: &'static str,
    pub request: String,
    pub status: u16,
    pub content_type: &'static str,
    pub response: Reply,
}

pub(super) enum Reply {
    Body(String),
    Events(Vec<String>),
}

impl Case {
    /// A `200` with a JSON body.
    pub fn json(host: &'static str, path: &'static str, request: &Value, response: &Value) -> Self {
        Self {
            host,
            path,
            request: request.to_string(),
            status: 200,
            content_type: "application/json; charset=utf-8",
            response: Reply::Body(response.to_string()),
        }
    }

    /// A stream of server-sent events with this data.
    pub fn events(
        host: &'static str,
        path: &'static str,
        request: &Value,
        events: &[Value],
    ) -> Self {
        Self {
            content_type: "text/event-stream; charset=utf-8",
            response: Reply::Events(events.iter().map(Value::to_string).collect()),
            ..Self::json(host, path, request, &Value::Null)
        }
    }

    /// With another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The stream ends with `[DONE]`.
    pub fn done(mut self) -> Self {
        if let Reply::Events(events) = &mut self.response {
            events.push("[DONE]".to_owned());
        }
        self
    }

    pub fn call(&self) -> Call {
        self.cut(usize::MAX, true).unwrap()
    }

    /// The call if bodies come in pieces of `size` bytes.
    pub fn cut(&self, size: usize, complete: bool) -> Option<Call> {
        let content_type = Some("application/json");
        let api = recognise("POST", self.host, self.path, content_type)?;
        let mut exchange = Exchange::new(api, Limits::default());
        for piece in self.request.as_bytes().chunks(size) {
            exchange.request_bytes(piece);
        }
        exchange.request_end();
        exchange.response_head(self.status, Some(self.content_type));
        match &self.response {
            Reply::Body(body) => {
                for piece in body.as_bytes().chunks(size) {
                    exchange.response_bytes(piece);
                }
            }
            Reply::Events(events) => {
                for data in events {
                    exchange.sse("message", data.as_bytes());
                }
            }
        }
        exchange.end(complete)
    }
}

/// An attribute of a call; `Null` if it has none of that name.
pub(super) fn attribute(call: &Call, name: &str) -> Value {
    call.attributes()
        .find(|(key, _)| *key == name)
        .map_or(Value::Null, |(_, value)| value)
}

/// One case of everything that is read.
pub(super) fn all() -> Vec<Case> {
    [
        openai_chat::cases(),
        openai_responses::cases(),
        anthropic::cases(),
        gemini::cases(),
        ollama::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
