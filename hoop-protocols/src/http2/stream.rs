//! Streams of HTTP/2 and the messages on them, RFC 9113 sections 5 and 8.

use std::collections::BTreeMap;

use super::frame::{self, Frame, flag, kind};
use crate::body::{Body, Kind};
use crate::hpack::Decoder;
use crate::out::Out;
use crate::{
    Direction, EndReason, Event, Field, Headers, Reason, RequestHead, ResponseHead, Version,
};

/// The streams of a connection.
#[derive(Debug)]
pub(super) struct Streams {
    /// By number, so the first is the oldest of its kind.
    open: BTreeMap<u32, Stream>,
    /// Which direction requests go; unknown until a head tells.
    client: Option<Direction>,
}

/// A header block as far as it came.
#[derive(Debug)]
pub(super) struct Block {
    stream: u32,
    /// The stream that PUSH_PROMISE opens.
    promised: Option<u32>,
    end_stream: bool,
    bytes: Vec<u8>,
    too_long: bool,
}

#[derive(Debug, Default)]
struct Stream {
    request: Half,
    response: Half,
}

/// One of the two messages on a stream.
#[derive(Debug, Default)]
enum Half {
    /// Its head is not there yet.
    #[default]
    Idle,
    Open(Box<Body>),
    Done,
}

/// What a block says.
#[derive(Default)]
struct Fields {
    method: Field,
    scheme: Field,
    authority: Field,
    path: Field,
    protocol: Field,
    status: Field,
    headers: Headers,
    /// A name is not known that may be one of those above, as no other comes before it.
    unknown: bool,
    regular: bool,
}

impl Streams {
    pub fn new(client: Option<Direction>) -> Self {
        Self {
            open: BTreeMap::new(),
            client,
        }
    }

    /// Takes a whole header block.
    pub fn block(
        &mut self,
        direction: Direction,
        block: Block,
        hpack: &mut Decoder,
        out: &mut Out<'_>,
    ) {
        if block.too_long {
            hpack.lose();
            return block.drop(direction, out);
        }
        let mut fields = Fields::default();
        let limit = out.limits.header_list;
        let decoded = hpack.decode(&block.bytes, &mut |name, value| {
            fields.take(name, value, limit)
        });
        let told = match decoded {
            Ok(()) => self.head(direction, &block, fields, out),
            Err(_) => Err(Reason::Malformed),
        };
        let (stream, count) = (u64::from(block.stream), block.bytes.len());
        match told {
            Ok(()) => out.read(direction, count),
            Err(reason) => out.unreadable(direction, Some(stream), count as u64, reason),
        }
        if block.end_stream {
            self.end(direction, block.stream, out);
        }
    }

    /// Takes a part of a body.
    pub fn data(&mut self, direction: Direction, stream: u32, bytes: &[u8], out: &mut Out<'_>) {
        match self.half(direction, stream) {
            Some(Half::Open(body)) => body.write(bytes, out),
            _ => {
                let (stream, count) = (Some(u64::from(stream)), bytes.len() as u64);
                out.unreadable(direction, stream, count, Reason::NoHead);
            }
        }
    }

    /// Notes that a part of a body is missing.
    pub fn lose(&mut self, direction: Direction, stream: u32, bytes: u64, out: &mut Out<'_>) {
        if let Some(Half::Open(body)) = self.half(direction, stream) {
            body.lose(Some(bytes), out);
        }
    }

    /// Notes that anything may be missing in a direction.
    pub fn lose_all(&mut self, direction: Direction, out: &mut Out<'_>) {
        let Some(kind) = self.kind(direction) else {
            return;
        };
        for stream in self.open.values_mut() {
            if let Half::Open(body) = stream.half(kind) {
                body.lose(None, out);
            }
        }
    }

    /// Ends the message that goes this way.
    pub fn end(&mut self, direction: Direction, stream: u32, out: &mut Out<'_>) {
        let Some(kind) = self.kind(direction) else {
            return;
        };
        let Some(open) = self.open.get_mut(&stream) else {
            return;
        };
        open.half(kind).end(EndReason::Complete, out);
        if matches!((&open.request, &open.response), (Half::Done, Half::Done)) {
            self.open.remove(&stream);
        }
    }

    /// Ends both messages of a stream.
    pub fn reset(&mut self, stream: u32, code: u32, out: &mut Out<'_>) {
        if let Some(stream) = self.open.remove(&stream) {
            stream.end(EndReason::Reset(code), out);
        }
    }

    /// Ends every message that goes this way.
    pub fn close(&mut self, direction: Direction, out: &mut Out<'_>) {
        let Some(kind) = self.kind(direction) else {
            return;
        };
        for stream in self.open.values_mut() {
            stream.half(kind).end(EndReason::Closed, out);
        }
    }

    /// Takes what a block says: a head, trailers, or a promise.
    fn head(
        &mut self,
        direction: Direction,
        block: &Block,
        fields: Fields,
        out: &mut Out<'_>,
    ) -> Result<(), Reason> {
        if let Some(promised) = block.promised {
            if self.client == Some(direction) {
                return Err(Reason::Malformed);
            }
            self.client = Some(direction.reverse());
            let stream = u64::from(promised);
            let head = fields.request();
            out.emit(Event::Request {
                direction,
                stream,
                head: &head,
            });
            Half::Open(self.body(Kind::Request, direction, promised, &head.headers, out))
                .end(EndReason::Complete, out);
            self.stream(promised, out).request = Half::Done;
            return Ok(());
        }
        let kind = match (fields.says(), self.kind(direction)) {
            (Some(said), Some(kind)) if said != kind => return Err(Reason::Malformed),
            (Some(kind), _) | (None, Some(kind)) => kind,
            (None, None) => return Err(Reason::NoHead),
        };
        self.client = Some(match kind {
            Kind::Request => direction,
            Kind::Response => direction.reverse(),
        });
        let number = block.stream;
        if let Some(Half::Open(_)) = self.half(direction, number) {
            if fields.says().is_some() {
                return Err(Reason::Malformed);
            }
            let (stream, trailers) = (u64::from(number), &fields.headers);
            out.emit(match kind {
                Kind::Request => Event::RequestTrailers { stream, trailers },
                Kind::Response => Event::ResponseTrailers { stream, trailers },
            });
            return Ok(());
        }
        if let Some(Half::Done) = self.half(direction, number) {
            return Err(Reason::NoHead);
        }
        if fields.says().is_none() && (!fields.unknown || block.end_stream) {
            // The trailers, for all that is known, of a message whose head was not seen.
            return Err(Reason::NoHead);
        }
        let known = self.open.contains_key(&number);
        let stream = u64::from(number);
        let headers = match kind {
            Kind::Request => {
                let head = fields.request();
                out.emit(Event::Request {
                    direction,
                    stream,
                    head: &head,
                });
                head.headers
            }
            Kind::Response => {
                let head = fields.response();
                if matches!(head.status, Some(100..=199)) {
                    out.emit(Event::Interim {
                        direction,
                        stream,
                        head: &head,
                    });
                    return Ok(());
                }
                out.emit(Event::Response {
                    direction,
                    stream,
                    head: &head,
                });
                head.headers
            }
        };
        let body = self.body(kind, direction, number, &headers, out);
        let stream = self.stream(number, out);
        *stream.half(kind) = Half::Open(body);
        if !known && kind == Kind::Response {
            // Its request came before the capture.
            stream.request = Half::Done;
        }
        Ok(())
    }

    fn body(
        &self,
        kind: Kind,
        direction: Direction,
        stream: u32,
        headers: &Headers,
        out: &Out<'_>,
    ) -> Box<Body> {
        Box::new(Body::new(
            kind,
            direction,
            u64::from(stream),
            headers,
            &[],
            out,
        ))
    }

    /// The stream of this number, new perhaps; then the oldest may have to go.
    fn stream(&mut self, number: u32, out: &mut Out<'_>) -> &mut Stream {
        if self.open.len() >= out.limits.streams.max(1) && !self.open.contains_key(&number) {
            if let Some((_, oldest)) = self.open.pop_first() {
                oldest.end(EndReason::Evicted, out);
            }
        }
        self.open.entry(number).or_default()
    }

    fn kind(&self, direction: Direction) -> Option<Kind> {
        self.client.map(|client| match client == direction {
            true => Kind::Request,
            false => Kind::Response,
        })
    }

    fn half(&mut self, direction: Direction, stream: u32) -> Option<&mut Half> {
        let kind = self.kind(direction)?;
        Some(self.open.get_mut(&stream)?.half(kind))
    }
}

impl Stream {
    fn half(&mut self, kind: Kind) -> &mut Half {
        match kind {
            Kind::Request => &mut self.request,
            Kind::Response => &mut self.response,
        }
    }

    fn end(mut self, reason: EndReason, out: &mut Out<'_>) {
        self.request.end(reason, out);
        self.response.end(reason, out);
    }
}

impl Half {
    fn end(&mut self, reason: EndReason, out: &mut Out<'_>) {
        if let Self::Open(body) = std::mem::replace(self, Self::Done) {
            body.end(reason, out);
        }
    }
}

impl Block {
    /// Of HEADERS or PUSH_PROMISE; `start` are its fields before the block.
    pub fn new(frame: &Frame, start: &[u8]) -> Self {
        let padding = usize::from(frame.is_padded());
        let promise = frame.kind == kind::PUSH_PROMISE;
        Self {
            stream: frame.stream,
            promised: promise.then(|| frame::word(&start[padding..]) & 0x7fff_ffff),
            end_stream: !promise && frame.has(flag::END_STREAM),
            bytes: Vec::new(),
            too_long: false,
        }
    }

    pub fn continues(&self, stream: u32) -> bool {
        self.stream == stream
    }

    /// Takes more of it, up to the limit.
    pub fn extend(&mut self, bytes: &[u8], direction: Direction, out: &mut Out<'_>) {
        let room = out.limits.head.saturating_sub(self.bytes.len());
        let (kept, beyond) = bytes.split_at(bytes.len().min(room));
        self.bytes.extend_from_slice(kept);
        self.too_long |= !beyond.is_empty();
        let (stream, count) = (Some(u64::from(self.stream)), beyond.len() as u64);
        out.unreadable(direction, stream, count, Reason::HeadTooLong);
    }

    /// Its bytes will not be read.
    pub fn drop(self, direction: Direction, out: &mut Out<'_>) {
        let reason = if self.too_long {
            Reason::HeadTooLong
        } else {
            Reason::Fragment
        };
        let (stream, count) = (Some(u64::from(self.stream)), self.bytes.len() as u64);
        out.unreadable(direction, stream, count, reason);
    }
}

impl Fields {
    fn take(&mut self, name: Option<&[u8]>, value: Option<&[u8]>, limit: usize) {
        let field = match name {
            Some(b":method") => &mut self.method,
            Some(b":scheme") => &mut self.scheme,
            Some(b":authority") => &mut self.authority,
            Some(b":path") => &mut self.path,
            Some(b":protocol") => &mut self.protocol,
            Some(b":status") => &mut self.status,
            _ => {
                self.regular |= name.is_some();
                self.unknown |= !self.regular;
                return self.headers.push(name, value, limit);
            }
        };
        // The first counts: to have two is malformed.
        if *field == Field::Absent {
            *field = value.map_or(Field::Unknown, |value| {
                Field::new(&value[..value.len().min(limit)])
            });
        }
    }

    /// Which kind of message only can say this.
    fn says(&self) -> Option<Kind> {
        let request = [
            &self.method,
            &self.scheme,
            &self.authority,
            &self.path,
            &self.protocol,
        ];
        if self.status != Field::Absent {
            Some(Kind::Response)
        } else if request.iter().any(|field| **field != Field::Absent) {
            Some(Kind::Request)
        } else {
            None
        }
    }

    fn request(self) -> RequestHead {
        let host = self.headers.get("host").map_or(Field::Absent, Field::new);
        RequestHead {
            version: Version::Http2,
            method: self.method,
            scheme: self.scheme,
            authority: if self.authority == Field::Absent {
                host
            } else {
                self.authority
            },
            path: self.path,
            protocol: self.protocol,
            headers: self.headers,
        }
    }

    fn response(self) -> ResponseHead {
        let status = self.status.as_str().and_then(|status| status.parse().ok());
        ResponseHead {
            version: Version::Http2,
            status,
            headers: self.headers,
        }
    }
}
