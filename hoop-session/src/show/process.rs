//! Processes, and where they connected.

use std::collections::HashMap;
use std::io::{self, Write};

use super::{BOLD, DIM, GREEN, MAX_LISTED, Tree, WIDTH};
use crate::session::{Connection, Link, Process};
use crate::text::line;

impl<W: Write> Tree<'_, W> {
    pub(super) fn link(&mut self, link: &Link) -> io::Result<()> {
        let sure = match link.joined_by.as_str() {
            "command" => "runs the command",
            "program" => "runs a program that it names",
            "mcp" => "calls the tool by MCP",
            "time" => "began at that time: no more than a guess",
            other => other,
        };
        let how = self.paint(
            DIM,
            &format!("[{}, {:.2} sure]", line(sure, 60), link.confidence),
        );
        if let Some(request) = link
            .request
            .and_then(|request| self.session.requests.get(request))
        {
            let by = line(&self.session.process_name(link.process), 60);
            return writeln!(
                self.out,
                "│  ├─ asks {} from {by} {how}",
                line(&request.summary, WIDTH)
            );
        }
        match link.process {
            Some(process) => {
                self.process(process, "│  ├─ ", "│  │  ", &how)?;
                self.more("│  │  ")
            }
            None => writeln!(
                self.out,
                "│  ├─ a process whose records are not there {how}"
            ),
        }
    }

    /// A process, what was judged of it, and those below it.
    fn process(&mut self, index: usize, lead: &str, below: &str, note: &str) -> io::Result<()> {
        let session = self.session;
        let Some(process) = session.processes.get(index) else {
            return Ok(());
        };
        if !self.shown.insert(index) {
            return Ok(());
        }
        if self.left == 0 {
            self.skipped += 1;
            return Ok(());
        }
        self.left -= 1;
        let ended = if process.ended.is_empty() {
            ""
        } else {
            &process.ended
        };
        let ended = self.paint(DIM, &format!("pid {} {ended}", process.pid));
        writeln!(
            self.out,
            "{lead}runs {} {ended} {note}",
            line(&command(process), WIDTH)
        )?;
        for program in &process.programs[..process.programs.len().saturating_sub(1)] {
            writeln!(
                self.out,
                "{below}{} {}",
                self.paint(DIM, "ran before"),
                line(&program.cmd_line, WIDTH)
            )?;
        }
        for denial in session.denials.iter().filter(|denial| {
            denial.process == Some(index)
                && !matches!(denial.kind.as_str(), "connect" | "packet" | "reset")
        }) {
            let text = self.denial(denial);
            writeln!(self.out, "{below}├─ {text}")?;
        }
        self.connections(index, below, |_| true)?;
        for child in session.children(index) {
            self.process(child, &format!("{below}├─ "), &format!("{below}│  "), "")?;
        }
        Ok(())
    }

    /// Says how many processes were left out, and begins to count anew.
    fn more(&mut self, lead: &str) -> io::Result<()> {
        self.left = MAX_LISTED;
        match std::mem::take(&mut self.skipped) {
            0 => Ok(()),
            skipped => {
                let text = format!("… and {skipped} more, with those below them");
                writeln!(self.out, "{lead}└─ {}", self.paint(DIM, &text))
            }
        }
    }

    /// Where a process connected: each destination and verdict once.
    pub(super) fn connections(
        &mut self,
        process: usize,
        lead: &str,
        which: impl Fn(&Connection) -> bool,
    ) -> io::Result<()> {
        let session = self.session;
        let mine = session.connections.iter();
        let mine =
            mine.filter(|connection| connection.process == Some(process) && which(connection));
        let key = |connection: &Connection| {
            let Connection {
                destination,
                result,
                rule,
                kind,
                ..
            } = connection;
            (
                destination.clone(),
                result.clone(),
                rule.clone(),
                kind.clone(),
            )
        };
        let mut counts: HashMap<_, usize> = HashMap::new();
        let mut seen: Vec<&Connection> = Vec::new();
        for connection in mine {
            let count = counts.entry(key(connection)).or_default();
            *count += 1;
            if *count == 1 {
                seen.push(connection);
            }
        }
        let more = seen.len().saturating_sub(MAX_LISTED);
        for connection in seen.into_iter().take(MAX_LISTED) {
            let count = counts[&key(connection)];
            let times = if count > 1 {
                format!(" ×{count}")
            } else {
                String::new()
            };
            let what = match connection
                .denial
                .and_then(|denial| session.denials.get(denial))
            {
                Some(denial) => self.denial(denial),
                None => format!(
                    "{} {} {}",
                    line(&connection.kind, 20),
                    line(&connection.destination, WIDTH),
                    self.paint(
                        GREEN,
                        &line(
                            &format!("{} by {}", connection.result, connection.rule),
                            WIDTH
                        )
                    ),
                ),
            };
            writeln!(self.out, "{lead}├─ {what}{times}")?;
        }
        if more > 0 {
            writeln!(
                self.out,
                "{lead}├─ {}",
                self.paint(DIM, &format!("… and {more} more connections"))
            )?;
        }
        Ok(())
    }

    /// Processes that carried out no call that is known.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        let all = self.session.processes.iter().enumerate();
        let roots: Vec<usize> = all
            .filter(|(index, process)| {
                let parent = process.parent;
                !self.shown.contains(index)
                    && parent.is_none_or(|parent| self.shown.contains(&parent))
            })
            .map(|(index, _)| index)
            .collect();
        if roots.is_empty() {
            return Ok(());
        }
        writeln!(
            self.out,
            "\n{}",
            self.paint(BOLD, "processes of no known call")
        )?;
        for root in roots {
            self.process(root, "├─ ", "│  ", "")?;
        }
        self.more("")
    }
}

/// What a process runs, or is.
fn command(process: &Process) -> String {
    if process.cmd_line.is_empty() {
        return process.path.clone();
    }
    let cut = if process.cmd_line_truncated {
        " …"
    } else {
        ""
    };
    format!("{}{cut}", process.cmd_line)
}
