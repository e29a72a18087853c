//! Frames of WebSocket, RFC 6455 section 5.2.

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The size of this header: 2 to 14.
    pub header: usize,
    pub fin: bool,
    /// Compressed, by RFC 7692; on the first frame of a message only.
    pub rsv1: bool,
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
    pub length: u64,
    /// The length is in no more bytes than it needs.
    minimal: bool,
}

/// These bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// The longest payload of a control frame.
const LONGEST_CONTROL: u64 = 125;

impl Frame {
    /// Reads the header that the input begins with; `Ok(None)`: it is not there whole.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, Malformed> {
        let [first, second, rest @ ..] = input else {
            return Ok(None);
        };
        let opcode = first & 0x0f;
        let known = matches!(
            opcode,
            opcode::CONTINUATION..=opcode::BINARY | opcode::CLOSE..=opcode::PONG
        );
        if first & 0x30 != 0 || !known {
            return Err(Malformed);
        }
        let (length, size, least) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2, 126),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8, 1 << 16),
                None => return Ok(None),
            },
            short => (u64::from(short), 0, 0),
        };
        let masked = second & 0x80 != 0;
        let mask = match rest[size..].first_chunk::<4>() {
            Some(mask) if masked => Some(*mask),
            None if masked => return Ok(None),
            _ => None,
        };
        let frame = Self {
            header: 2 + size + 4 * usize::from(masked),
            fin: first & 0x80 != 0,
            rsv1: first & 0x40 != 0,
            opcode,
            mask,
            length,
            minimal: length >= least,
        };
        if frame.is_control() && (!frame.fin || length > LONGEST_CONTROL || frame.rsv1) {
            return Err(Malformed);
        }
        Ok(Some(frame))
    }

    pub fn is_control(&self) -> bool {
        self.opcode >= opcode::CLOSE
    }

    /// Whether a real peer would send this, in the role it has, with a payload of up to `largest`.
    pub fn is_usual(&self, client: bool, deflate: bool, largest: usize) -> bool {
        self.minimal
            && self.mask.is_some() == client
            && (!self.rsv1 || deflate && self.opcode != opcode::CONTINUATION)
            && self.length <= largest as u64
    }
}
