//! Requests and the responses to them, of both sides of a session.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::call::{Call, Implementation, Outcome, RpcError, Side, Transport};
use super::jsonrpc::{Message, documents};
use crate::genai::json::{Json, Notes};
use crate::genai::parts;
use crate::genai::{Issue, Part};

/// How much of a session is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message; 8 MiB. What is longer is cut.
    pub message: usize,
    /// Bytes of requests that wait for their responses, over all sessions; 16 MiB. The oldest is
    /// told as unanswered to make room.
    pub waiting: usize,
    /// HTTP sessions at once; 256. The oldest is ended to make room.
    pub sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 8 << 20,
            waiting: 16 << 20,
            sessions: 256,
        }
    }
}

/// What a waiting request costs beside its text.
const WAITING: usize = 1024;

/// Answers that are kept until their requests are seen.
pub(super) const EARLY: usize = 16;

/// Bytes that are kept of a text that every call of a session repeats.
const REPEATED: usize = 1024;

/// A session: what is known of its ends, and the requests that wait.
#[derive(Debug)]
pub(super) struct Session {
    transport: Transport,
    limits: Limits,
    pub id: Option<String>,
    pub protocol_version: Option<String>,
    client: Option<Implementation>,
    server: Option<Implementation>,
    /// In the order in which they were made, and by identifier.
    waiting: BTreeMap<u64, Waiting>,
    by_id: HashMap<(Side, String), u64>,
    next: u64,
    cost: usize,
    /// Answers to requests that were not seen yet, oldest first.
    early: VecDeque<Early>,
    /// Of messages that could not be read at all; told with the next call.
    issues: BTreeSet<Issue>,
}

/// An answer that was seen before its request: two directions are read by two observers.
#[derive(Debug)]
struct Early {
    from: Side,
    /// As in [`Waiting`].
    id: String,
    message: Json,
    issues: BTreeSet<Issue>,
    /// It was there when [`Session::settle`] was last called.
    settled: bool,
}

#[derive(Debug)]
struct Waiting {
    /// The identifier as JSON: `1` is not `"1"`.
    id: String,
    call: Call,
    cost: usize,
}

impl Session {
    pub(super) fn new(transport: Transport, limits: Limits) -> Self {
        Self {
            transport,
            limits,
            id: None,
            protocol_version: None,
            client: None,
            server: None,
            waiting: BTreeMap::new(),
            by_id: HashMap::new(),
            next: 0,
            cost: 0,
            early: VecDeque::new(),
            issues: BTreeSet::new(),
        }
    }

    /// A document that one side sent: a message or a batch.
    pub(super) fn document(
        &mut self,
        from: Side,
        json: &Json,
        notes: Notes,
        f: &mut dyn FnMut(Call),
    ) {
        let mut issues = BTreeSet::new();
        let malformed = match from {
            Side::Client => Issue::RequestMalformed,
            Side::Server => Issue::ResponseMalformed,
        };
        crate::genai::note(&mut issues, notes, malformed);
        for json in documents(json) {
            match Message::of(json) {
                Some(Message::Result { id, .. } | Message::Error { id, .. })
                    if self.comes_early(from, id) =>
                {
                    self.keep(from, id, json, &issues, f);
                }
                Some(message) => self.message(from, &message, &issues, f),
                None => {
                    self.issues.insert(malformed);
                }
            }
        }
    }

    /// Something is missing; told with the next call.
    pub(super) fn note(&mut self, issue: Issue) {
        self.issues.insert(issue);
    }

    /// The requests of these identifiers, as JSON, will get no answer.
    pub(super) fn fail(&mut self, ids: &[String], status: u16, f: &mut dyn FnMut(Call)) {
        for id in ids {
            if let Some(mut call) = self.take(Side::Client, id) {
                call.http_status = Some(status);
                self.tell(call, f);
            }
        }
    }

    /// Tells the answers whose requests did not come since the last time.
    pub(super) fn settle(&mut self, f: &mut dyn FnMut(Call)) {
        while self.early.front().is_some_and(|early| early.settled) {
            self.tell_early(f);
        }
        self.early.iter_mut().for_each(|early| early.settled = true);
    }

    /// Nothing more comes: tells the requests that still wait.
    pub(super) fn end(&mut self, f: &mut dyn FnMut(Call)) {
        while !self.early.is_empty() {
            self.tell_early(f);
        }
        while let Some(call) = self.pop() {
            self.tell(call, f);
        }
    }

    fn message(
        &mut self,
        from: Side,
        message: &Message<'_>,
        issues: &BTreeSet<Issue>,
        f: &mut dyn FnMut(Call),
    ) {
        match *message {
            Message::Request { id, method, params } => {
                let mut call = self.asked(from, method, params);
                call.id = id.text();
                call.issues.clone_from(issues);
                let id = id.to_json();
                self.wait(id.clone(), call, f);
                self.meet(from, &id, f);
            }
            Message::Notification { method, params } => {
                let mut call = self.asked(from, method, params);
                call.outcome = Outcome::Notification;
                call.issues.clone_from(issues);
                if method == "notifications/cancelled" {
                    self.cancel(from, params);
                }
                self.tell(call, f);
            }
            Message::Result { id, result } => {
                let mut call = self.answered(from, id);
                call.issues.extend(issues);
                call.outcome = Outcome::Result {
                    is_error: result.get("isError").bool(),
                };
                self.read_result(&mut call, result);
                self.tell(call, f);
            }
            Message::Error { id, error } => {
                let mut call = self.answered(from, id);
                call.issues.extend(issues);
                call.outcome = Outcome::Error(RpcError {
                    code: error.get("code").i64(),
                    message: error.get("message").text(),
                    data: error.get("data").text(),
                });
                self.tell(call, f);
            }
        }
    }

    /// Whether an answer's request is not known, and may still come.
    fn comes_early(&self, from: Side, id: &Json) -> bool {
        self.transport == Transport::Pipe
            && !id.is_null()
            && !self.by_id.contains_key(&(from.other(), id.to_json()))
    }

    fn keep(
        &mut self,
        from: Side,
        id: &Json,
        message: &Json,
        issues: &BTreeSet<Issue>,
        f: &mut dyn FnMut(Call),
    ) {
        if self.early.len() >= EARLY {
            self.tell_early(f);
        }
        self.early.push_back(Early {
            from,
            id: id.to_json(),
            message: message.clone(),
            issues: issues.clone(),
            settled: false,
        });
    }

    /// Gives a request the answer that was seen before it.
    fn meet(&mut self, caller: Side, id: &str, f: &mut dyn FnMut(Call)) {
        let answers = |early: &Early| early.from == caller.other() && early.id == id;
        if let Some(early) = self.early.iter().position(answers)
            && let Some(early) = self.early.remove(early)
        {
            self.answer(&early, f);
        }
    }

    fn tell_early(&mut self, f: &mut dyn FnMut(Call)) {
        if let Some(early) = self.early.pop_front() {
            self.answer(&early, f);
        }
    }

    fn answer(&mut self, early: &Early, f: &mut dyn FnMut(Call)) {
        if let Some(message) = Message::of(&early.message) {
            self.message(early.from, &message, &early.issues, f);
        }
    }

    fn asked(&mut self, from: Side, method: &str, params: &Json) -> Call {
        let mut call = Call::new(self.transport, from);
        call.method = Some(method.to_owned());
        call.uri = params.get("uri").string();
        let name = params.get("name").text();
        let named = match method {
            "tools/call" => {
                call.tool = name;
                true
            }
            "prompts/get" => {
                call.prompt = name;
                true
            }
            _ => false,
        };
        if named {
            call.arguments = params.get("arguments").text();
        } else if params
            .members()
            .iter()
            .any(|(key, _)| key != "_meta" && key != "uri")
        {
            call.params = Some(parts::text_without_data(params));
        }
        if method == "initialize" {
            self.client = implementation(params.get("clientInfo"));
            self.protocol_version = short(params.get("protocolVersion"));
        }
        call
    }

    /// The request that a response is to, or what is known without it.
    fn answered(&mut self, from: Side, id: &Json) -> Call {
        self.take(from.other(), &id.to_json()).unwrap_or_else(|| {
            let mut call = Call::new(self.transport, from.other());
            call.id = id.text();
            call.issues.insert(Issue::Incomplete);
            call
        })
    }

    fn read_result(&mut self, call: &mut Call, result: &Json) {
        let content = match call.method.as_deref() {
            Some("initialize") => {
                self.server = implementation(result.get("serverInfo"));
                let version = short(result.get("protocolVersion"));
                self.protocol_version = version.or(self.protocol_version.take());
                call.result = Some(parts::text_without_data(result));
                return;
            }
            Some("tools/list") => {
                call.tools = result
                    .get("tools")
                    .items()
                    .iter()
                    .map(parts::definition)
                    .collect();
                return;
            }
            Some("prompts/list" | "resources/list" | "resources/templates/list" | "roots/list") => {
                let lists = ["prompts", "resources", "resourceTemplates", "roots"];
                let items = result.any(&lists).items().iter();
                let name = |item: &Json| item.any(&["uri", "uriTemplate", "name"]).string();
                call.listed = items.filter_map(name).collect();
                return;
            }
            Some("resources/read") => result
                .get("contents")
                .items()
                .iter()
                .map(resource)
                .collect(),
            Some("prompts/get") => {
                let messages = result.get("messages").items().iter();
                messages
                    .map(|message| block(message.get("content")))
                    .collect()
            }
            // A response whose request was not seen shows by its content what it is.
            Some("tools/call") | None if result.get("content").is_array() => {
                result.get("content").items().iter().map(block).collect()
            }
            _ => Vec::new(),
        };
        let structured = result.get("structuredContent");
        if !structured.is_null() {
            call.result = Some(parts::text_without_data(structured));
        } else if content.is_empty() && !result.members().is_empty() {
            call.result = Some(parts::text_without_data(result));
        }
        call.content = content;
    }

    /// The caller takes a request back. It stays until it is answered, or the session ends.
    fn cancel(&mut self, from: Side, params: &Json) {
        let id = (from, params.get("requestId").to_json());
        let waiting = self.by_id.get(&id).and_then(|at| self.waiting.get_mut(at));
        if let Some(waiting) = waiting
            && waiting.call.cancelled.is_none()
        {
            let reason = params.get("reason").text().unwrap_or_default();
            waiting.cost += reason.len();
            self.cost += reason.len();
            waiting.call.cancelled = Some(reason);
        }
    }

    fn wait(&mut self, id: String, call: Call, f: &mut dyn FnMut(Call)) {
        // The same identifier again: the first one will not be answered any more.
        if let Some(call) = self.take(call.caller, &id) {
            self.tell(call, f);
        }
        let Call {
            method,
            arguments,
            params,
            uri,
            tool,
            prompt,
            ..
        } = &call;
        let texts = [method, arguments, params, uri, tool, prompt];
        let text = texts.into_iter().flatten().map(String::len).sum::<usize>();
        let cost = WAITING + 2 * id.len() + text;
        self.cost += cost;
        self.by_id.insert((call.caller, id.clone()), self.next);
        self.waiting.insert(self.next, Waiting { id, call, cost });
        self.next += 1;
        self.trim(self.limits.waiting, f);
    }

    /// Bytes of what waits.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Tells the oldest of what waits, until no more than this many bytes do.
    pub(super) fn trim(&mut self, bytes: usize, f: &mut dyn FnMut(Call)) {
        while self.cost > bytes {
            let Some(call) = self.pop() else { break };
            self.tell(call, f);
        }
    }

    fn pop(&mut self) -> Option<Call> {
        let (_, Waiting { id, call, cost }) = self.waiting.pop_first()?;
        self.by_id.remove(&(call.caller, id));
        self.cost -= cost;
        Some(call)
    }

    fn take(&mut self, caller: Side, id: &str) -> Option<Call> {
        let at = self.by_id.remove(&(caller, id.to_owned()))?;
        let waiting = self.waiting.remove(&at)?;
        self.cost -= waiting.cost;
        Some(waiting.call)
    }

    fn tell(&mut self, mut call: Call, f: &mut dyn FnMut(Call)) {
        call.session_id.clone_from(&self.id);
        call.protocol_version.clone_from(&self.protocol_version);
        call.client.clone_from(&self.client);
        call.server.clone_from(&self.server);
        call.issues.append(&mut self.issues);
        f(call);
    }
}

fn implementation(json: &Json) -> Option<Implementation> {
    Some(Implementation {
        name: short(json.get("name"))?,
        version: short(json.get("version")),
    })
}

/// Text that every call of the session repeats, and that is therefore short.
fn short(json: &Json) -> Option<String> {
    json.text().map(|mut text| {
        text.truncate(text.floor_char_boundary(REPEATED));
        text
    })
}

/// A content block.
fn block(json: &Json) -> Part {
    let mime = || json.get("mimeType").text();
    let data = || json.get("data").str().unwrap_or_default();
    match json.get("type").str().unwrap_or_default() {
        "text" => json
            .get("text")
            .text()
            .map_or_else(|| parts::other("text", json), Part::Text),
        "image" => parts::blob("image", mime(), data()),
        "audio" => parts::blob("audio", mime(), data()),
        "resource" => resource(json.get("resource")),
        "resource_link" => parts::media(
            "document",
            mime(),
            json.get("uri").str().unwrap_or_default(),
        ),
        kind => parts::other(kind, json),
    }
}

/// A resource's content: text, or data that is named and not kept.
fn resource(json: &Json) -> Part {
    if let Some(text) = json.get("text").text() {
        return Part::Text(text);
    }
    match json.get("blob").str() {
        Some(data) => parts::blob("document", json.get("mimeType").text(), data),
        None => parts::other("resource", json),
    }
}
