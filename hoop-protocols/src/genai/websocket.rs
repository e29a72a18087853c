//! OpenAI realtime, and responses over a WebSocket: one connection, many calls (OpenAI API
//! reference, "Realtime", "Client events" and "Server events").

use std::collections::{BTreeSet, VecDeque};

use super::api::{Api, Kind};
use super::call::{Call, Issue, Message, Part, Request};
use super::exchange::{Limits, read_event_json};
use super::json::{self, Json};
use super::openai_chat::{content, user};
use super::openai_items::message;
use super::output::{self, Output};
use super::{openai_responses, parts};

/// A WebSocket to a model's interface. Give it every text message of both directions.
#[derive(Debug)]
pub struct WebSocket {
    api: Api,
    limits: Limits,
    /// What holds for the session: model, instructions, tools.
    session: Request,
    session_id: Option<String>,
    /// What was said since the last response.
    messages: Vec<Message>,
    left: usize,
    /// Bytes of audio that were sent and not yet committed.
    audio: u64,
    /// Sizes of what was committed and is not yet among the messages: its transcript may come.
    spoken: VecDeque<u64>,
    /// What the running response was asked.
    request: Option<Request>,
    output: Output,
    issues: BTreeSet<Issue>,
}

impl WebSocket {
    /// A WebSocket that [`recognise`](super::recognise) found, and that was opened.
    #[must_use]
    pub fn new(mut api: Api, limits: Limits) -> Self {
        let session = Request {
            model: api.model.take(),
            ..Request::default()
        };
        Self {
            api,
            limits,
            session,
            session_id: None,
            messages: Vec::new(),
            left: limits.request,
            audio: 0,
            spoken: VecDeque::new(),
            request: None,
            output: Output::new(limits.response),
            issues: BTreeSet::new(),
        }
    }

    /// A message from the client. Whether it is one of the interface's: then what it says is in a call.
    pub fn sent(&mut self, text: &[u8]) -> bool {
        let (json, notes) = json::read(text);
        output::note(&mut self.issues, notes, Issue::RequestMalformed);
        match json.get("type").str() {
            Some("session.update") => self.settings(json.get("session"), text.len()),
            Some("conversation.item.create") => self.say(message(json.get("item")), text.len()),
            Some("input_audio_buffer.append") => {
                let data = json.get("audio").str().unwrap_or_default();
                if let Part::Blob { size, .. } = parts::blob("audio", None, data) {
                    self.audio = self.audio.saturating_add(size);
                }
            }
            Some("input_audio_buffer.clear") => self.audio = 0,
            Some("response.create") => self.ask(&json, text.len()),
            _ => {}
        }
        is_known(&json)
    }

    /// A message from the server; `f` gets the call that it ends. Whether it is one of the interface's.
    pub fn received(&mut self, text: &[u8], mut f: impl FnMut(Call)) -> bool {
        let (json, notes) = json::read(text);
        output::note(&mut self.issues, notes, Issue::ResponseMalformed);
        match json.get("type").str() {
            Some("session.created" | "session.updated") => {
                let session = json.get("session");
                self.session_id = session.get("id").string().or(self.session_id.take());
                self.settings(session, text.len());
            }
            Some("input_audio_buffer.committed") => {
                let size = std::mem::take(&mut self.audio);
                if self.fits(64) {
                    self.spoken.push_back(size);
                }
            }
            Some("conversation.item.input_audio_transcription.completed") => {
                self.transcript(json.get("transcript"), text.len());
            }
            Some(kind) if kind == "error" || kind.starts_with("response.") => {
                let ends = matches!(
                    kind,
                    "error"
                        | "response.done"
                        | "response.completed"
                        | "response.incomplete"
                        | "response.failed"
                );
                // A server that detects the end of speech answers without being asked.
                self.begin();
                read_event_json(self.api.kind, &json, &mut self.output);
                if ends && let Some(call) = self.finish(true) {
                    f(call);
                }
            }
            _ => {}
        }
        is_known(&json)
    }

    /// Something that whoever gives the messages knows: a gap, a message that was cut.
    pub fn note(&mut self, issue: Issue) {
        self.issues.insert(issue);
    }

    /// The call that was not ended, if there is one: also what was said and never answered.
    #[must_use]
    pub fn end(mut self) -> Option<Call> {
        if !(self.messages.is_empty() && self.spoken.is_empty()) {
            self.begin();
        }
        self.finish(false)
    }

    fn begin(&mut self) {
        if self.request.is_none() {
            self.messages
                .extend(self.spoken.drain(..).map(|size| spoken(size, None)));
            let mut request = self.session.clone();
            request.messages = std::mem::take(&mut self.messages);
            self.request = Some(request);
        }
    }

    fn ask(&mut self, json: &Json, size: usize) {
        self.begin();
        let given = json.get("response");
        let given = if given.is_object() { given } else { json };
        if !self.fits(size) {
            return;
        }
        let Some(request) = &mut self.request else {
            return;
        };
        let mut asked = Request {
            model: request.model.take(),
            ..Request::default()
        };
        openai_responses::request(given, &mut asked);
        if asked.instructions.is_empty() {
            asked.instructions = std::mem::take(&mut request.instructions);
        }
        if asked.tools.is_empty() {
            asked.tools = std::mem::take(&mut request.tools);
        }
        asked
            .messages
            .splice(0..0, std::mem::take(&mut request.messages));
        *request = asked;
    }

    fn settings(&mut self, json: &Json, size: usize) {
        // What the session holds counts once, however often it is set.
        if size > self.limits.request {
            self.issues.insert(Issue::RequestTruncated);
            return;
        }
        let session = &mut self.session;
        let before = std::mem::take(session);
        openai_responses::request(json, session);
        session.messages.clear();
        session.model = session.model.take().or(before.model);
        if json.get("tools").is_null() {
            session.tools = before.tools;
        }
        if json.get("instructions").is_null() {
            session.instructions = before.instructions;
        } else {
            session.instructions = content(json.get("instructions"));
        }
        session.temperature = session.temperature.or(before.temperature);
        session.max_tokens = session.max_tokens.or(before.max_tokens);
    }

    fn say(&mut self, message: Message, size: usize) {
        if self.fits(size) {
            self.messages.push(message);
        }
    }

    /// What was said in the audio that was committed first. It may come after the response began.
    fn transcript(&mut self, json: &Json, size: usize) {
        let Some(text) = json.string() else { return };
        if self.fits(size) {
            let message = spoken(self.spoken.pop_front().unwrap_or(0), Some(text));
            let request = self.request.as_mut();
            request
                .map_or(&mut self.messages, |request| &mut request.messages)
                .push(message);
        }
    }

    fn fits(&mut self, size: usize) -> bool {
        let Some(left) = self.left.checked_sub(size) else {
            self.issues.insert(Issue::RequestTruncated);
            return false;
        };
        self.left = left;
        true
    }

    fn finish(&mut self, complete: bool) -> Option<Call> {
        let mut request = self.request.take()?;
        self.left = self.limits.request;
        let output = std::mem::replace(&mut self.output, Output::new(self.limits.response));
        let (mut response, issues) = output.into_response();
        response.streamed = true;
        let mut all = std::mem::take(&mut self.issues);
        all.extend(issues);
        if !complete {
            all.insert(Issue::Incomplete);
        }
        let truncated = all.contains(&Issue::ResponseTruncated);
        if !complete || truncated {
            response.cut(truncated);
        }
        if self.api.kind == Kind::OpenAiRealtime && request.conversation_id.is_none() {
            request.conversation_id = response
                .conversation_id
                .clone()
                .or_else(|| self.session_id.clone());
        }
        Some(Call {
            provider: self.api.provider,
            kind: self.api.kind,
            request,
            response,
            issues: all,
        })
    }
}

/// Whether a message is of a type that the interface has.
fn is_known(json: &Json) -> bool {
    const TYPES: [&str; 6] = [
        "session.",
        "conversation.",
        "response.",
        "input_audio_buffer.",
        "output_audio_buffer.",
        "rate_limits.",
    ];
    json.get("type")
        .str()
        .is_some_and(|kind| kind == "error" || TYPES.iter().any(|start| kind.starts_with(start)))
}

/// What a user said aloud.
fn spoken(size: u64, transcript: Option<String>) -> Message {
    user(vec![Part::Blob {
        modality: "audio",
        mime_type: None,
        size,
        transcript,
    }])
}
