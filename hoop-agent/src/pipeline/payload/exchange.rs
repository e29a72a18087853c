//! A request and its response, until both are complete.

use std::sync::Arc;

use hoop_mask::Masker;
use hoop_protocols::{
    End, EndReason, Field, Headers, RequestHead, ResponseHead, ServerSentEvent, Version,
    genai::{self, recognise},
    mcp,
};

use super::{Settings, body::Body, meaning};
use crate::pipeline::masking::{self, Findings};
use hoop_records::{ApiActivity, Attribute, HttpHeader, HttpRequest, HttpResponse, Url};

/// Stands for what was said before the capture began.
const UNKNOWN: &str = "?";

/// Reasons that are kept; more of them say nothing more.
const MAX_REASONS: usize = 8;

/// A request and its response.
pub(super) struct Exchange {
    masker: Arc<Masker>,
    pub(super) began_ns: u64,
    protocol: &'static str,
    request: Option<HttpRequest>,
    request_body: Body,
    request_ended: bool,
    response: Option<HttpResponse>,
    response_body: Body,
    response_ended: bool,
    /// What it may be the opening of.
    socket: Option<genai::Api>,
    /// What it may be a call of.
    model: Option<genai::Exchange>,
    tool: Option<mcp::Exchange>,
    incomplete: Vec<String>,
    findings: Findings,
}

impl Exchange {
    pub(super) fn new(settings: &Settings, began_ns: u64) -> Self {
        let body = || Body::new(&settings.masker, settings.max_body);
        Self {
            masker: Arc::clone(&settings.masker),
            began_ns,
            protocol: "",
            request: None,
            request_body: body(),
            request_ended: false,
            response: None,
            response_body: body(),
            response_ended: false,
            socket: None,
            model: None,
            tool: None,
            incomplete: Vec::new(),
            findings: Findings::default(),
        }
    }

    pub(super) fn request(&mut self, head: &RequestHead, tools: &mut mcp::Http) {
        self.protocol = version(head.version);
        let word = |field: &Field| field.as_str().unwrap_or_default().to_owned();
        let (method, authority, path) =
            (word(&head.method), word(&head.authority), word(&head.path));
        let header = |name| head.headers.text(name);
        let content_type = header("content-type");
        let content_type = content_type.as_deref();
        let api = recognise(&method, &authority, &path, content_type);
        if method == "GET" {
            self.socket = api;
        } else {
            self.model = api.map(|api| genai::Exchange::new(api, genai::Limits::default()));
        }
        self.tool = tools.begin(&mcp::HttpRequest {
            method: &method,
            authority: &authority,
            path: &path,
            content_type,
            accept: header("accept").as_deref(),
            session_id: header("mcp-session-id").as_deref(),
            protocol_version: header("mcp-protocol-version").as_deref(),
        });
        let url = Url {
            scheme: self.text(&head.scheme),
            hostname: self.text(&head.authority),
            path: self.text(&head.path),
        };
        self.request = Some(HttpRequest {
            http_method: self.text(&head.method),
            url: Some(url),
            http_headers: self.headers(&head.headers),
            body: None,
        });
    }

    pub(super) fn request_body(&mut self, bytes: &[u8], tools: &mut mcp::Http) {
        if let Some(model) = &mut self.model {
            model.request_bytes(bytes);
        }
        if let Some(tool) = &mut self.tool {
            tools.request_bytes(tool, bytes);
        }
        self.request_body.push(bytes);
    }

    pub(super) fn request_end(
        &mut self,
        end: &End,
        tools: &mut mcp::Http,
        calls: &mut Vec<mcp::Call>,
    ) {
        self.request_ended = true;
        if let Some(model) = &mut self.model {
            model.request_end();
        }
        if let Some(tool) = &mut self.tool {
            tools.request_end(tool, |call| calls.push(call));
        }
        self.end_of("request", end);
    }

    pub(super) fn response(&mut self, head: &ResponseHead, tools: &mut mcp::Http) {
        self.protocol = version(head.version);
        let content_type = head.headers.text("content-type");
        let content_type = content_type.as_deref();
        if content_type.is_some_and(is_event_stream) {
            // A text may be in pieces in it, each in an event of its own, and half of a secret is masked by
            // nothing. `attributes` have the texts, joined, of what is known.
            self.response_body.only_count();
        }
        let status = head.status.unwrap_or(0);
        if let Some(model) = &mut self.model {
            model.response_head(status, content_type);
        }
        if let Some(tool) = &mut self.tool {
            let session = head.headers.text("mcp-session-id");
            tools.response_head(tool, status, content_type, session.as_deref());
        }
        self.response = Some(HttpResponse {
            code: status.into(),
            http_headers: self.headers(&head.headers),
            body: None,
        });
    }

    /// Another protocol follows. Answers with the interface of the model that a WebSocket was opened to, if it was.
    pub(super) fn switched(
        &mut self,
        head: &ResponseHead,
        tools: &mut mcp::Http,
    ) -> Option<genai::Api> {
        self.response(head, tools);
        self.response_ended = true;
        self.socket.take()
    }

    pub(super) fn response_body(&mut self, bytes: &[u8], tools: &mut mcp::Http) {
        if let Some(model) = &mut self.model {
            model.response_bytes(bytes);
        }
        if let Some(tool) = &mut self.tool {
            tools.response_bytes(tool, bytes);
        }
        self.response_body.push(bytes);
    }

    pub(super) fn event(
        &mut self,
        event: &ServerSentEvent<'_>,
        tools: &mut mcp::Http,
        calls: &mut Vec<mcp::Call>,
    ) {
        let name = String::from_utf8_lossy(event.event);
        if let Some(model) = &mut self.model {
            model.sse(&name, event.data);
            if !event.complete {
                model.note(genai::Issue::ResponseTruncated);
            }
        }
        if let Some(tool) = &mut self.tool {
            tools.sse(tool, &name, event.data, |call| calls.push(call));
        }
    }

    pub(super) fn response_end(&mut self, end: &End) {
        self.response_ended = true;
        self.end_of("response", end);
    }

    /// Says why the exchange is not whole.
    pub(super) fn lacks(&mut self, reason: String) {
        if self.incomplete.len() < MAX_REASONS && !self.incomplete.contains(&reason) {
            self.incomplete.push(reason);
        }
    }

    /// Whether nothing more of it is to come.
    pub(super) fn is_complete(&self) -> bool {
        self.response_ended && (self.request_ended || self.request.is_none())
    }

    /// What it was, masked, and the calls of tools that ended with it. `now_ns`: nanoseconds since
    /// boot.
    pub(super) fn finish(
        mut self,
        now_ns: u64,
        tools: &mut mcp::Http,
        calls: &mut Vec<mcp::Call>,
    ) -> ApiActivity {
        if self.request.is_none() {
            self.lacks("the request was not seen".to_owned());
        } else if !self.request_ended {
            self.lacks("the request did not end".to_owned());
        }
        if !self.response_ended {
            self.lacks("the response did not end".to_owned());
        }
        let whole = self.incomplete.is_empty();
        if let Some(tool) = self.tool.take() {
            let before = calls.len();
            tools.end(tool, whole, |call| calls.push(call));
            if calls.len() > before {
                // Records of the calls have what the bodies say.
                self.request_body.only_count();
                self.response_body.only_count();
            }
        }
        let mut attributes: Vec<Attribute> = Vec::new();
        if let Some(call) = self.model.take().and_then(|model| model.end(whole)) {
            attributes = meaning::of_model(call, &self.masker, &mut self.findings);
            self.request_body.only_count();
            self.response_body.only_count();
        }
        let findings = &mut self.findings;
        let mut request = self.request;
        let body = self.request_body.finish(findings);
        if let Some(request) = &mut request
            && body.size > 0
        {
            request.body = Some(body);
        }
        let mut response = self.response;
        let body = self.response_body.finish(findings);
        if let Some(response) = &mut response
            && body.size > 0
        {
            response.body = Some(body);
        }
        ApiActivity {
            protocol: self.protocol.to_owned(),
            http_request: request,
            http_response: response,
            attributes,
            incomplete: self.incomplete,
            masked: findings.take(),
            duration_ns: now_ns.saturating_sub(self.began_ns),
            ..ApiActivity::default()
        }
    }

    fn end_of(&mut self, what: &str, end: &End) {
        let reason = match end.reason {
            EndReason::Complete => None,
            EndReason::Closed => Some("the connection ended first".to_owned()),
            EndReason::Reset(code) => Some(format!("reset with code {code}")),
            EndReason::Lost => Some("its end is lost".to_owned()),
            EndReason::Malformed => Some("what followed is malformed".to_owned()),
            EndReason::Evicted => Some("too many streams".to_owned()),
        };
        let cut = end.cut.map(|reason| reason.to_string());
        for reason in reason.into_iter().chain(cut) {
            self.lacks(format!("{what}: {reason}"));
        }
        if end.lost > 0 {
            self.lacks(format!("{what}: {} bytes are lost", end.lost));
        }
    }

    fn text(&mut self, field: &Field) -> String {
        match field.as_str() {
            Some(text) => masking::text(&self.masker, text.as_bytes(), &mut self.findings),
            None if *field == Field::Unknown => UNKNOWN.to_owned(),
            None => String::new(),
        }
    }

    fn headers(&mut self, headers: &Headers) -> Vec<HttpHeader> {
        let (masker, findings) = (&self.masker, &mut self.findings);
        headers
            .iter()
            .map(|header| {
                let name = header.name.map_or_else(
                    || UNKNOWN.to_owned(),
                    |name| masking::text(masker, name, findings),
                );
                let value = header.value.map_or_else(
                    || UNKNOWN.to_owned(),
                    |value| masking::field(masker, &name, value, findings),
                );
                HttpHeader { name, value }
            })
            .collect()
    }
}

/// Whether a media type is that of server-sent events (WHATWG HTML, 9.2.5).
fn is_event_stream(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "http/1.0",
        Version::Http11 => "http/1.1",
        Version::Http2 => "h2",
    }
}
