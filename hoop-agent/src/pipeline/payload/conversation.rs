//! What is said on one connection.

use std::{collections::BTreeMap, sync::Arc};

use hoop_common::{
    event::ProcessKey,
    payload::{Join, PieceHeader, SocketPair},
};
use hoop_protocols::{
    Connection, Direction, Event, FirstBytes, Limits, Opcode, Reason,
    genai::{self, Issue},
    mcp,
};

use super::{Said, Settings, body::Body, exchange::Exchange, meaning, piece::Piece, tls};
use crate::{clock::ClockOffset, pipeline::masking::Findings};
use hoop_records::{
    ApiActivity, ApiMessage, Attribute, Fact, Kind, Plaintext, Record, Shared, TlsConnection,
    Workload,
};

/// 101 (RFC 9110, 15.2.2).
const SWITCHING_PROTOCOLS: u16 = 101;

/// OCSF classes: API Activity, and Network Activity for plaintext that is not read further.
const API_ACTIVITY: u32 = 6003;
const NETWORK_ACTIVITY: u32 = 4001;

/// One connection.
pub(super) struct Conversation {
    process: ProcessKey,
    workload: Shared<Workload>,
    connection: Connection,
    said: Saying,
}

/// What was said, as far as it is not in a record yet.
struct Saying {
    settings: Arc<Settings>,
    tls: TlsConnection,
    exchanges: BTreeMap<u64, Exchange>,
    /// Each `WebSocket` to a model, by the stream that opened it, and which way the client's messages go.
    sockets: BTreeMap<u64, (genai::WebSocket, Direction)>,
    /// For what is in no protocol that is known.
    plain: Option<Plain>,
    /// When the piece that is being read was written.
    now_ns: u64,
    done: Vec<(Kind, u64, Fact)>,
}

/// Plaintext in no protocol that is known.
struct Plain {
    began_ns: u64,
    format: &'static str,
    sent: Body,
    received: Body,
    incomplete: Vec<String>,
    findings: Findings,
}

impl Conversation {
    pub(super) fn new(
        piece: &Piece<'_>,
        workload: Shared<Workload>,
        settings: Arc<Settings>,
    ) -> Self {
        Self {
            process: piece.process(),
            workload,
            connection: Connection::new(Limits::default()),
            said: Saying {
                settings,
                tls: tls::connection(&piece.header),
                exchanges: BTreeMap::new(),
                sockets: BTreeMap::new(),
                plain: None,
                now_ns: piece.header.boot_ns,
                done: Vec::new(),
            },
        }
    }

    /// Whose it is.
    pub(super) fn process(&self) -> ProcessKey {
        self.process
    }

    /// Whether plaintext was read.
    pub(super) fn has_said(&self) -> bool {
        !self.said.tls.function.is_empty()
    }

    /// Its socket, once that is known.
    pub(super) fn cookie(&self) -> Option<u64> {
        (self.said.tls.socket != 0).then_some(self.said.tls.socket)
    }

    /// Notes the socket.
    pub(super) fn join(&mut self, join: Join, pair: &SocketPair, cookie: u64) {
        tls::join(&mut self.said.tls, join, pair, cookie);
    }

    /// Takes plaintext.
    pub(super) fn take(
        &mut self,
        header: &PieceHeader,
        direction: Direction,
        bytes: &[u8],
        tools: &mut mcp::Http,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let said = &mut self.said;
        said.now_ns = header.boot_ns;
        tls::function(header.call).clone_into(&mut said.tls.function);
        self.connection
            .push(direction, header.offset, bytes, &mut |event| {
                said.hear(&event, tools);
            });
        if let Some(plain) = &mut said.plain {
            plain.take(direction, bytes);
        }
        if header.skipped > 0 {
            self.connection
                .gap(direction, header.skipped.into(), &mut |event| {
                    said.hear(&event, tools);
                });
            said.lacks(&format!(
                "{} bytes of a call were not taken",
                header.skipped
            ));
        }
        self.write(offset, sink);
    }

    /// Ends it: `closed` is what the kernel said of its end.
    pub(super) fn end(
        mut self,
        closed: Option<&PieceHeader>,
        tools: &mut mcp::Http,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let said = &mut self.said;
        if let Some(header) = closed {
            said.now_ns = header.boot_ns;
        }
        self.connection.end(&mut |event| said.hear(&event, tools));
        for (_, exchange) in std::mem::take(&mut said.exchanges) {
            said.write(exchange, tools);
        }
        for (_, (socket, _)) in std::mem::take(&mut said.sockets) {
            if let Some(call) = socket.end() {
                said.write_call_of_model(call);
            }
        }
        if let Some(plain) = said.plain.take() {
            let began_ns = plain.began_ns;
            let fact = Fact::Plaintext(Box::new(plain.finish(said.tls.clone())));
            said.done.push((Kind::Plaintext, began_ns, fact));
        }
        self.write(offset, sink);
    }

    /// Writes what is complete.
    fn write(&mut self, offset: ClockOffset, sink: &mut impl FnMut(Said)) {
        for (kind, began_ns, fact) in self.said.done.drain(..) {
            let record = Record {
                time_dt: offset.utc(began_ns),
                boot_time_ns: began_ns,
                kind: kind.into(),
                class_uid: if kind == Kind::Api {
                    API_ACTIVITY
                } else {
                    NETWORK_ACTIVITY
                },
                workload: Some(self.workload.clone()),
                fact: Some(fact),
                ..Record::default()
            };
            sink((record, self.process));
        }
    }
}

impl Saying {
    fn hear(&mut self, event: &Event<'_>, tools: &mut mcp::Http) {
        let mut calls = Vec::new();
        match event {
            // Trailers say how a call ended, and are bytes of no body.
            Event::Interim {
                stream,
                head,
                direction,
            } if head.status == Some(SWITCHING_PROTOCOLS) => {
                if let Some(api) = self.exchange(*stream).switched(head, tools) {
                    let socket = genai::WebSocket::new(api, genai::Limits::default());
                    self.sockets.insert(*stream, (socket, direction.reverse()));
                }
                self.complete(*stream, tools);
            }
            Event::Protocol { .. }
            | Event::Interim { .. }
            | Event::GoAway { .. }
            | Event::RequestTrailers { .. }
            | Event::ResponseTrailers { .. } => {}
            Event::Unknown { first, .. } => {
                let (settings, now_ns) = (Arc::clone(&self.settings), self.now_ns);
                self.plain
                    .get_or_insert_with(|| Plain::new(&settings, now_ns, *first));
            }
            Event::Request { stream, head, .. } => self.exchange(*stream).request(head, tools),
            Event::RequestBody { stream, bytes } => {
                self.exchange(*stream).request_body(bytes, tools);
            }
            Event::RequestEnd { stream, end } => {
                self.exchange(*stream).request_end(end, tools, &mut calls);
                self.complete(*stream, tools);
            }
            Event::Response { stream, head, .. } => self.exchange(*stream).response(head, tools),
            Event::ResponseBody { stream, bytes } => {
                self.exchange(*stream).response_body(bytes, tools);
            }
            Event::ResponseEnd { stream, end } => {
                self.exchange(*stream).response_end(end);
                self.complete(*stream, tools);
            }
            // Its bytes were told as the response's body, too.
            Event::Sse { stream, event } => {
                self.exchange(*stream).event(event, tools, &mut calls);
            }
            Event::WebSocket {
                stream,
                direction,
                opcode,
                payload,
                complete,
            } => {
                let is_text = *opcode == Opcode::Text;
                if !(is_text && self.said_to_model(*stream, *direction, payload, *complete)) {
                    self.message(*direction, *opcode, payload, *complete);
                }
            }
            Event::Unreadable {
                stream,
                reason,
                bytes,
                ..
            } => {
                if *reason != Reason::UnknownProtocol {
                    self.unreadable(*stream, *bytes, *reason);
                }
            }
            Event::Resynchronized { found, skipped, .. } => {
                let how = match found {
                    Some(_) => format!("went on after {skipped} bytes that were passed over"),
                    None => "nothing could be read after the gap".to_owned(),
                };
                self.lacks(&how);
            }
        }
        self.write_calls(calls);
    }

    fn write_calls(&mut self, calls: Vec<mcp::Call>) {
        for call in calls {
            let mut findings = Findings::default();
            let attributes = meaning::of_tool(call, &self.settings.masker, &mut findings);
            self.write_call("mcp", attributes, findings);
        }
    }

    fn write_call(&mut self, protocol: &str, attributes: Vec<Attribute>, mut findings: Findings) {
        let api = ApiActivity {
            protocol: protocol.to_owned(),
            attributes,
            connection: Some(self.tls.clone()),
            masked: findings.take(),
            ..ApiActivity::default()
        };
        self.done
            .push((Kind::Api, self.now_ns, Fact::Api(Box::new(api))));
    }

    /// Takes a message on a WebSocket to a model. False: it is none of the interface's.
    fn said_to_model(
        &mut self,
        stream: u64,
        direction: Direction,
        text: &[u8],
        complete: bool,
    ) -> bool {
        let Some((socket, client)) = self.sockets.get_mut(&stream) else {
            return false;
        };
        let by_client = direction == *client;
        if !complete {
            socket.note(if by_client {
                Issue::RequestTruncated
            } else {
                Issue::ResponseTruncated
            });
        }
        let mut calls = Vec::new();
        let known = if by_client {
            socket.sent(text)
        } else {
            socket.received(text, |call| calls.push(call))
        };
        for call in calls {
            self.write_call_of_model(call);
        }
        known
    }

    fn write_call_of_model(&mut self, call: genai::Call) {
        let mut findings = Findings::default();
        let attributes = meaning::of_model(call, &self.settings.masker, &mut findings);
        self.write_call("websocket", attributes, findings);
    }

    fn exchange(&mut self, stream: u64) -> &mut Exchange {
        let (settings, now_ns) = (&self.settings, self.now_ns);
        self.exchanges
            .entry(stream)
            .or_insert_with(|| Exchange::new(settings, now_ns))
    }

    fn complete(&mut self, stream: u64, tools: &mut mcp::Http) {
        if self.exchange(stream).is_complete()
            && let Some(exchange) = self.exchanges.remove(&stream)
        {
            self.write(exchange, tools);
        }
    }

    fn write(&mut self, exchange: Exchange, tools: &mut mcp::Http) {
        let began_ns = exchange.began_ns;
        let mut calls = Vec::new();
        let mut api = exchange.finish(self.now_ns, tools, &mut calls);
        api.connection = Some(self.tls.clone());
        self.done
            .push((Kind::Api, began_ns, Fact::Api(Box::new(api))));
        self.write_calls(calls);
    }

    fn message(&mut self, direction: Direction, opcode: Opcode, payload: &[u8], complete: bool) {
        let mut findings = Findings::default();
        let mut body = Body::new(&self.settings.masker, self.settings.max_body);
        if opcode == Opcode::Binary {
            body.only_count();
        }
        body.push(payload);
        let api = ApiActivity {
            protocol: "websocket".to_owned(),
            message: Some(ApiMessage {
                direction: match direction {
                    Direction::Sent => "sent",
                    Direction::Received => "received",
                }
                .to_owned(),
                r#type: match opcode {
                    Opcode::Text => "text",
                    Opcode::Binary => "binary",
                    Opcode::Close => "close",
                    Opcode::Ping => "ping",
                    Opcode::Pong => "pong",
                }
                .to_owned(),
                body: Some(body.finish(&mut findings)),
            }),
            connection: Some(self.tls.clone()),
            incomplete: (!complete)
                .then(|| "part of the message is missing".to_owned())
                .into_iter()
                .collect(),
            masked: findings.take(),
            ..ApiActivity::default()
        };
        self.done
            .push((Kind::Api, self.now_ns, Fact::Api(Box::new(api))));
    }

    fn unreadable(&mut self, stream: Option<u64>, bytes: u64, reason: Reason) {
        let what = format!("{bytes} bytes: {reason}");
        match stream {
            Some(stream) if self.exchanges.contains_key(&stream) => {
                self.exchange(stream).lacks(what);
            }
            _ => self.lacks(&what),
        }
    }

    /// Says of everything that goes on why it is not whole. What nothing goes on for begins a record
    /// of its own, so that it is told all the same.
    fn lacks(&mut self, reason: &str) {
        for exchange in self.exchanges.values_mut() {
            exchange.lacks(reason.to_owned());
        }
        for (socket, _) in self.sockets.values_mut() {
            socket.note(Issue::Incomplete);
        }
        if self.exchanges.is_empty() && self.sockets.is_empty() {
            let (settings, now_ns) = (Arc::clone(&self.settings), self.now_ns);
            self.plain
                .get_or_insert_with(|| Plain::new(&settings, now_ns, FirstBytes::Binary))
                .lacks(reason);
        }
    }
}

impl Plain {
    fn new(settings: &Settings, began_ns: u64, first: FirstBytes) -> Self {
        let mut body = [(); 2].map(|()| Body::new(&settings.masker, settings.max_body));
        let format = match first {
            FirstBytes::Json => "json",
            FirstBytes::LengthHeader => "length header",
            FirstBytes::Tls => "tls",
            FirstBytes::Text => "text",
            FirstBytes::Binary => "binary",
        };
        if matches!(first, FirstBytes::Tls | FirstBytes::Binary) {
            body.iter_mut().for_each(Body::only_count);
        }
        let [sent, received] = body;
        Self {
            began_ns,
            format,
            sent,
            received,
            incomplete: Vec::new(),
            findings: Findings::default(),
        }
    }

    fn take(&mut self, direction: Direction, bytes: &[u8]) {
        let body = match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        };
        body.push(bytes);
    }

    fn lacks(&mut self, reason: &str) {
        if self.incomplete.len() < 8 && self.incomplete.iter().all(|known| known != reason) {
            self.incomplete.push(reason.to_owned());
        }
    }

    fn finish(mut self, connection: TlsConnection) -> Plaintext {
        let sent = self.sent.finish(&mut self.findings);
        let received = self.received.finish(&mut self.findings);
        Plaintext {
            connection: Some(connection),
            format: self.format.to_owned(),
            sent: (sent.size > 0).then_some(sent),
            received: (received.size > 0).then_some(received),
            incomplete: self.incomplete,
            masked: self.findings.take(),
        }
    }
}
