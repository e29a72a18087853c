//! Server-sent events: WHATWG HTML section 9.2.6, "Interpreting an event stream".

use memchr::memchr2;

use crate::ServerSentEvent;
use crate::out::{Memory, Reservation};

/// The state of one event stream.
#[derive(Debug, Default)]
pub(crate) struct Sse {
    /// The line that is not at its end yet.
    line: Vec<u8>,
    /// This line is longer than what is kept.
    line_cut: bool,
    event: Vec<u8>,
    data: Vec<u8>,
    /// There was a `data` field, perhaps an empty one.
    has_data: bool,
    id: Vec<u8>,
    /// Some of this event was left out.
    cut: bool,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    mark: Mark,
    granted: Option<Reservation>,
}

/// Whether a byte order mark may come.
#[derive(Debug, Default)]
enum Mark {
    #[default]
    Start,
    Passed,
}

/// What a stream may keep without asking.
const FREE: usize = 16 << 10;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Sse {
    /// How much may be kept of an event while so many bytes are taken: `limit`, as long as memory is
    /// left for that, which all streams of a connection share.
    pub fn grant(&mut self, incoming: usize, limit: usize, memory: &Memory) -> usize {
        if limit <= FREE || self.held().saturating_add(incoming) <= FREE {
            return limit;
        }
        if self.granted.is_none() {
            // A line and an event.
            self.granted = memory.reserve(limit.saturating_mul(2)).ok();
        }
        if self.granted.is_some() { limit } else { FREE }
    }

    /// Gives back what is not needed between pieces of the stream.
    pub fn settle(&mut self) {
        if self.held() <= FREE {
            self.granted = None;
        }
    }

    fn held(&self) -> usize {
        self.line.len() + self.event.len() + self.data.len() + self.id.len()
    }

    /// Takes more of the stream. `limit` bounds what is kept of a line and of an event.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        limit: usize,
        emit: &mut dyn FnMut(ServerSentEvent<'_>),
    ) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr2(b'\r', b'\n', bytes) else {
                self.keep(bytes, limit);
                return;
            };
            self.after_cr = bytes[end] == b'\r';
            if self.line.is_empty() && !self.line_cut {
                // The common case: the line is in the input whole.
                self.line(&bytes[..end], limit, emit);
            } else {
                self.keep(&bytes[..end], limit);
                let line = std::mem::take(&mut self.line);
                self.cut |= std::mem::take(&mut self.line_cut);
                self.line(&line, limit, emit);
                self.line = line;
                self.line.clear();
                self.line.shrink_to(FREE);
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// Says that bytes of the stream were lost.
    pub fn lose(&mut self) {
        self.cut = true;
    }

    /// Ends the stream: an event that no blank line has ended is told as incomplete.
    pub fn end(&mut self, limit: usize, emit: &mut dyn FnMut(ServerSentEvent<'_>)) {
        self.cut = true;
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.line(&line, limit, emit);
        }
        self.dispatch(emit);
    }

    fn keep(&mut self, bytes: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.line.len());
        self.line_cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self, line: &[u8], limit: usize, emit: &mut dyn FnMut(ServerSentEvent<'_>)) {
        let line = match std::mem::replace(&mut self.mark, Mark::Passed) {
            Mark::Start => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            Mark::Passed => line,
        };
        if line.is_empty() {
            return self.dispatch(emit);
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match name {
            b"event" => {
                self.event.clear();
                let room = limit.saturating_sub(self.data.len() + self.id.len());
                self.cut |= append(&mut self.event, value, room);
            }
            b"data" => {
                let room = limit
                    .saturating_sub(self.event.len() + self.id.len())
                    .saturating_sub(self.data.len());
                if self.has_data && room > 0 {
                    self.data.push(b'\n');
                }
                let room = room.saturating_sub(usize::from(self.has_data));
                self.has_data = true;
                self.cut |= append(&mut self.data, value, room);
            }
            b"id" if !value.contains(&0) => {
                self.id.clear();
                let room = limit.saturating_sub(self.event.len() + self.data.len());
                self.cut |= append(&mut self.id, value, room);
            }
            // `retry`, comments, and fields that do not exist.
            _ => {}
        }
    }

    fn dispatch(&mut self, emit: &mut dyn FnMut(ServerSentEvent<'_>)) {
        let complete = !std::mem::take(&mut self.cut);
        if std::mem::take(&mut self.has_data) {
            let event = if self.event.is_empty() {
                &b"message"[..]
            } else {
                &self.event
            };
            emit(ServerSentEvent {
                event,
                data: &self.data,
                id: &self.id,
                complete,
            });
        }
        self.event.clear();
        self.data.clear();
        self.data.shrink_to(FREE);
    }
}

/// Appends what there is room for; whether that was less than all.
fn append(to: &mut Vec<u8>, bytes: &[u8], room: usize) -> bool {
    to.extend_from_slice(&bytes[..bytes.len().min(room)]);
    bytes.len() > room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(stream: &[u8], cut: usize, limit: usize) -> Vec<(String, String, String, bool)> {
        let mut sse = Sse::default();
        let mut seen = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut emit = |it: ServerSentEvent<'_>| {
            seen.push((text(it.event), text(it.data), text(it.id), it.complete));
        };
        for piece in stream.chunks(cut) {
            sse.push(piece, limit, &mut emit);
        }
        sse.end(limit, &mut emit);
        seen
    }

    fn event(event: &str, data: &str, id: &str, complete: bool) -> (String, String, String, bool) {
        (event.into(), data.into(), id.into(), complete)
    }

    #[test]
    fn reads_what_the_standard_shows() {
        let stream =
            b"\xef\xbb\xbfdata: YHOO\ndata: +2\r\ndata:10\r\r: comment\nevent: add\nid: 1\n\
            data: 7\n\ndata\n\ndata\ndata\n\nid\ndata:  x\n\nevent: none\n\nretry: 5\ndata: end";
        let expected = vec![
            event("message", "YHOO\n+2\n10", "", true),
            event("add", "7", "1", true),
            event("message", "", "1", true),
            event("message", "\n", "1", true),
            event("message", " x", "", true),
            event("message", "end", "", false),
        ];
        for cut in 1..stream.len() {
            assert_eq!(events(stream, cut, 1000), expected, "cut {cut}");
        }
    }

    #[test]
    fn keeps_no_more_than_the_limit() {
        let mut stream = b"data: 1234567890\ndata: 1234567890\n\n".to_vec();
        stream.extend_from_slice(b"data: ok\n\n");
        stream.extend_from_slice(&[b'x'; 100]);
        stream.extend_from_slice(b"\n\ndata: ok\n\n");
        for cut in 1..stream.len() {
            let seen = events(&stream, cut, 16);
            assert_eq!(
                seen,
                [
                    event("message", "1234567890\n12345", "", false),
                    event("message", "ok", "", true),
                    event("message", "ok", "", true)
                ],
                "cut {cut}"
            );
        }
    }
}
