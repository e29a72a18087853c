//! What a [`Connection`](crate::Connection) tells: events, and the parts they are made of.

use std::fmt;

use crate::headers::{Field, Headers};

/// Which way bytes went, seen from the traced process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Written by the traced process.
    Sent,
    /// Read by the traced process.
    Received,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Self::Sent => Self::Received,
            Self::Received => Self::Sent,
        }
    }
}

/// What the traced process is on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends requests.
    Client,
    /// It receives requests.
    Server,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1, RFC 9112.
    Http1,
    /// HTTP/2, RFC 9113.
    Http2,
    /// WebSocket, RFC 6455, after an HTTP/1.1 upgrade.
    WebSocket,
}

/// What the first bytes of a stream that is in no known protocol look like. The bytes themselves
/// are never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FirstBytes {
    /// A JSON object or array, perhaps lines of JSON-RPC.
    Json,
    /// `Content-Length:`, as the Language Server Protocol frames JSON-RPC.
    LengthHeader,
    /// A TLS record: TLS inside of what was captured.
    Tls,
    /// It begins with printable text.
    Text,
    /// Anything else.
    Binary,
}

/// The version of HTTP that a head was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The version it was sent in.
    pub version: Version,
    /// `GET`, `POST`, ...
    pub method: Field,
    /// HTTP/2 `:scheme`, or the scheme of an HTTP/1 target in absolute form.
    pub scheme: Field,
    /// HTTP/2 `:authority`, the authority of an HTTP/1 target, or else the `Host` header.
    pub authority: Field,
    /// Path and query; `*` for `OPTIONS *`; absent for `CONNECT`.
    pub path: Field,
    /// HTTP/2 `:protocol` of an extended CONNECT, RFC 8441.
    pub protocol: Field,
    /// The other header fields, in the order sent.
    pub headers: Headers,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The version it was sent in.
    pub version: Version,
    /// The status code, 100..=999; `None` if it is an HPACK entry from before the capture began.
    pub status: Option<u16>,
    /// The header fields, in the order sent.
    pub headers: Headers,
}

/// How a request or a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why there is no more of it.
    pub reason: EndReason,
    /// Bytes of body that were told, after decoding of the content codings.
    pub told: u64,
    /// Bytes of body on the wire that the capture lost, as far as their number is known.
    pub lost: u64,
    /// Why what was told is not all that was said, the first reason if there are several.
    /// [`Reason::UnknownCoding`]: all was told, but as it was sent.
    pub cut: Option<Reason>,
}

impl End {
    /// Whether every byte of the body was told, and decoded.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.reason == EndReason::Complete && self.cut.is_none()
    }
}

/// Why a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its framing says that this is its end.
    Complete,
    /// The connection ended first.
    Closed,
    /// `RST_STREAM` with this error code, RFC 9113 section 7.
    Reset(u32),
    /// Bytes are missing and with them where it ends.
    Lost,
    /// What followed breaks the protocol.
    Malformed,
    /// More streams than [`Limits::streams`](crate::Limits::streams) are open; it was the oldest.
    Evicted,
}

/// The opcode of a WebSocket message, RFC 6455 section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// Text, UTF-8 by the protocol (not checked).
    Text,
    /// Binary.
    Binary,
    /// Close; the payload is a code and a reason, or empty.
    Close,
    /// Ping.
    Ping,
    /// Pong.
    Pong,
}

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The capture has no copy of them. Of all reasons the only one whose bytes were never pushed.
    Lost,
    /// They were pushed before, or after what follows them.
    Duplicate,
    /// The rest of it was lost or never came, or came in between something else.
    Fragment,
    /// No known protocol.
    UnknownProtocol,
    /// They are in the middle of something whose start was not seen.
    NotFromStart,
    /// They come after lost or malformed bytes, before anything that can be read again.
    Resynchronizing,
    /// They break the protocol.
    Malformed,
    /// A head, or a header block, longer than [`Limits::head`](crate::Limits::head).
    HeadTooLong,
    /// Body beyond [`Limits::body`](crate::Limits::body) or
    /// [`Limits::websocket_message`](crate::Limits::websocket_message).
    TooLong,
    /// A decompression bomb: more than [`Limits::ratio`](crate::Limits::ratio) allows.
    Bomb,
    /// The window that a coding asks for, or all windows of a connection, pass
    /// [`Limits::decoder_memory`](crate::Limits::decoder_memory).
    DecoderMemory,
    /// A content coding that is not known, or more than [`Limits::codings`](crate::Limits::codings).
    UnknownCoding,
    /// The content coding is broken, or bytes follow its end.
    BrokenCoding,
    /// An HTTP/2 stream whose head was not seen, was malformed, or was evicted.
    NoHead,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost by the capture",
            Self::Duplicate => "captured twice or out of order",
            Self::Fragment => "a part whose rest did not come",
            Self::UnknownProtocol => "unknown protocol",
            Self::NotFromStart => "the start was not captured",
            Self::Resynchronizing => "before anything that can be read again",
            Self::Malformed => "malformed",
            Self::HeadTooLong => "head too long",
            Self::TooLong => "longer than is kept",
            Self::Bomb => "decompression bomb",
            Self::DecoderMemory => "decompression would take too much memory",
            Self::UnknownCoding => "unknown content coding",
            Self::BrokenCoding => "broken content coding",
            Self::NoHead => "head not captured",
        })
    }
}

/// Where reading could go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boundary {
    /// The head of an HTTP/1 message that is complete and has a telling header.
    Head,
    /// HTTP/2 frames that are valid and follow one another.
    Frame,
    /// WebSocket frames that are valid and follow one another.
    WebSocketFrame,
}

/// Something that was said, or that could not be read.
///
/// `stream` pairs a response with its request: the stream identifier in HTTP/2; in HTTP/1 requests
/// are numbered from 0, and a response to a request that was not seen takes the next number.
///
/// Where a body or an [`Unreadable`](Event::Unreadable) run is cut into events, and between which
/// pieces of a body an [`Sse`](Event::Sse) comes, follows the input and means nothing. All else is
/// the same however the input is cut.
#[derive(Debug)]
pub enum Event<'a> {
    /// The protocol is known. Again when an upgrade changes it.
    Protocol {
        /// What is spoken.
        protocol: Protocol,
        /// What the traced process is, where the first bytes say so.
        role: Option<Role>,
    },
    /// This direction is in no protocol that is known here. Said once; every byte that follows is in
    /// an [`Unreadable`](Event::Unreadable), up to a place where one is found after all, by this or by
    /// the other direction.
    Unknown {
        /// Which direction.
        direction: Direction,
        /// What its first bytes look like.
        first: FirstBytes,
    },
    /// A request began.
    Request {
        /// Which direction it goes.
        direction: Direction,
        /// Its stream.
        stream: u64,
        /// Its head.
        head: &'a RequestHead,
    },
    /// More of the body of a request, content codings taken off.
    RequestBody {
        /// Its stream.
        stream: u64,
        /// Never empty.
        bytes: &'a [u8],
    },
    /// The trailer section of a request.
    RequestTrailers {
        /// Its stream.
        stream: u64,
        /// Its fields.
        trailers: &'a Headers,
    },
    /// A request ended.
    RequestEnd {
        /// Its stream.
        stream: u64,
        /// How.
        end: End,
    },
    /// An interim response (1xx). The final one is yet to come, except after 101.
    Interim {
        /// Which direction it goes.
        direction: Direction,
        /// Its stream.
        stream: u64,
        /// Its head.
        head: &'a ResponseHead,
    },
    /// A response began.
    Response {
        /// Which direction it goes.
        direction: Direction,
        /// Its stream.
        stream: u64,
        /// Its head.
        head: &'a ResponseHead,
    },
    /// More of the body of a response, content codings taken off.
    ResponseBody {
        /// Its stream.
        stream: u64,
        /// Never empty.
        bytes: &'a [u8],
    },
    /// The trailer section of a response.
    ResponseTrailers {
        /// Its stream.
        stream: u64,
        /// Its fields.
        trailers: &'a Headers,
    },
    /// A response ended.
    ResponseEnd {
        /// Its stream.
        stream: u64,
        /// How.
        end: End,
    },
    /// A server-sent event in a `text/event-stream` response. Its bytes are told as
    /// [`ResponseBody`](Event::ResponseBody) too, before it.
    Sse {
        /// The stream of the response.
        stream: u64,
        /// The event.
        event: ServerSentEvent<'a>,
    },
    /// A WebSocket message, fragments joined, mask and compression taken off.
    WebSocket {
        /// Which direction it goes.
        direction: Direction,
        /// The stream of the request that opened it.
        stream: u64,
        /// What it is.
        opcode: Opcode,
        /// What it says.
        payload: &'a [u8],
        /// Whether `payload` is all of it. If not, an [`Unreadable`](Event::Unreadable) said why, or
        /// the connection ended.
        complete: bool,
    },
    /// An HTTP/2 peer said that it stops, RFC 9113 section 6.8.
    GoAway {
        /// Which direction it goes.
        direction: Direction,
        /// The last stream that it has acted on or may act on.
        last_stream: u32,
        /// The error code.
        code: u32,
    },
    /// Bytes that could not be read.
    Unreadable {
        /// Which direction.
        direction: Direction,
        /// Which stream, where they belong to one.
        stream: Option<u64>,
        /// How many bytes, on the wire.
        bytes: u64,
        /// Why.
        reason: Reason,
    },
    /// After bytes that could not be read, what follows can be, or nothing that follows could be.
    Resynchronized {
        /// Which direction.
        direction: Direction,
        /// What was found; `None`: nothing until the end of the connection.
        found: Option<Boundary>,
        /// Bytes passed over to find it, all of which were in [`Unreadable`](Event::Unreadable).
        skipped: u64,
    },
}

/// A server-sent event, WHATWG HTML section 9.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSentEvent<'a> {
    /// The `event` field; `message` if it has none.
    pub event: &'a [u8],
    /// The `data` lines, joined by LF.
    pub data: &'a [u8],
    /// The last `id` field of the stream; empty if there was none.
    pub id: &'a [u8],
    /// False if it is longer than [`Limits::sse_event`](crate::Limits::sse_event) and was cut, if
    /// bytes of it were lost, or if the stream ended within it.
    pub complete: bool,
}
