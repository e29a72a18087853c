//! A piece of plaintext, decoded from the ring's bytes.

use hoop_common::{
    event::ProcessKey,
    payload::{Join, PieceHeader, PieceKind, RECEIVED, SENT, SocketPair, TlsCall},
};
use hoop_protocols::Direction;
use thiserror::Error;
use zerocopy::FromBytes;

/// One piece.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What the kernel wrote.
    pub header: PieceHeader,
    /// What it is.
    pub body: Body<'a>,
}

/// What a piece is.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Plaintext.
    Data {
        /// Which way it went.
        direction: Direction,
        /// The bytes; fewer than the call moved if `header.skipped` is not 0.
        bytes: &'a [u8],
    },
    /// The connection was joined to a socket.
    Joined {
        /// How.
        join: Join,
        /// Its ends.
        pair: SocketPair,
    },
    /// The library forgot the connection.
    Closed,
    /// The process maps a file to run code from it, or began to run a program.
    Mapped,
    /// The process ended.
    Ended,
    /// A TLS connection began on a socket.
    Hello {
        /// Its ends.
        pair: SocketPair,
    },
    /// What a process wrote to a pipe or a Unix socket, and looks like JSON-RPC.
    Piped {
        /// The bytes; fewer than were written if `header.skipped` is not 0.
        bytes: &'a [u8],
    },
}

/// Why bytes are no piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Shorter than its header, or than what its header says.
    #[error("it ends too early")]
    Short,
    /// A number that stands for nothing.
    #[error("its {0} is {1}")]
    Number(&'static str, u8),
}

/// Decodes one piece.
///
/// # Errors
///
/// When the bytes are none. Nothing in them is trusted: they are checked like a stranger's.
pub fn decode(bytes: &[u8]) -> Result<Piece<'_>, Malformed> {
    let (header, rest) = PieceHeader::read_from_prefix(bytes).map_err(|_| Malformed::Short)?;
    if TlsCall::from_number(header.call.into()).is_none() && header.call != 0 {
        return Err(Malformed::Number("call", header.call));
    }
    let kind = PieceKind::from_number(header.kind).ok_or(Malformed::Number("kind", header.kind))?;
    let body = match kind {
        PieceKind::Data => Body::Data {
            direction: match header.direction {
                SENT => Direction::Sent,
                RECEIVED => Direction::Received,
                other => return Err(Malformed::Number("direction", other)),
            },
            bytes: rest.get(..header.len as usize).ok_or(Malformed::Short)?,
        },
        PieceKind::Joined => Body::Joined {
            join: Join::from_number(header.join).ok_or(Malformed::Number("join", header.join))?,
            pair: SocketPair::read_from_prefix(rest)
                .map_err(|_| Malformed::Short)?
                .0,
        },
        PieceKind::Piped => Body::Piped {
            bytes: rest.get(..header.len as usize).ok_or(Malformed::Short)?,
        },
        PieceKind::Closed => Body::Closed,
        PieceKind::Mapped => Body::Mapped,
        PieceKind::Ended => Body::Ended,
        PieceKind::Hello => Body::Hello {
            pair: SocketPair::read_from_prefix(rest)
                .map_err(|_| Malformed::Short)?
                .0,
        },
    };
    Ok(Piece { header, body })
}

impl Piece<'_> {
    /// The process.
    #[must_use]
    pub fn process(&self) -> ProcessKey {
        ProcessKey {
            start_ns: self.header.start_ns,
            tgid: self.header.tgid,
            reserved: 0,
        }
    }
}
