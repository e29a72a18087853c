//! The story, a line per fact.

use std::io::{IsTerminal as _, stdout};

use super::checks::Check;
use super::items::Item;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";

/// Characters of a text that comes from outside.
const WIDTH: usize = 76;

/// Prints the story to standard output.
pub(crate) struct Story {
    colour: bool,
    steps: u32,
    /// Boot time of the first fact.
    start: Option<u64>,
}

impl Story {
    /// A story of which nothing is told.
    pub(crate) fn new() -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colour,
            steps: 0,
            start: None,
        }
    }

    /// Begins a step.
    pub(crate) fn heading(&mut self, text: &str) {
        self.steps += 1;
        println!("\n{}", self.paint(BOLD, &format!("{}. {text}", self.steps)));
    }

    /// A line that has no time.
    pub(crate) fn note(&self, who: &str, what: &str) {
        println!("         {who:<8} {what}");
    }

    /// Lines by themselves.
    pub(crate) fn paragraph(&self, text: &str) {
        println!("\n{text}");
    }

    /// What was expected and what was seen. Returns whether that is the same.
    pub(crate) fn table(&self, checks: &[Check]) -> bool {
        let width = checks
            .iter()
            .map(|check| check.expected.chars().count())
            .max()
            .unwrap_or(0);
        for check in checks {
            let (mark, colour) = if check.passed {
                ("✓", GREEN)
            } else {
                ("✗", RED)
            };
            println!(
                "  {} {:<width$}  {}",
                self.paint(colour, mark),
                check.expected,
                check.seen
            );
        }
        let missing = checks.iter().filter(|check| !check.passed).count();
        if missing > 0 {
            println!(
                "\n{}",
                self.paint(RED, &format!("{missing} of {} were not seen", checks.len()))
            );
        }
        missing == 0
    }

    /// Tells a fact, if a person would want to read it.
    pub(crate) fn tell(&mut self, item: &Item) {
        let start = *self.start.get_or_insert(item.time());
        let Some(line) = (if item.text("/event").is_empty() {
            self.record(item)
        } else {
            self.event(item)
        }) else {
            return;
        };
        let milliseconds = item.time().saturating_sub(start) / 1_000_000;
        let time = format!("{:>3}.{:03}", milliseconds / 1000, milliseconds % 1000);
        println!("{}  {line}", self.paint(DIM, &time));
    }

    fn event(&self, item: &Item) -> Option<String> {
        let text = short(item.text("/text"));
        let (who, line) = match item.text("/event") {
            "prompt" => ("user", text),
            "thought" | "answer" => ("model", text),
            "call" => {
                let argument = short(item.text("/argument"));
                ("agent", format!("{}: {argument}", item.text("/tool")))
            }
            "receiving" => ("agent", format!("receives {}", item.text("/url"))),
            "result" => ("agent", format!("gets: {text}")),
            _ => return None,
        };
        Some(format!("{} {line}", self.paint(BLUE, &format!("{who:<8}"))))
    }

    fn record(&self, item: &Item) -> Option<String> {
        let kind = item.kind();
        let what = match kind {
            "connect" | "packet" | "reset" => item.destination(),
            "socket" => format!("{} socket", item.text("/socket/kind")),
            "exec" if item.text("/actor/process/name") == "nsenter" => return None,
            "exec" => short(without_directory(item.text("/actor/process/cmd_line"))),
            "api" if !item.attribute("gen_ai.output.messages").is_empty() => short(&format!(
                "{} -> {}",
                short(&item.said("gen_ai.input.messages")),
                item.said("gen_ai.output.messages")
            )),
            "gap" => format!("{} events lost", item.number("/gap/count").unwrap_or(0)),
            "workload" | "policy" | "agent" => {
                let part = |name| item.text(&format!("/lifecycle/{name}"));
                format!(
                    "{} {}: {}",
                    part("activity"),
                    part("subject"),
                    part("detail")
                )
            }
            // Every process that starts a program was created, and ends; told would be noise.
            _ => return None,
        };
        // That a command is allowed goes without saying.
        let silent = kind == "exec" && item.result() == "allow";
        let result = if silent { "" } else { item.result() };
        let mut line = format!("hoop     {} {kind:<8} {what}", self.verdict(result));
        let lineage = item.lineage();
        if !lineage.is_empty() {
            line.push_str(&format!("  {}", self.paint(DIM, &lineage)));
        }
        let (rule, because) = (item.text("/verdict/rule"), item.text("/verdict/because"));
        if !rule.is_empty() && !silent {
            line.push_str(&format!("  by {rule}"));
        }
        if !because.is_empty() {
            line.push_str(&format!(": {because}"));
        }
        Some(line)
    }

    fn verdict(&self, result: &str) -> String {
        match result {
            "allow" => self.paint(GREEN, "allow "),
            "deny" => self.paint(RED, "DENY  "),
            "shadow" => self.paint(YELLOW, "shadow"),
            _ => "      ".to_owned(),
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A command line without the directory of its program.
fn without_directory(command: &str) -> &str {
    let program = command.find(' ').unwrap_or(command.len());
    let name = command[..program].rfind('/').map_or(0, |slash| slash + 1);
    &command[name..]
}

/// One line of bounded width, with nothing in it that a terminal would obey.
fn short(text: &str) -> String {
    let line: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let line: String = line
        .join(" | ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if line.chars().count() <= WIDTH {
        return line;
    }
    let cut: String = line.chars().take(WIDTH - 3).collect();
    format!("{cut}...")
}
