//! Messages of WebSocket: fragments joined, compression taken off.

use super::frame::{Frame, opcode};
use crate::coding::Inflate;
use crate::out::Out;
use crate::{Direction, Event, Opcode, Reason};

/// What one direction is in the middle of saying.
#[derive(Debug)]
pub(super) struct Assembly {
    direction: Direction,
    stream: u64,
    /// The data message, which control frames may come in between of.
    data: Option<Message>,
    control: Option<Message>,
    inflate: Option<Inflate>,
    /// What a message says may refer to messages before it.
    takeover: bool,
    unmasked: Vec<u8>,
}

#[derive(Debug)]
struct Message {
    opcode: Opcode,
    payload: Vec<u8>,
    /// Something of it is missing.
    cut: bool,
    packed: Option<Packed>,
}

/// A message that is compressed.
#[derive(Debug, Default)]
struct Packed {
    /// Bytes on the wire. They count as read if the whole message could be.
    wire: u64,
    failed: Option<Reason>,
}

/// What ends a message and is left out, RFC 7692 section 7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What may stay allocated between messages.
const KEPT: usize = 16 << 10;

impl Assembly {
    pub fn new(direction: Direction, stream: u64, takeover: bool) -> Self {
        Self {
            direction,
            stream,
            data: None,
            control: None,
            inflate: None,
            takeover,
            unmasked: Vec::new(),
        }
    }

    /// Begins a frame. False: none like this can come now.
    pub fn begin(&mut self, frame: &Frame, out: &mut Out<'_>) -> bool {
        let opcode = match frame.opcode {
            opcode::CONTINUATION => return self.data.is_some(),
            opcode::TEXT => Opcode::Text,
            opcode::BINARY => Opcode::Binary,
            opcode::CLOSE => Opcode::Close,
            opcode::PING => Opcode::Ping,
            _ => Opcode::Pong,
        };
        let packed = frame.rsv1.then(Packed::default);
        let message = Message {
            opcode,
            payload: Vec::new(),
            cut: false,
            packed,
        };
        if frame.is_control() {
            self.control = Some(message);
            return true;
        }
        // One that had no end is told as far as it came.
        self.abandon(out);
        self.data = Some(message);
        true
    }

    /// A message that is in one piece in the input needs no copy. False: this is none.
    pub fn whole(&mut self, frame: &Frame, payload: &[u8], out: &mut Out<'_>) -> bool {
        let fits = payload.len() <= out.limits.websocket_message;
        if !(frame.fin && frame.mask.is_none() && fits) {
            return false;
        }
        let open = if frame.is_control() {
            &self.control
        } else {
            &self.data
        };
        let Some(message) = open.as_ref().filter(|it| it.payload.is_empty() && !it.cut) else {
            return false;
        };
        if message.packed.is_some() {
            return false;
        }
        let (direction, stream, opcode) = (self.direction, self.stream, message.opcode);
        out.read(direction, payload.len());
        out.emit(Event::WebSocket {
            direction,
            stream,
            opcode,
            payload,
            complete: true,
        });
        match frame.is_control() {
            true => self.control = None,
            false => self.data = None,
        }
        true
    }

    /// Takes a part of a payload, `at` bytes behind its start.
    pub fn write(&mut self, frame: &Frame, at: u64, bytes: &[u8], out: &mut Out<'_>) {
        let Some(mask) = frame.mask else {
            return self.append(frame, bytes, out);
        };
        let mut unmasked = std::mem::take(&mut self.unmasked);
        for piece in bytes.chunks(KEPT).scan(at, |at, piece| {
            let start = *at;
            *at += piece.len() as u64;
            Some((start, piece))
        }) {
            unmask(mask, piece.0, piece.1, &mut unmasked);
            self.append(frame, &unmasked, out);
        }
        self.unmasked = unmasked;
    }

    /// Ends a frame, and with its last frame the message.
    pub fn end_frame(&mut self, frame: &Frame, out: &mut Out<'_>) {
        let message = match (frame.is_control(), frame.fin) {
            (true, _) => self.control.take(),
            (false, true) => self.data.take(),
            (false, false) => return,
        };
        if let Some(message) = message {
            self.finish(message, out);
        }
    }

    /// Notes that a part of the frame is missing.
    pub fn lose(&mut self, frame: &Frame) {
        let message = if frame.is_control() {
            &mut self.control
        } else {
            &mut self.data
        };
        if let Some(message) = message {
            message.cut = true;
            if let Some(packed) = &mut message.packed {
                packed.failed.get_or_insert(Reason::Fragment);
            }
        }
    }

    /// Tells as much as there is of what will not be continued.
    pub fn abandon(&mut self, out: &mut Out<'_>) {
        for message in [self.control.take(), self.data.take()] {
            let Some(mut message) = message else { continue };
            message.cut = true;
            if let Some(packed) = &mut message.packed {
                packed.failed.get_or_insert(Reason::Fragment);
            }
            self.finish(message, out);
        }
    }

    fn append(&mut self, frame: &Frame, bytes: &[u8], out: &mut Out<'_>) {
        let message = if frame.is_control() {
            &mut self.control
        } else {
            &mut self.data
        };
        let (direction, stream, Some(message)) = (self.direction, self.stream, message) else {
            return;
        };
        let limit = out.limits.websocket_message;
        if message.packed.is_some() {
            if self.inflate.is_none() {
                self.inflate = Inflate::raw(out.memory).ok();
            }
            return message.unpack(bytes, self.inflate.as_mut(), limit);
        }
        let room = limit.saturating_sub(message.payload.len());
        let (kept, beyond) = bytes.split_at(bytes.len().min(room));
        message.payload.extend_from_slice(kept);
        out.read(direction, kept.len());
        message.cut |= !beyond.is_empty();
        out.unreadable(
            direction,
            Some(stream),
            beyond.len() as u64,
            Reason::TooLong,
        );
    }

    fn finish(&mut self, mut message: Message, out: &mut Out<'_>) {
        let (direction, stream) = (self.direction, self.stream);
        if let Some(Packed {
            failed: None | Some(Reason::TooLong),
            wire,
        }) = message.packed
        {
            let ended = self.inflate.as_ref().is_some_and(Inflate::ended);
            if wire > 0 && !ended {
                let limit = out.limits.websocket_message;
                message.unpack(&TAIL, self.inflate.as_mut(), limit);
                if let Some(packed) = &mut message.packed {
                    packed.wire = wire;
                }
            }
        }
        if let Some(packed) = message.packed {
            match packed.failed {
                None => out.read(direction, packed.wire as usize),
                Some(reason) => out.unreadable(direction, Some(stream), packed.wire, reason),
            }
            message.cut |= packed.failed.is_some();
            // What refers to something that is not there is noticed, so it is safe to go on.
            let broken = packed
                .failed
                .is_some_and(|reason| reason != Reason::TooLong);
            if let Some(inflate) = &mut self.inflate
                && (broken || !self.takeover || inflate.ended())
            {
                inflate.reset_raw();
            }
        }
        let (opcode, payload, complete) = (message.opcode, &message.payload, !message.cut);
        out.emit(Event::WebSocket {
            direction,
            stream,
            opcode,
            payload,
            complete,
        });
    }
}

impl Message {
    fn unpack(&mut self, bytes: &[u8], inflate: Option<&mut Inflate>, limit: usize) {
        let Some(packed) = &mut self.packed else {
            return;
        };
        packed.wire += bytes.len() as u64;
        if packed
            .failed
            .is_some_and(|reason| reason != Reason::TooLong)
        {
            return;
        }
        let Some(inflate) = inflate else {
            packed.failed = Some(Reason::DecoderMemory);
            return;
        };
        let (payload, mut too_long) = (&mut self.payload, false);
        let result = inflate.decode(bytes, &mut |decoded| {
            // What is too long is decoded all the same: later messages may refer to it.
            let room = limit.saturating_sub(payload.len());
            payload.extend_from_slice(&decoded[..decoded.len().min(room)]);
            too_long |= decoded.len() > room;
            Ok(())
        });
        match result {
            Err(reason) => packed.failed = Some(reason),
            Ok(()) if too_long => packed.failed = Some(Reason::TooLong),
            Ok(()) => {}
        }
    }
}

/// RFC 6455 section 5.3, eight bytes at a time.
fn unmask(mask: [u8; 4], at: u64, bytes: &[u8], to: &mut Vec<u8>) {
    let mut turned = mask;
    turned.rotate_left((at % 4) as usize);
    to.clear();
    to.extend_from_slice(bytes);
    let wide = u64::from_ne_bytes([turned, turned].concat().try_into().unwrap_or_default());
    let (words, rest) = to.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}
