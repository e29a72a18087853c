//! One HTTP exchange, from its bytes as they come to the call that it was.

use std::collections::BTreeSet;

use super::api::{Api, Kind};
use super::call::{Call, Issue, Request};
use super::json::{self, Json};
use super::lines::Lines;
use super::output::{self, Output};
use super::{anthropic, gemini, ollama, openai_chat, openai_responses};

/// How much of a call is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body; 8 MiB.
    pub request: usize,
    /// Bytes of a response: of its body, or of what a stream adds up to; 8 MiB.
    pub response: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: 8 << 20,
            response: 8 << 20,
        }
    }
}

/// An HTTP exchange with a model's interface.
///
/// Bodies are given in pieces of any size, content codings taken off. A stream of server-sent
/// events is given as [`sse`](Self::sse), and its bytes need not be given; if they are, they are
/// passed over.
///
/// ```
/// use hoop_protocols::genai::{Exchange, Limits, recognise};
///
/// let path = "/v1/chat/completions";
/// let api = recognise("POST", "api.openai.com", path, Some("application/json")).unwrap();
/// let mut exchange = Exchange::new(api, Limits::default());
/// exchange.request_bytes(br#"{"model":"gpt-4o","messages":[{"role":"user","con"#);
/// exchange.request_bytes(br#"tent":"Hello"}]}"#);
/// exchange.request_end();
/// exchange.response_head(200, Some("text/event-stream"));
/// exchange.sse("message", br#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#);
/// exchange.sse("message", br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#);
/// exchange.sse("message", b"[DONE]");
/// let call = exchange.end(true).unwrap();
/// assert_eq!(call.user_prompts().collect::<Vec<_>>(), ["Hello"]);
/// assert_eq!(call.replies().collect::<Vec<_>>(), ["Hi"]);
/// assert!(call.is_complete());
/// ```
#[derive(Debug)]
pub struct Exchange {
    api: Api,
    request_body: Body,
    /// Once the request has ended.
    request: Option<Request>,
    /// The request is of the interface's shape.
    shaped: bool,
    form: Form,
    response_body: Body,
    output: Output,
    issues: BTreeSet<Issue>,
}

/// How a response's body is read.
#[derive(Debug)]
enum Form {
    /// As one document, or whatever else it is found to be at its end.
    Whole,
    /// As server-sent events.
    Events,
    /// As lines of JSON.
    Lines(Lines),
}

/// A body up to a limit.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    limit: usize,
    truncated: bool,
}

impl Exchange {
    /// An exchange with an interface that [`recognise`](super::recognise) found.
    #[must_use]
    pub fn new(api: Api, limits: Limits) -> Self {
        Self {
            api,
            request_body: Body::new(limits.request),
            request: None,
            shaped: false,
            form: Form::Whole,
            response_body: Body::new(limits.response),
            output: Output::new(limits.response),
            issues: BTreeSet::new(),
        }
    }

    /// More of the request's body.
    pub fn request_bytes(&mut self, bytes: &[u8]) {
        if self.request.is_none() {
            self.request_body.push(bytes);
        }
    }

    /// The request's body is at its end, or no more of it is known. Frees the bytes of it.
    pub fn request_end(&mut self) {
        if self.request.is_some() {
            return;
        }
        let (bytes, truncated) = self.request_body.take();
        let (json, mut notes) = json::read(&bytes);
        if truncated {
            self.issues.insert(Issue::RequestTruncated);
            notes.cut = false;
        }
        output::note(&mut self.issues, notes, Issue::RequestMalformed);
        let mut request = Request {
            model: self.api.model.take(),
            stream: self.api.stream.then_some(true),
            ..Request::default()
        };
        self.shaped = read_request(self.api.kind, &json, &mut request);
        self.request = Some(request);
    }

    /// The head of the final response.
    pub fn response_head(&mut self, status: u16, content_type: Option<&str>) {
        self.output.response.http_status = Some(status);
        let essence = content_type
            .and_then(|full| full.split(';').next())
            .unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "text/event-stream" => {
                self.form = Form::Events;
                self.output.response.streamed = true;
            }
            "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                self.form = Form::Lines(Lines::new(self.response_body.limit));
                self.output.response.streamed = true;
            }
            _ => {}
        }
    }

    /// More of the response's body.
    pub fn response_bytes(&mut self, bytes: &[u8]) {
        match &mut self.form {
            Form::Whole => self.response_body.push(bytes),
            Form::Events => {}
            Form::Lines(lines) => {
                let (kind, output) = (self.api.kind, &mut self.output);
                lines.push(bytes, |line| read_line(kind, line, output));
            }
        }
    }

    /// A server-sent event of the response: its name, `message` if it has none, and its data.
    pub fn sse(&mut self, _name: &str, data: &[u8]) {
        // Every interface says in the data what the event is.
        self.form = Form::Events;
        self.output.response.streamed = true;
        read_event(self.api.kind, data, &mut self.output);
    }

    /// Something that whoever gives the bytes knows of them: a gap, an event that was cut.
    pub fn note(&mut self, issue: Issue) {
        self.issues.insert(issue);
    }

    /// The call that it was. `complete`: both messages ended by their framing, without a gap.
    ///
    /// `None` if the host is no provider's own and neither request nor response is of the shape
    /// that the interface has: then it was something else.
    #[must_use]
    pub fn end(mut self, complete: bool) -> Option<Call> {
        self.request_end();
        let kind = self.api.kind;
        match std::mem::replace(&mut self.form, Form::Events) {
            Form::Whole => self.whole_body(),
            Form::Events => {}
            Form::Lines(lines) => {
                if lines.end(|line| read_line(kind, line, &mut self.output)) {
                    self.issues.insert(Issue::ResponseTruncated);
                }
            }
        }
        let response = &self.output.response;
        let ended = if response.streamed {
            // The framing does not tell whether a stream said all that it had to say.
            self.output.is_finished() || kind.operation() == "embeddings"
        } else {
            self.output.is_finished() || self.output.shaped || response.http_status.is_some()
        };
        if !complete || !ended {
            self.issues.insert(Issue::Incomplete);
        }
        if !(self.api.known_host || self.shaped || self.output.shaped) {
            return None;
        }
        let (mut response, issues) = self.output.into_response();
        self.issues.extend(issues);
        let truncated = self.issues.contains(&Issue::ResponseTruncated);
        if response.streamed && (!complete || truncated) {
            response.cut(truncated);
        }
        Some(Call {
            provider: self.api.provider,
            kind,
            request: self.request.unwrap_or_default(),
            response,
            issues: self.issues,
        })
    }

    fn whole_body(&mut self) {
        let (bytes, truncated) = self.response_body.take();
        let kind = self.api.kind;
        if truncated {
            self.issues.insert(Issue::ResponseTruncated);
        }
        if bytes.trim_ascii().is_empty() {
            return;
        }
        let unlabelled: [&[u8]; 3] = [b"data:", b"event:", b":"];
        if unlabelled
            .iter()
            .any(|start| bytes.trim_ascii_start().starts_with(start))
        {
            self.output.response.streamed = true;
            for data in events(&bytes) {
                read_event(kind, &data, &mut self.output);
            }
            return;
        }
        let (json, mut notes) = json::read(&bytes);
        if notes.malformed && matches!(kind, Kind::OllamaChat | Kind::OllamaGenerate) {
            self.output.response.streamed = true;
            for line in bytes.split(|byte| *byte == b'\n') {
                read_line(kind, line, &mut self.output);
            }
            return;
        }
        notes.cut &= !truncated;
        self.output.note(notes);
        if json.is_array() {
            // A stream without `alt=sse`; Google tells errors so even where another's interface is
            // spoken.
            self.output.response.streamed = kind == Kind::GeminiGenerateContent;
            for chunk in json.items() {
                read_response(kind, chunk, &mut self.output);
            }
        } else {
            read_response(kind, &json, &mut self.output);
        }
        let failed = self
            .output
            .response
            .http_status
            .is_some_and(|status| status >= 400);
        if failed && self.output.response.error.is_none() {
            // Not in the interface's own shape: a gateway's, or a server's framework.
            self.output.set_error(&json);
        }
    }
}

impl Body {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            truncated: false,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.limit - self.bytes.len();
        self.truncated |= bytes.len() > room;
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> (Vec<u8>, bool) {
        (std::mem::take(&mut self.bytes), self.truncated)
    }
}

/// Reads a request; whether it is of the interface's shape.
pub(super) fn read_request(kind: Kind, json: &Json, request: &mut Request) -> bool {
    type Reader = (fn(&Json) -> bool, fn(&Json, &mut Request));
    let (is_request, read): Reader = match kind {
        Kind::OpenAiChat => (openai_chat::is_chat_request, openai_chat::chat_request),
        Kind::OpenAiCompletions => (
            openai_chat::is_completions_request,
            openai_chat::completions_request,
        ),
        Kind::OpenAiResponses | Kind::OpenAiRealtime => {
            (openai_responses::is_request, openai_responses::request)
        }
        Kind::AnthropicMessages => (anthropic::is_request, anthropic::request),
        Kind::GeminiGenerateContent => (gemini::is_request, gemini::request),
        Kind::OllamaChat => (ollama::is_chat_request, ollama::chat_request),
        Kind::OllamaGenerate => (ollama::is_generate_request, ollama::generate_request),
        Kind::OpenAiEmbeddings | Kind::GeminiEmbeddings | Kind::OllamaEmbeddings => {
            (is_embeddings, |json, request| {
                request.model = json.get("model").text().or_else(|| request.model.take());
            })
        }
    };
    read(json, request);
    is_request(json)
}

fn is_embeddings(json: &Json) -> bool {
    !json
        .any(&["input", "prompt", "content", "requests"])
        .is_null()
}

fn read_response(kind: Kind, json: &Json, output: &mut Output) {
    match kind {
        Kind::OpenAiChat | Kind::OpenAiCompletions => openai_chat::response(json, output),
        Kind::OpenAiResponses | Kind::OpenAiRealtime => openai_responses::response(json, output),
        Kind::AnthropicMessages => anthropic::response(json, output),
        Kind::GeminiGenerateContent => gemini::response(json, output),
        Kind::OllamaChat | Kind::OllamaGenerate => ollama::response(json, output),
        Kind::OpenAiEmbeddings | Kind::GeminiEmbeddings | Kind::OllamaEmbeddings => {
            output.set_model(json.get("model"));
            output.set_error(json.get("error"));
            openai_chat::usage_of(json, output);
        }
    }
}

fn read_line(kind: Kind, line: &[u8], output: &mut Output) {
    if line.trim_ascii().is_empty() {
        return;
    }
    let (json, notes) = json::read(line);
    output.note(notes);
    read_response(kind, &json, output);
}

/// Reads the data of an event.
fn read_event(kind: Kind, data: &[u8], output: &mut Output) {
    match data.trim_ascii() {
        b"" => return,
        b"[DONE]" => {
            output.finished = true;
            return;
        }
        _ => {}
    }
    let (json, notes) = json::read(data);
    output.note(notes);
    read_event_json(kind, &json, output);
}

/// Reads an event of a stream.
pub(super) fn read_event_json(kind: Kind, json: &Json, output: &mut Output) {
    match kind {
        Kind::OpenAiResponses | Kind::OpenAiRealtime => openai_responses::event(json, output),
        Kind::AnthropicMessages => anthropic::event(json, output),
        _ => read_response(kind, json, output),
    }
}

/// The data of server-sent events in a body that is not labelled as such.
fn events(body: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for line in body.split(|byte| *byte == b'\n').chain([&b""[..]]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(more) = line.strip_prefix(b"data:") {
            if !data.is_empty() {
                data.push(b'\n');
            }
            data.extend_from_slice(more.strip_prefix(b" ").unwrap_or(more));
        } else if line.is_empty() && !data.is_empty() {
            all.push(std::mem::take(&mut data));
        }
    }
    all
}
