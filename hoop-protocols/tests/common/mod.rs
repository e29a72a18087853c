//! Conversations, cut in any way, and what is told of them as lines of text.

#![expect(
    clippy::allow_attributes,
    reason = "not every test file uses all of this"
)]
#![allow(dead_code, reason = "not every test file uses all of this")]

use std::fmt::Write as _;

use hoop_protocols::{Connection, Direction, End, Event, Limits, Tally};

/// What happens on a connection, in order.
#[derive(Clone, Debug)]
pub enum Act {
    Say(Direction, Vec<u8>),
    Lose(Direction, u64),
}

pub use Direction::{Received, Sent};

/// What was told. Runs of the same kind are joined, as where they are cut means nothing.
#[derive(Default)]
pub struct Log {
    pub lines: Vec<String>,
    /// What the next part of a run would continue: its name, and what was joined so far.
    run: Option<(String, Run)>,
    /// Events of the body that is the run.
    events: Vec<String>,
    pub unreadable: [u64; 2],
    pub lost: [u64; 2],
    /// Told bytes of bodies and messages.
    pub told: u64,
}

enum Run {
    Bytes(Vec<u8>),
    Count(u64),
}

pub fn say(direction: Direction, bytes: impl AsRef<[u8]>) -> Act {
    Act::Say(direction, bytes.as_ref().to_vec())
}

/// Runs a conversation with every chunk cut into pieces of these sizes, over and over.
pub fn run(acts: &[Act], cuts: &[usize], limits: Limits) -> (Log, [Tally; 2]) {
    run_from(acts, cuts, limits, [0, 0])
}

/// As [`run`], from these offsets on.
pub fn run_from(
    acts: &[Act],
    cuts: &[usize],
    limits: Limits,
    start: [u64; 2],
) -> (Log, [Tally; 2]) {
    let mut log = Log::default();
    let mut connection = Connection::new(limits);
    let mut offsets = start;
    let mut cuts = cuts.iter().cycle().map(|cut| (*cut).max(1));
    for act in acts {
        match act {
            Act::Say(direction, bytes) => {
                let offset = &mut offsets[index(*direction)];
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let cut = cuts.next().unwrap_or(usize::MAX).min(rest.len());
                    connection.push(*direction, *offset, &rest[..cut], &mut |it| log.take(&it));
                    *offset += cut as u64;
                    rest = &rest[cut..];
                }
            }
            Act::Lose(direction, length) => {
                connection.gap(*direction, *length, &mut |it| log.take(&it));
                offsets[index(*direction)] += length;
            }
        }
    }
    connection.end(&mut |it| log.take(&it));
    log.flush();
    let tallies = [connection.tally(Sent), connection.tally(Received)];
    for (at, tally) in tallies.iter().enumerate() {
        assert_eq!(
            tally.pushed,
            tally.read + tally.unreadable,
            "{tally:?} {:#?}",
            log.lines
        );
        assert_eq!(tally.unreadable, log.unreadable[at]);
        assert_eq!(tally.lost, log.lost[at]);
    }
    (log, tallies)
}

/// The lines of a conversation that is not cut.
pub fn lines(acts: &[Act]) -> Vec<String> {
    run(acts, &[usize::MAX], Limits::default()).0.lines
}

/// Demands that every way of cutting tells the same, and gives the lines.
pub fn lines_of_every_cut(acts: &[Act], limits: Limits) -> Vec<String> {
    let whole = run(acts, &[usize::MAX], limits).0.lines;
    for cuts in [
        &[1][..],
        &[2],
        &[3],
        &[1, 7],
        &[5, 1, 1],
        &[13],
        &[100],
        &[4096, 1],
        &[4095],
    ] {
        assert_eq!(run(acts, cuts, limits).0.lines, whole, "cut by {cuts:?}");
    }
    whole
}

fn index(direction: Direction) -> usize {
    usize::from(direction == Received)
}

impl Log {
    pub fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::RequestBody { stream, bytes } => {
                self.bytes(format!("request body {stream}"), bytes);
            }
            Event::ResponseBody { stream, bytes } => {
                self.bytes(format!("response body {stream}"), bytes);
            }
            Event::Unreadable {
                direction,
                stream,
                bytes,
                reason,
            } => {
                let stream = stream.map_or(String::new(), |it| format!(" in {it}"));
                let name = format!("unreadable {direction:?}{stream} {reason:?}");
                match reason {
                    hoop_protocols::Reason::Lost => self.lost[index(*direction)] += bytes,
                    _ => self.unreadable[index(*direction)] += bytes,
                }
                self.count(name, *bytes);
            }
            Event::Sse { .. } => self.events.push(line(event)),
            other => {
                self.flush();
                self.lines.push(line(other));
            }
        }
    }

    fn bytes(&mut self, name: String, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        self.told += bytes.len() as u64;
        match &mut self.run {
            Some((run, Run::Bytes(joined))) if *run == name => joined.extend_from_slice(bytes),
            _ => {
                self.flush();
                self.run = Some((name, Run::Bytes(bytes.to_vec())));
            }
        }
    }

    fn count(&mut self, name: String, count: u64) {
        match &mut self.run {
            Some((run, Run::Count(sum))) if *run == name => *sum += count,
            _ => {
                self.flush();
                self.run = Some((name, Run::Count(count)));
            }
        }
    }

    pub fn flush(&mut self) {
        match self.run.take() {
            Some((name, Run::Bytes(bytes))) => self.lines.push(format!("{name}: {}", text(&bytes))),
            Some((name, Run::Count(count))) => self.lines.push(format!("{name}: {count}")),
            None => {}
        }
        self.lines.append(&mut self.events);
    }
}

/// Long text is told by its length and a sum.
fn text(bytes: &[u8]) -> String {
    if bytes.len() > 200 {
        let sum = bytes.iter().fold(0u64, |sum, byte| {
            sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte)
        });
        return format!("({} bytes, {sum:x})", bytes.len());
    }
    String::from_utf8_lossy(bytes).into_owned()
}

fn line(event: &Event<'_>) -> String {
    match event {
        Event::Protocol { protocol, role } => format!("protocol {protocol:?} {role:?}"),
        Event::Unknown { direction, first } => format!("unknown {direction:?} {first:?}"),
        Event::Request {
            direction,
            stream,
            head,
        } => {
            let mut line = format!(
                "request {stream} {direction:?} {:?} {}|{}|{}|{}",
                head.version, head.method, head.scheme, head.authority, head.path
            );
            if head.protocol.as_str().is_some() {
                let _ = write!(line, "|{}", head.protocol);
            }
            format!("{line} {:?}", head.headers)
        }
        Event::RequestEnd { stream, end } => format!("request end {stream} {}", ending(end)),
        Event::RequestTrailers { stream, trailers } => {
            format!("request trailers {stream} {trailers:?}")
        }
        Event::Interim {
            direction,
            stream,
            head,
        } => {
            format!(
                "interim {stream} {direction:?} {:?} {:?}",
                head.status, head.headers
            )
        }
        Event::Response {
            direction,
            stream,
            head,
        } => format!(
            "response {stream} {direction:?} {:?} {:?} {:?}",
            head.version, head.status, head.headers
        ),
        Event::ResponseEnd { stream, end } => format!("response end {stream} {}", ending(end)),
        Event::ResponseTrailers { stream, trailers } => {
            format!("response trailers {stream} {trailers:?}")
        }
        Event::Sse { stream, event } => format!(
            "sse {stream} {}|{}|{} {}",
            text(event.event),
            text(event.data),
            text(event.id),
            event.complete
        ),
        Event::WebSocket {
            direction,
            stream,
            opcode,
            payload,
            complete,
        } => {
            format!(
                "websocket {stream} {direction:?} {opcode:?} {complete} {}",
                text(payload)
            )
        }
        other => format!("{other:?}"),
    }
}

fn ending(end: &End) -> String {
    let mut line = format!("{:?} {}", end.reason, end.told);
    if end.lost > 0 {
        let _ = write!(line, " lost {}", end.lost);
    }
    if let Some(cut) = end.cut {
        let _ = write!(line, " cut {cut:?}");
    }
    line
}
