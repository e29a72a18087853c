//! HTTP/2, RFC 9113.

mod frame;
mod stream;

pub(crate) use self::frame::{ENOUGH, PREFACE, begins_with_settings, look};
use self::frame::{Frame, HEADER, flag, kind};
use self::stream::{Block, Streams};
use crate::chain::{ChainScan, Found};
use crate::connection::{Advance, Passed};
use crate::hpack::Decoder;
use crate::out::{Both, Out};
use crate::{Boundary, Direction, Event, Limits, Reason};

/// Both directions of an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    sides: Both<Side>,
    streams: Streams,
}

#[derive(Debug)]
struct Side {
    state: State,
    hpack: Decoder,
    /// The header block that is under way.
    block: Option<Block>,
    /// The longest payload that the peer was seen to accept.
    largest: usize,
}

#[derive(Debug)]
enum State {
    /// Before what a client sends first.
    Preface,
    /// Before a frame header.
    Frame,
    /// In a payload.
    Payload(Payload),
    /// Looking for frames.
    Search {
        scan: ChainScan,
        reason: Reason,
        skipped: u64,
    },
}

#[derive(Debug)]
struct Payload {
    frame: Frame,
    /// What is left of it, with the padding at its end.
    left: usize,
    padding: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Data,
    /// A part of the header block.
    Block,
    /// Nothing that is told.
    Rest,
    /// A part of a header block of which the start is missing.
    NotFromStart,
}

impl Http2 {
    /// `client` is who sends the preface, if that is what comes next. `searching` directions are not
    /// at a boundary between frames, and passed over so many bytes.
    pub fn new(
        client: Option<Direction>,
        searching: &Both<Option<Passed>>,
        limits: &Limits,
    ) -> Self {
        let sides = Both::new(|direction| {
            let mut hpack = Decoder::new(limits.hpack_table);
            let searches = *searching.get(direction);
            if client.is_none() || searches.is_some() {
                hpack.lose();
            }
            let state = if let Some(Passed { skipped, reason }) = searches {
                State::Search {
                    scan: ChainScan::default(),
                    reason,
                    skipped,
                }
            } else if client == Some(direction) {
                State::Preface
            } else {
                State::Frame
            };
            Side {
                state,
                hpack,
                block: None,
                largest: limits.frame,
            }
        });
        Self {
            sides,
            streams: Streams::new(client),
        }
    }

    /// Reads on in a direction.
    pub fn advance(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let step = match &self.sides.get(direction).state {
                State::Preface => self.preface(direction, rest, out),
                State::Frame => self.frame(direction, rest, out),
                State::Payload(_) => self.payload(direction, rest, out),
                State::Search { .. } => self.search(direction, rest, out),
            };
            used += step.used;
            if step.stop {
                return Advance { used, ..step };
            }
        }
    }

    /// Takes note that bytes are missing; what was pending before them is gone.
    pub fn gap(&mut self, direction: Direction, bytes: u64, out: &mut Out<'_>) {
        let side = self.sides.get_mut(direction);
        let State::Payload(payload) = &mut side.state else {
            return self.lose(direction, Reason::Resynchronizing, out);
        };
        let Some(lost) = usize::try_from(bytes).ok().filter(|it| *it <= payload.left) else {
            return self.lose(direction, Reason::Resynchronizing, out);
        };
        let content = payload.left - payload.padding;
        let lost_content = lost.min(content);
        payload.left -= lost;
        payload.padding = payload.padding.min(payload.left);
        match payload.what {
            What::Data if lost_content > 0 => {
                self.streams
                    .lose(direction, payload.frame.stream, lost_content as u64, out);
            }
            What::Block if lost_content > 0 => {
                payload.what = What::NotFromStart;
                side.drop_block(direction, out);
            }
            _ => {}
        }
        self.end_payload(direction, out);
    }

    pub fn end(&mut self, direction: Direction, out: &mut Out<'_>) {
        let side = self.sides.get_mut(direction);
        side.drop_block(direction, out);
        if let State::Search { skipped, .. } = side.state {
            out.emit(Event::Resynchronized {
                direction,
                found: None,
                skipped,
            });
        }
        self.streams.close(direction, out);
    }

    /// Bytes that were held back will not be read: they count as part of a search.
    pub fn drop_held(&mut self, direction: Direction, bytes: u64) -> Reason {
        match &mut self.sides.get_mut(direction).state {
            State::Search {
                skipped, reason, ..
            } => {
                *skipped += bytes;
                *reason
            }
            _ => Reason::Fragment,
        }
    }

    fn preface(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let common = input.len().min(PREFACE.len());
        if input[..common] != PREFACE[..common] {
            self.lose(direction, Reason::Malformed, out);
            return Advance::used(0);
        }
        if common < PREFACE.len() {
            return Advance::stop(0);
        }
        out.read(direction, common);
        self.sides.get_mut(direction).state = State::Frame;
        Advance::used(common)
    }

    fn frame(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let Some(frame) = Frame::parse(input) else {
            return Advance::stop(0);
        };
        let side = self.sides.get_mut(direction);
        if !frame.is_valid() || frame.length > side.largest.max(out.limits.frame) {
            return self.refuse(direction, out);
        }
        let fields = frame.fields();
        let Some(start) = input.get(HEADER..HEADER + fields) else {
            return Advance::stop(0);
        };
        let padding = if frame.is_padded() {
            usize::from(start[0])
        } else {
            0
        };
        if padding > frame.length - fields {
            return self.refuse(direction, out);
        }
        out.read(direction, HEADER + fields);
        let continues = frame.kind == kind::CONTINUATION
            && side
                .block
                .as_ref()
                .is_some_and(|block| block.continues(frame.stream));
        if side.block.is_some() && !continues {
            side.drop_block(direction, out);
        }
        let what = match frame.kind {
            kind::DATA => What::Data,
            kind::HEADERS | kind::PUSH_PROMISE => {
                side.block = Some(Block::new(&frame, start));
                What::Block
            }
            kind::CONTINUATION if continues => What::Block,
            kind::CONTINUATION => {
                side.hpack.lose();
                What::NotFromStart
            }
            kind::SETTINGS => {
                if let Some(largest) = frame::max_frame_size(start) {
                    self.sides.get_mut(direction.reverse()).largest = largest;
                }
                What::Rest
            }
            kind::RST_STREAM => {
                self.streams.reset(frame.stream, frame::word(start), out);
                What::Rest
            }
            kind::GOAWAY => {
                let (last_stream, code) =
                    (frame::word(start) & 0x7fff_ffff, frame::word(&start[4..]));
                out.emit(Event::GoAway {
                    direction,
                    last_stream,
                    code,
                });
                What::Rest
            }
            _ => What::Rest,
        };
        let left = frame.length - fields;
        self.sides.get_mut(direction).state = State::Payload(Payload {
            frame,
            left,
            padding,
            what,
        });
        self.end_payload(direction, out);
        Advance::used(HEADER + fields)
    }

    fn payload(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let side = self.sides.get_mut(direction);
        let State::Payload(payload) = &mut side.state else {
            return Advance::stop(0);
        };
        if input.is_empty() {
            return Advance::stop(0);
        }
        let taken = &input[..input.len().min(payload.left)];
        let (content, padding) = taken.split_at(taken.len().min(payload.left - payload.padding));
        payload.left -= taken.len();
        payload.padding = payload.padding.min(payload.left);
        let stream = payload.frame.stream;
        out.read(direction, padding.len());
        match payload.what {
            What::Data => self.streams.data(direction, stream, content, out),
            What::Block => {
                if let Some(block) = &mut side.block {
                    block.extend(content, direction, out);
                }
            }
            What::Rest => out.read(direction, content.len()),
            What::NotFromStart => {
                let (stream, count) = (Some(u64::from(stream)), content.len() as u64);
                out.unreadable(direction, stream, count, Reason::NotFromStart);
            }
        }
        self.end_payload(direction, out);
        Advance::used(taken.len())
    }

    /// After the last byte of a payload, does what the frame says.
    fn end_payload(&mut self, direction: Direction, out: &mut Out<'_>) {
        let side = self.sides.get_mut(direction);
        let State::Payload(Payload {
            frame,
            left: 0,
            what,
            ..
        }) = side.state
        else {
            return;
        };
        side.state = State::Frame;
        match what {
            What::Data if frame.has(flag::END_STREAM) => {
                self.streams.end(direction, frame.stream, out);
            }
            What::Block if frame.has(flag::END_HEADERS) => {
                if let Some(block) = side.block.take() {
                    self.streams.block(direction, block, &mut side.hpack, out);
                }
            }
            _ => {}
        }
    }

    /// Loses track at what is no frame: past a byte, so that the search does not come back to here.
    fn refuse(&mut self, direction: Direction, out: &mut Out<'_>) -> Advance {
        self.lose(direction, Reason::Malformed, out);
        out.unreadable(direction, None, 1, Reason::Malformed);
        if let State::Search { skipped, .. } = &mut self.sides.get_mut(direction).state {
            *skipped += 1;
        }
        Advance::used(1)
    }

    /// Loses track of a direction.
    fn lose(&mut self, direction: Direction, reason: Reason, out: &mut Out<'_>) {
        let side = self.sides.get_mut(direction);
        side.drop_block(direction, out);
        side.hpack.lose();
        let skipped = match side.state {
            State::Search { skipped, .. } => skipped,
            _ => 0,
        };
        side.state = State::Search {
            scan: ChainScan::default(),
            reason,
            skipped,
        };
        self.streams.lose_all(direction, out);
    }

    fn search(&mut self, direction: Direction, input: &[u8], out: &mut Out<'_>) -> Advance {
        let side = self.sides.get_mut(direction);
        let State::Search {
            scan,
            reason,
            skipped,
        } = &mut side.state
        else {
            return Advance::stop(0);
        };
        let largest = side.largest.min(out.limits.frame);
        let found = scan.find(input, ENOUGH, |bytes| look(bytes, largest));
        let (Found::At { start: passed, .. } | Found::NotBefore(passed)) = found;
        scan.consumed(passed);
        *skipped += passed as u64;
        out.unreadable(direction, None, passed as u64, *reason);
        if found == Found::NotBefore(passed) {
            return Advance::stop(passed);
        }
        let (found, skipped) = (Some(Boundary::Frame), *skipped);
        out.emit(Event::Resynchronized {
            direction,
            found,
            skipped,
        });
        side.state = State::Frame;
        Advance::used(passed)
    }
}

impl Side {
    /// The rest of the header block is missing, and with it what it did to the table.
    fn drop_block(&mut self, direction: Direction, out: &mut Out<'_>) {
        if let Some(block) = self.block.take() {
            block.drop(direction, out);
            self.hpack.lose();
        }
    }
}
