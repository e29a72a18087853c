//! A session as a tree that a person can read on a terminal.

mod process;

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::session::{Call, Denial, Said, Session, Time, Turn};
use crate::text::{line, lines};

/// Characters of a line that comes from outside, and lines of a text.
const WIDTH: usize = 160;
const LINES: usize = 12;

/// Processes below one call or the agent that are listed, and connections of one process.
const MAX_LISTED: usize = 40;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// Writes the tree: who asked, each turn with what was said, the tools that it called, what ran for them, where
/// that connected, what was denied by which rule and why; then what no call is known for, and what is missing.
/// Nothing from a record drives the terminal: control characters are escaped, long texts cut with the count.
///
/// # Errors
///
/// The writer's.
pub fn show(session: &Session, out: &mut impl Write, colour: bool) -> io::Result<()> {
    let mut tree = Tree {
        session,
        out,
        colour,
        shown: BTreeSet::new(),
        left: MAX_LISTED,
        skipped: 0,
    };
    tree.header()?;
    for (index, turn) in session.turns.iter().enumerate() {
        tree.turn(index, turn)?;
    }
    tree.rest()?;
    tree.denials()?;
    tree.missing()
}

/// The difference of two times, for a person.
#[must_use]
pub fn elapsed(from: Time, to: Time) -> String {
    duration(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}

/// Nanoseconds, for a person.
#[must_use]
pub fn duration(ns: u64) -> String {
    let ms = ns / 1_000_000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms / 100 % 10),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// The time of day, in UTC.
#[must_use]
pub fn clock(time: Time) -> String {
    let text = hoop_records::Rfc3339(time.0).to_string();
    text.get(11..23).unwrap_or_default().to_owned()
}

struct Tree<'a, W> {
    session: &'a Session,
    out: &'a mut W,
    colour: bool,
    /// Processes that were told of.
    shown: BTreeSet<usize>,
    /// Processes that may still be listed here, and how many were not.
    left: usize,
    skipped: usize,
}

impl<W: Write> Tree<'_, W> {
    fn header(&mut self) -> io::Result<()> {
        let session = self.session;
        let agent = session
            .processes
            .first()
            .map_or("", |agent| &agent.cmd_line);
        let unknown = |text: &str| {
            if text.is_empty() {
                "not known".to_owned()
            } else {
                line(text, WIDTH)
            }
        };
        writeln!(
            self.out,
            "{} {}",
            self.paint(BOLD, "session"),
            self.paint(BOLD, &unknown(&session.uid))
        )?;
        let day = hoop_records::Rfc3339(session.start.0).to_string();
        let when = format!(
            "{} {} to {} UTC ({})",
            day.get(..10).unwrap_or_default(),
            clock(session.start),
            clock(session.end),
            elapsed(session.start, session.end)
        );
        let modes = session.modes.join(", then ");
        let modes = if modes.is_empty() {
            modes
        } else {
            format!(" ({})", line(&modes, WIDTH))
        };
        for (name, value) in [
            ("asked by", unknown(&session.on_behalf_of)),
            ("identity", unknown(&session.identity)),
            ("agent", unknown(agent)),
            ("policy", format!("{}{modes}", unknown(&session.policy))),
            ("cgroup", unknown(&session.cgroup)),
            ("models", unknown(&session.models.join(", "))),
            ("time", when),
            (
                "records",
                format!(
                    "{} to {} of the audit log",
                    session.records.0, session.records.1
                ),
            ),
            ("trace", session.trace_id.to_string()),
        ] {
            writeln!(
                self.out,
                "  {} {value}",
                self.paint(DIM, &format!("{name:<9}"))
            )?;
        }
        let counts = [
            counted(session.turns.len(), "turn"),
            counted(session.calls(), "tool call"),
            counted(session.processes.len(), "process"),
            counted(session.connections.len(), "connection"),
        ];
        let denied = format!("{} denied", session.denied());
        let denied = if session.denied() > 0 {
            self.paint(RED, &denied)
        } else {
            denied
        };
        writeln!(self.out, "  {}, {denied}", counts.join(", "))
    }

    fn turn(&mut self, index: usize, turn: &Turn) -> io::Result<()> {
        let tokens = match (turn.input_tokens, turn.output_tokens) {
            (Some(input), Some(output)) => format!(", {input} tokens in, {output} out"),
            _ => String::new(),
        };
        let title = format!("turn {}", index + 1);
        writeln!(
            self.out,
            "\n{}  {} {}",
            self.paint(DIM, &clock(turn.start)),
            self.paint(BOLD, &title),
            self.paint(
                DIM,
                &line(
                    &format!(
                        "{} ({}) at {}, {}{tokens}",
                        turn.model,
                        turn.provider,
                        turn.destination,
                        elapsed(turn.start, turn.end)
                    ),
                    WIDTH
                )
            ),
        )?;
        if turn.history > 0 {
            let text = format!("{} told before", counted(turn.history, "message"));
            writeln!(self.out, "│ {}", self.paint(DIM, &text))?;
        }
        // Results stand with their calls, if these are known.
        for said in &turn.input {
            if said.kind != "tool_call_response" || !self.is_answer(said, index) {
                self.said(&said.role, said)?;
            }
        }
        for said in &turn.output {
            self.said("model", said)?;
        }
        if !turn.error.is_empty() {
            let text = format!(
                "error: {} (status {})",
                line(&turn.error, WIDTH),
                turn.status
            );
            writeln!(self.out, "│ {}", self.paint(RED, &text))?;
        }
        if !turn.incomplete.is_empty() {
            let text = format!("not whole: {}", line(&turn.incomplete.join("; "), WIDTH));
            writeln!(self.out, "│ {}", self.paint(YELLOW, &text))?;
        }
        if !turn.masked.is_empty() {
            let classes = turn
                .masked
                .iter()
                .map(|(class, count)| format!("{count} {class}"));
            let text = format!("masked: {}", classes.collect::<Vec<_>>().join(", "));
            writeln!(self.out, "│ {}", self.paint(DIM, &line(&text, WIDTH)))?;
        }
        for call in &turn.calls {
            self.call(call)?;
        }
        self.meanwhile(index, turn)
    }

    fn is_answer(&self, said: &Said, before: usize) -> bool {
        let turns = self.session.turns[..before].iter();
        let mut calls = turns.flat_map(|turn| &turn.calls);
        calls.any(|call| call.id == said.call && call.result.is_some())
    }

    fn said(&mut self, who: &str, said: &Said) -> io::Result<()> {
        let who = match said.kind.as_str() {
            "text" | "" => who.to_owned(),
            kind => format!("{who} ({kind})"),
        };
        let mut name = self.paint(CYAN, &format!("{:<9}", line(&who, 30)));
        for text in lines(&said.text, WIDTH, LINES) {
            writeln!(self.out, "│ {name} {text}")?;
            name = " ".repeat(9);
        }
        Ok(())
    }

    fn call(&mut self, call: &Call) -> io::Result<()> {
        let id = if call.id.is_empty() {
            String::new()
        } else {
            format!("  {}", line(&call.id, 60))
        };
        writeln!(
            self.out,
            "├─ {} {} {}{}",
            self.paint(BOLD, "calls"),
            self.paint(BOLD, &line(&call.tool, 60)),
            line(&call.arguments, WIDTH),
            self.paint(DIM, &id),
        )?;
        for link in &call.links {
            self.link(link)?;
        }
        if call.links.is_empty() {
            let text = "no process is known to have carried it out: the agent itself may have";
            writeln!(self.out, "│  ├─ {}", self.paint(DIM, text))?;
        }
        let Some(result) = &call.result else {
            return writeln!(self.out, "│  └─ {}", self.paint(DIM, "no result was sent"));
        };
        let title = if result.is_error { "failed" } else { "result" };
        let mut lead = format!("│  └─ {}", self.paint(CYAN, title));
        for text in lines(&result.text, WIDTH, LINES) {
            writeln!(self.out, "{lead} {text}")?;
            lead = "│           ".to_owned();
        }
        if result.text.trim().is_empty() {
            writeln!(self.out, "{lead} {}", self.paint(DIM, "(empty)"))?;
        }
        Ok(())
    }

    /// What the agent's own process did between the reply and the next request: order is all that joins it.
    fn meanwhile(&mut self, index: usize, turn: &Turn) -> io::Result<()> {
        let Some(process) = turn.process else {
            return Ok(());
        };
        let later = self.session.turns[index + 1..].iter();
        let until = later
            .filter(|later| later.process == turn.process)
            .map(|later| later.start)
            .min();
        let (from, until) = (turn.start, until.unwrap_or(self.session.end));
        let within = |time: Time| time >= from && time < until;
        let any = self
            .session
            .connections
            .iter()
            .any(|connection| connection.process == Some(process) && within(connection.time));
        let requests = self.session.requests.iter();
        let requests: Vec<_> = requests
            .filter(|request| request.process == Some(process) && within(request.time))
            .collect();
        if !any && requests.is_empty() {
            return Ok(());
        }
        let who = line(&self.session.process_name(Some(process)), 60);
        writeln!(
            self.out,
            "├─ {}",
            self.paint(DIM, &format!("meanwhile {who} itself"))
        )?;
        self.connections(process, "│  ", |connection| within(connection.time))?;
        for request in requests.iter().take(MAX_LISTED) {
            writeln!(
                self.out,
                "│  ├─ asks {} (status {})",
                line(&request.summary, WIDTH),
                request.status
            )?;
        }
        Ok(())
    }

    fn denials(&mut self) -> io::Result<()> {
        let session = self.session;
        if session.denials.is_empty() {
            return writeln!(self.out, "\n{}", self.paint(BOLD, "nothing was denied"));
        }
        writeln!(self.out, "\n{}", self.paint(BOLD, "denied"))?;
        for denial in &session.denials {
            let who = line(&session.process_name(denial.process), 60);
            let text = self.denial(denial);
            let record = self.paint(DIM, &format!("record {}", denial.number));
            writeln!(
                self.out,
                "  {}  {text}  {who}  {record}",
                self.paint(DIM, &clock(denial.time))
            )?;
        }
        Ok(())
    }

    fn missing(&mut self) -> io::Result<()> {
        let session = self.session;
        if session.gaps.is_empty() && session.coverage.is_empty() {
            return writeln!(
                self.out,
                "\nno events were lost while it ran, and no plaintext is known to be missing"
            );
        }
        writeln!(self.out, "\n{}", self.paint(BOLD, "missing"))?;
        for gap in &session.gaps {
            let text = format!(
                "{} lost on this node: {}",
                counted(gap.count as usize, "event"),
                gap.cause
            );
            writeln!(
                self.out,
                "  {}  {}",
                self.paint(DIM, &clock(gap.time)),
                self.paint(YELLOW, &line(&text, WIDTH))
            )?;
        }
        for uncovered in &session.coverage {
            let who = session.process_name(uncovered.process);
            let libraries = uncovered.libraries.join("; ");
            let text = format!(
                "plaintext of {who} not read: {} {libraries}",
                uncovered.reason
            );
            writeln!(
                self.out,
                "  {}  {}",
                self.paint(DIM, &clock(uncovered.time)),
                line(&text, WIDTH)
            )?;
        }
        Ok(())
    }

    fn denial(&self, denial: &Denial) -> String {
        let (word, colour) = match denial.result.as_str() {
            "deny" => ("DENIED", RED),
            _ => ("would be denied", YELLOW),
        };
        let because = if denial.because.is_empty() {
            String::new()
        } else {
            format!(", because: {}", denial.because)
        };
        let how = match denial.enforcement.as_str() {
            "" => String::new(),
            "failed" => " (and nothing stopped it)".to_owned(),
            how => format!(" ({})", line(how, 60)),
        };
        format!(
            "{} {} {} {}{}",
            line(&denial.kind, 20),
            line(&denial.subject, WIDTH),
            self.paint(colour, word),
            line(&format!("by {}{because}", denial.rule), WIDTH),
            self.paint(DIM, &how),
        )
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    match (count, what) {
        (1, _) => format!("1 {what}"),
        (_, "process") => format!("{count} processes"),
        _ => format!("{count} {what}s"),
    }
}
