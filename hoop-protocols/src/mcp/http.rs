//! MCP over HTTP: streamable HTTP, and the older transport in which answers come in a stream of
//! their own (Model Context Protocol, "Transports", revisions 2025-11-25 and 2024-11-05).

use std::collections::BTreeMap;

use super::call::{Call, Side, Transport};
use super::jsonrpc::{Message, documents, is_jsonrpc, is_mcp};
use super::session::{Limits, Session};
use crate::genai::Issue;
use crate::genai::json;

/// The head of a request that may be MCP's.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// Host, perhaps with a port.
    pub authority: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `Mcp-Session-Id`.
    pub session_id: Option<&'a str>,
    /// `MCP-Protocol-Version`.
    pub protocol_version: Option<&'a str>,
}

/// The MCP sessions of one process, over HTTP.
///
/// An exchange is begun with the head of its request and ended when both bodies are; what a body
/// says is paired within its session, since answers may come in another exchange. Pass a closure
/// that takes the calls.
#[derive(Debug)]
pub struct Http {
    limits: Limits,
    /// With what age they have, the oldest first out.
    sessions: BTreeMap<Key, (u64, Session)>,
    age: u64,
    /// Which had to make room; told with the next calls.
    evicted: Vec<Session>,
}

/// Authority, and the session's identifier or the address that an older server gives for messages.
type Key = (String, String);

/// An exchange that is or may be MCP's.
#[derive(Debug)]
pub struct Exchange {
    authority: String,
    session: Which,
    verdict: Verdict,
    post: bool,
    /// It asks to end the session.
    deletes: bool,
    request: Vec<u8>,
    response: Vec<u8>,
    truncated: bool,
    /// What was asked in this exchange, as JSON.
    asked: Vec<String>,
    ended: bool,
    status: u16,
    events: bool,
}

#[derive(Debug)]
enum Which {
    /// Of this exchange alone: the server keeps no session, or none yet.
    Own(Box<Session>),
    Shared(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    /// A header or a known address says so.
    Likely,
    Mcp,
    Other,
}

impl Http {
    /// No session yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            age: 0,
            evicted: Vec::new(),
        }
    }

    /// An exchange, if its head is one that MCP's may have: a `POST` of JSON, or a `GET` for a
    /// stream of events, or a `DELETE` of a session.
    pub fn begin(&mut self, head: &HttpRequest<'_>) -> Option<Exchange> {
        let has = |value: Option<&str>, what: &str| {
            value.is_some_and(|value| value.to_ascii_lowercase().contains(what))
        };
        let post = match head.method {
            "POST" if head.content_type.is_none() || has(head.content_type, "json") => true,
            "POST" if head.session_id.is_some() || has(head.accept, "text/event-stream") => true,
            "GET" if has(head.accept, "text/event-stream") => false,
            "DELETE" if head.session_id.is_some() => false,
            _ => return None,
        };
        let address = (head.authority.to_owned(), head.path.to_owned());
        let announced = self.sessions.contains_key(&address);
        let likely = announced || head.session_id.is_some() || head.protocol_version.is_some();
        let mut session = Session::new(Transport::Http, self.limits);
        session.protocol_version = head.protocol_version.map(str::to_owned);
        let session = match head.session_id {
            Some(id) => {
                let key = (head.authority.to_owned(), id.to_owned());
                if !self.sessions.contains_key(&key) {
                    session.id = Some(id.to_owned());
                    self.insert(key.clone(), session);
                }
                Which::Shared(key)
            }
            None if announced => Which::Shared(address),
            None => Which::Own(Box::new(session)),
        };
        Some(Exchange {
            authority: head.authority.to_owned(),
            session,
            verdict: if likely {
                Verdict::Likely
            } else {
                Verdict::Open
            },
            post,
            deletes: head.method == "DELETE",
            request: Vec::new(),
            response: Vec::new(),
            truncated: false,
            asked: Vec::new(),
            ended: false,
            status: 0,
            events: false,
        })
    }

    /// More of the body of a request.
    pub fn request_bytes(&mut self, exchange: &mut Exchange, bytes: &[u8]) {
        if exchange.post && !exchange.ended && exchange.verdict != Verdict::Other {
            exchange.truncated |= push(&mut exchange.request, bytes, self.limits.message);
        }
    }

    /// The body of a request is at its end.
    pub fn request_end(&mut self, exchange: &mut Exchange, mut f: impl FnMut(Call)) {
        if std::mem::replace(&mut exchange.ended, true) || !exchange.post {
            return;
        }
        let body = std::mem::take(&mut exchange.request);
        let (json, notes) = json::read(&body);
        let mcp = match exchange.verdict {
            Verdict::Likely => is_jsonrpc(&json),
            Verdict::Open => is_mcp(&json),
            Verdict::Mcp => true,
            Verdict::Other => false,
        };
        if !mcp {
            exchange.verdict = Verdict::Other;
            return;
        }
        exchange.verdict = Verdict::Mcp;
        exchange.asked = documents(&json)
            .iter()
            .filter_map(|json| match Message::of(json) {
                Some(Message::Request { id, .. }) => Some(id.to_json()),
                _ => None,
            })
            .collect();
        let truncated = std::mem::take(&mut exchange.truncated);
        let session = self.session(exchange);
        if truncated {
            session.note(Issue::RequestTruncated);
        }
        session.document(Side::Client, &json, notes, &mut f);
        self.trim(&mut f);
        self.tell_evicted(&mut f);
    }

    /// The head of the final response: status, `Content-Type`, `Mcp-Session-Id`.
    pub fn response_head(
        &mut self,
        exchange: &mut Exchange,
        status: u16,
        content_type: Option<&str>,
        session_id: Option<&str>,
    ) {
        exchange.status = status;
        exchange.events = content_type.is_some_and(|full| {
            full.trim()
                .to_ascii_lowercase()
                .starts_with("text/event-stream")
        });
        let Some(id) = session_id else { return };
        if exchange.verdict == Verdict::Other {
            return;
        }
        // `initialize` is asked without a session, and answered with one.
        let key = (exchange.authority.clone(), id.to_owned());
        if let Which::Own(_) = exchange.session {
            let shared = Which::Shared(key.clone());
            if let Which::Own(mut own) = std::mem::replace(&mut exchange.session, shared) {
                own.id = Some(id.to_owned());
                if !self.sessions.contains_key(&key) {
                    self.insert(key, *own);
                }
            }
        }
    }

    /// More of the body of a response. Of a stream of events it may be given too; it is passed over.
    pub fn response_bytes(&mut self, exchange: &mut Exchange, bytes: &[u8]) {
        if !exchange.events && exchange.verdict == Verdict::Mcp {
            exchange.truncated |= push(&mut exchange.response, bytes, self.limits.message);
        }
    }

    /// A server-sent event of a response: its name, `message` if it has none, and its data.
    pub fn sse(
        &mut self,
        exchange: &mut Exchange,
        event: &str,
        data: &[u8],
        mut f: impl FnMut(Call),
    ) {
        exchange.events = true;
        if exchange.verdict == Verdict::Other || data.trim_ascii().is_empty() {
            return;
        }
        if event == "endpoint" && !exchange.post {
            self.announce(exchange, data);
            return;
        }
        let (json, notes) = json::read(data);
        if exchange.verdict != Verdict::Mcp {
            let likely = exchange.verdict == Verdict::Likely;
            if !(if likely {
                is_jsonrpc(&json)
            } else {
                is_mcp(&json)
            }) {
                exchange.verdict = Verdict::Other;
                return;
            }
            exchange.verdict = Verdict::Mcp;
        }
        self.session(exchange)
            .document(Side::Server, &json, notes, &mut f);
        self.trim(&mut f);
    }

    /// Something that whoever gives the bytes knows of them: a gap, an event that was cut.
    pub fn note(&mut self, exchange: &mut Exchange, issue: Issue) {
        self.session(exchange).note(issue);
    }

    /// The exchange ended. `complete`: both messages ended by their framing, without a gap.
    pub fn end(&mut self, mut exchange: Exchange, complete: bool, mut f: impl FnMut(Call)) {
        self.request_end(&mut exchange, &mut f);
        self.tell_evicted(&mut f);
        if exchange.deletes && (200..300).contains(&exchange.status) {
            return self.delete(&exchange, &mut f);
        }
        if exchange.verdict != Verdict::Mcp {
            return;
        }
        let body = std::mem::take(&mut exchange.response);
        let asked = std::mem::take(&mut exchange.asked);
        let (truncated, status) = (exchange.truncated, exchange.status);
        let session = self.session(&mut exchange);
        if truncated {
            session.note(Issue::ResponseTruncated);
        }
        if !complete {
            session.note(Issue::Incomplete);
        }
        // What is no JSON-RPC, a proxy's page for example, says no more than the status does.
        let is_answer =
            body.trim_ascii_start().starts_with(b"{") || body.trim_ascii_start().starts_with(b"[");
        if is_answer {
            let (json, notes) = json::read(&body);
            if status < 400 || is_jsonrpc(&json) {
                session.document(Side::Server, &json, notes, &mut f);
            }
        }
        if status >= 400 {
            session.fail(&asked, status, &mut f);
        }
        if let Which::Own(mut session) = exchange.session {
            session.end(&mut f);
        }
    }

    /// The process ended: tells the requests that still wait.
    pub fn finish(mut self, mut f: impl FnMut(Call)) {
        self.tell_evicted(&mut f);
        for (_, session) in self.sessions.values_mut() {
            session.end(&mut f);
        }
    }

    /// An older server tells where messages are to be posted: that is the session.
    fn announce(&mut self, exchange: &mut Exchange, data: &[u8]) {
        let Ok(address) = std::str::from_utf8(data) else {
            return;
        };
        let address = address.trim();
        let path = match address.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => address,
        };
        if !path.starts_with('/') || path.len() > 4096 {
            return;
        }
        let key = (exchange.authority.clone(), path.to_owned());
        let shared = Which::Shared(key.clone());
        if let Which::Own(own) = std::mem::replace(&mut exchange.session, shared) {
            exchange.verdict = Verdict::Likely;
            self.insert(key, *own);
        }
    }

    fn session<'a>(&'a mut self, exchange: &'a mut Exchange) -> &'a mut Session {
        match &mut exchange.session {
            Which::Own(session) => session,
            Which::Shared(key) => {
                // It may have had to make room.
                if !self.sessions.contains_key(key) {
                    self.insert(key.clone(), Session::new(Transport::Http, self.limits));
                }
                let new = || (0, Session::new(Transport::Http, self.limits));
                &mut self.sessions.entry(key.clone()).or_insert_with(new).1
            }
        }
    }

    fn delete(&mut self, exchange: &Exchange, f: &mut dyn FnMut(Call)) {
        if let Which::Shared(key) = &exchange.session
            && let Some((_, mut session)) = self.sessions.remove(key)
        {
            session.end(f);
        }
    }

    /// What waits in all sessions is bounded together; the oldest session gives way.
    fn trim(&mut self, f: &mut dyn FnMut(Call)) {
        let cost = |sessions: &BTreeMap<Key, (u64, Session)>| {
            sessions
                .values()
                .map(|(_, session)| session.cost())
                .sum::<usize>()
        };
        while cost(&self.sessions) > self.limits.waiting {
            let waiting = self
                .sessions
                .values_mut()
                .filter(|(_, session)| session.cost() > 0);
            let Some((_, oldest)) = waiting.min_by_key(|(age, _)| *age) else {
                return;
            };
            oldest.trim(0, f);
        }
    }

    fn tell_evicted(&mut self, f: &mut dyn FnMut(Call)) {
        for mut session in self.evicted.drain(..) {
            session.end(f);
        }
    }

    fn insert(&mut self, key: Key, session: Session) {
        self.age += 1;
        self.sessions.insert(key, (self.age, session));
        if self.sessions.len() > self.limits.sessions {
            let oldest = self.sessions.iter().min_by_key(|(_, (age, _))| *age);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.evicted
                    .extend(self.sessions.remove(&key).map(|(_, session)| session));
            }
        }
    }
}

/// Appends up to a limit; whether something did not fit.
fn push(to: &mut Vec<u8>, bytes: &[u8], limit: usize) -> bool {
    let room = limit.saturating_sub(to.len());
    to.extend_from_slice(&bytes[..bytes.len().min(room)]);
    bytes.len() > room
}
