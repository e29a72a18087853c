//! What was said over a connection, from the bytes of both directions.
//!
//! The bytes are plaintext, as captured at a TLS library or a pipe: chunks with an offset, perhaps
//! with gaps, perhaps from the middle of the connection on. Events come out. There is no clock and
//! no input or output here, and nothing is kept beyond [`Limits`].
//!
//! Every byte pushed is either read, and then part of an event or of framing, or counted in an
//! [`Event::Unreadable`]: [`Tally`] adds up.
//!
//! ```
//! use hoop_protocols::{Connection, Direction, Event, Limits};
//!
//! let mut connection = Connection::new(Limits::default());
//! let mut seen = Vec::new();
//! let mut sink = |event: Event<'_>| {
//!     if let Event::Request { head, .. } = event {
//!         seen.push(format!("{} {}", head.method, head.path));
//!     }
//! };
//! connection.push(Direction::Sent, 0, b"GET /v1/models HTT", &mut sink);
//! connection.push(Direction::Sent, 18, b"P/1.1\r\nHost: example.com\r\n\r\n", &mut sink);
//! connection.end(&mut sink);
//! assert_eq!(seen, ["GET /v1/models"]);
//! ```

pub mod genai;
pub mod mcp;

mod body;
mod buffer;
mod chain;
mod coding;
mod connection;
mod detect;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod headers;
mod hpack;
mod http1;
mod http2;
mod limits;
mod message;
mod out;
mod sse;
mod websocket;

pub use connection::{Connection, Tally};
#[cfg(feature = "fuzzing")]
pub use fuzz::fuzz;
pub use headers::{Field, Header, Headers};
pub use limits::Limits;
pub use message::{
    Boundary, Direction, End, EndReason, Event, FirstBytes, Opcode, Protocol, Reason, RequestHead,
    ResponseHead, Role, ServerSentEvent, Version,
};
