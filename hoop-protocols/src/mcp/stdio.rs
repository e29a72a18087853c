//! MCP over pipes: a message a line (Model Context Protocol, "Transports", "stdio").

use super::call::{Call, Side, Transport};
use super::jsonrpc::is_jsonrpc;
use super::session::{Limits, Session};
use crate::genai::Issue;
use crate::genai::json;
use crate::genai::lines::Lines;

/// A pipe to a process and one from it, that may carry MCP.
///
/// Nothing is kept of a pipe that is none of MCP's: a direction is judged by its first line, which
/// has to be a JSON-RPC 2.0 message, or a batch. If one direction is MCP's, the
/// other is too, and what is no message in it (programs print banners) is an [`Issue`].
#[derive(Debug)]
pub struct Stdio {
    client: Direction,
    server: Direction,
    session: Session,
}

#[derive(Debug)]
struct Direction {
    lines: Lines,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No line is complete yet.
    Open,
    Mcp,
    /// Not MCP's by itself. `line`: the next byte begins a line.
    Other {
        line: bool,
    },
}

impl Stdio {
    /// A pair of pipes of which nothing is known.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let direction = || Direction {
            lines: Lines::new(limits.message),
            verdict: Verdict::Open,
        };
        Self {
            client: direction(),
            server: direction(),
            session: Session::new(Transport::Pipe, limits),
        }
    }

    /// More of what one side wrote; `f` gets the calls that it ends. The server is the process
    /// whose standard input and output the pipes are.
    pub fn push(&mut self, from: Side, bytes: &[u8], mut f: impl FnMut(Call)) {
        let trusted = self.direction(from.other()).verdict == Verdict::Mcp;
        let Self {
            client,
            server,
            session,
        } = self;
        let Direction { lines, verdict } = match from {
            Side::Client => client,
            Side::Server => server,
        };
        let ends_line = bytes.ends_with(b"\n");
        let bytes = match *verdict {
            Verdict::Open if lines.is_empty() => bytes.trim_ascii_start(),
            Verdict::Other { line } => next_line(line, bytes),
            Verdict::Open | Verdict::Mcp => bytes,
        };
        let Some(first) = bytes.first() else {
            if let Verdict::Other { line } = verdict {
                *line |= ends_line;
            }
            return;
        };
        let hopeless = *verdict == Verdict::Open
            && lines.is_empty()
            && !trusted
            && !matches!(first, b'{' | b'[');
        if hopeless || (matches!(verdict, Verdict::Other { .. }) && !trusted) {
            *verdict = Verdict::Other { line: ends_line };
            return;
        }
        if matches!(verdict, Verdict::Other { .. }) {
            *verdict = Verdict::Mcp;
        }
        lines.push(bytes, |line| {
            read_line(line, from, trusted, verdict, session, &mut f);
        });
        match verdict {
            Verdict::Other { line } => {
                *line = ends_line;
                lines.clear();
            }
            Verdict::Mcp if lines.take_truncated() => session.note(truncated(from)),
            _ => {}
        }
    }

    /// Whether it is known to be MCP; `None`: neither direction has a line yet.
    #[must_use]
    pub fn is_mcp(&self) -> Option<bool> {
        match (self.client.verdict, self.server.verdict) {
            (Verdict::Mcp, _) | (_, Verdict::Mcp) => Some(true),
            (Verdict::Open, Verdict::Open) => None,
            _ => Some(false),
        }
    }

    /// Bytes of one direction are missing: what is unfinished in it is passed over.
    pub fn gap(&mut self, from: Side) {
        let direction = self.direction(from);
        let begun = !direction.lines.is_empty();
        direction.lines.pass();
        match &mut direction.verdict {
            Verdict::Other { line } => *line = false,
            Verdict::Open if !begun => {}
            Verdict::Mcp | Verdict::Open => self.session.note(Issue::Incomplete),
        }
    }

    /// To be called now and then: tells the answers whose requests did not come since the last time. Who reads the
    /// two pipes may see an answer first.
    pub fn settle(&mut self, mut f: impl FnMut(Call)) {
        self.session.settle(&mut f);
    }

    /// Both ended: tells the requests that still wait.
    pub fn end(&mut self, mut f: impl FnMut(Call)) {
        self.session.end(&mut f);
    }

    fn direction(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// What of the bytes begins with a line, if `line` they all do.
fn next_line(line: bool, bytes: &[u8]) -> &[u8] {
    let next = match bytes.iter().position(|byte| *byte == b'\n') {
        _ if line => 0,
        Some(end) => end + 1,
        None => bytes.len(),
    };
    &bytes[next..]
}

fn read_line(
    line: &[u8],
    from: Side,
    trusted: bool,
    verdict: &mut Verdict,
    session: &mut Session,
    f: &mut dyn FnMut(Call),
) {
    if line.trim_ascii().is_empty() || matches!(verdict, Verdict::Other { .. }) {
        return;
    }
    let (json, notes) = json::read(line);
    if *verdict == Verdict::Open {
        let is_message = !notes.cut && !notes.malformed && is_jsonrpc(&json);
        *verdict = if is_message || trusted {
            Verdict::Mcp
        } else {
            Verdict::Other { line: true }
        };
    }
    if *verdict == Verdict::Mcp {
        session.document(from, &json, notes, f);
    }
}

fn truncated(from: Side) -> Issue {
    match from {
        Side::Client => Issue::RequestTruncated,
        Side::Server => Issue::ResponseTruncated,
    }
}
