//! The body of one message: content codings off, server-sent events told, bytes counted.

use crate::coding::{BLOCK, Chain};
use crate::out::Out;
use crate::sse::Sse;
use crate::{Direction, End, EndReason, Event, Headers, Reason};

/// Which of the two messages of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// A body that is under way.
#[derive(Debug)]
pub(crate) struct Body {
    kind: Kind,
    direction: Direction,
    stream: u64,
    coding: Coding,
    sse: Option<Box<Sse>>,
    told: u64,
    lost: u64,
    cut: Option<Reason>,
}

#[derive(Debug)]
enum Coding {
    /// None, or one that is not known.
    Plain,
    Coded {
        chain: Box<Chain>,
        /// Where in a block of the wire the next byte is, and so how many wait to be counted.
        position: usize,
    },
    /// What comes can not be decoded.
    Dead(Reason),
}

impl Body {
    /// `codings` are those of the transfer (RFC 9112 section 7), applied after those of the content.
    pub fn new(
        kind: Kind,
        direction: Direction,
        stream: u64,
        headers: &Headers,
        codings: &[String],
        out: &Out<'_>,
    ) -> Self {
        let content = headers
            .all("content-encoding")
            .filter_map(|value| str::from_utf8(value).ok());
        let content = content.flat_map(|value| value.split(',').map(str::trim));
        let codings = content.chain(codings.iter().map(String::as_str));
        let (coding, cut) = match Chain::new(codings, out.limits, out.memory) {
            Ok(None) => (Coding::Plain, None),
            Ok(Some(chain)) => (
                Coding::Coded {
                    chain: Box::new(chain),
                    position: 0,
                },
                None,
            ),
            Err(Reason::UnknownCoding) => (Coding::Plain, Some(Reason::UnknownCoding)),
            Err(reason) => (Coding::Dead(reason), Some(reason)),
        };
        let event_stream = kind == Kind::Response
            && headers.get("content-type").is_some_and(|value| {
                let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
                essence
                    .trim_ascii()
                    .eq_ignore_ascii_case(b"text/event-stream")
            });
        let sse = event_stream.then(Box::default);
        Self {
            kind,
            direction,
            stream,
            coding,
            sse,
            told: 0,
            lost: 0,
            cut,
        }
    }

    pub fn stream(&self) -> u64 {
        self.stream
    }

    /// Takes bytes as they were on the wire, framing off.
    pub fn write(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        match &mut self.coding {
            Coding::Plain => self.write_plain(bytes, out),
            Coding::Coded { .. } => self.write_coded(bytes, out),
            Coding::Dead(reason) => {
                out.unreadable(
                    self.direction,
                    Some(self.stream),
                    bytes.len() as u64,
                    *reason,
                );
            }
        }
    }

    /// Says that so many bytes on the wire were lost; `None`: nobody knows how many.
    pub fn lose(&mut self, bytes: Option<u64>, out: &mut Out<'_>) {
        self.lost = self.lost.saturating_add(bytes.unwrap_or_default());
        self.cut.get_or_insert(Reason::Lost);
        if let Coding::Coded { position, .. } = self.coding {
            out.read(self.direction, position);
            self.coding = Coding::Dead(Reason::NotFromStart);
        }
        if let Some(sse) = &mut self.sse {
            sse.lose();
        }
    }

    /// Ends it.
    pub fn end(mut self, reason: EndReason, out: &mut Out<'_>) {
        if let Coding::Coded { chain, position } = &self.coding {
            out.read(self.direction, *position);
            if !chain.finished() {
                self.cut.get_or_insert(Reason::BrokenCoding);
            }
        }
        let (stream, limit) = (self.stream, out.limits.sse_event);
        if let Some(sse) = &mut self.sse {
            sse.end(limit, &mut |event| out.emit(Event::Sse { stream, event }));
        }
        let end = End {
            reason,
            told: self.told,
            lost: self.lost,
            cut: self.cut,
        };
        out.emit(match self.kind {
            Kind::Request => Event::RequestEnd { stream, end },
            Kind::Response => Event::ResponseEnd { stream, end },
        });
    }

    fn write_plain(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        let room = usize::try_from(out.limits.body - self.told).unwrap_or(usize::MAX);
        let (kept, beyond) = bytes.split_at(bytes.len().min(room));
        out.read(self.direction, kept.len());
        self.tell(kept, out);
        if !beyond.is_empty() {
            self.cut.get_or_insert(Reason::TooLong);
            let count = beyond.len() as u64;
            out.unreadable(self.direction, Some(self.stream), count, Reason::TooLong);
        }
    }

    fn write_coded(&mut self, mut bytes: &[u8], out: &mut Out<'_>) {
        while !bytes.is_empty() {
            let Coding::Coded { chain, position } = &mut self.coding else {
                return self.write(bytes, out);
            };
            let (block, rest) = bytes.split_at(bytes.len().min(BLOCK - *position));
            let waiting = *position + block.len();
            let (kind, stream, sse, told) = (self.kind, self.stream, &mut self.sse, &mut self.told);
            let result = chain.decode(block, &mut |decoded| {
                tell(kind, stream, sse, told, decoded, out);
                Ok(())
            });
            match result {
                Ok(()) if waiting == BLOCK => {
                    *position = 0;
                    out.read(self.direction, BLOCK);
                }
                Ok(()) => *position = waiting,
                Err(reason) => {
                    // The block in which decoding failed counts as not read, wherever in it that was.
                    self.cut.get_or_insert(reason);
                    self.coding = Coding::Dead(reason);
                    out.unreadable(self.direction, Some(stream), waiting as u64, reason);
                }
            }
            bytes = rest;
        }
    }

    fn tell(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        tell(
            self.kind,
            self.stream,
            &mut self.sse,
            &mut self.told,
            bytes,
            out,
        );
    }
}

fn tell(
    kind: Kind,
    stream: u64,
    sse: &mut Option<Box<Sse>>,
    told: &mut u64,
    bytes: &[u8],
    out: &mut Out<'_>,
) {
    if bytes.is_empty() {
        return;
    }
    *told += bytes.len() as u64;
    out.emit(match kind {
        Kind::Request => Event::RequestBody { stream, bytes },
        Kind::Response => Event::ResponseBody { stream, bytes },
    });
    if let Some(sse) = sse {
        let limit = sse.grant(bytes.len(), out.limits.sse_event, out.memory);
        sse.push(bytes, limit, &mut |event| {
            out.emit(Event::Sse { stream, event });
        });
        sse.settle();
    }
}
