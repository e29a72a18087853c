//! `session`: what agents did.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use hoop_records::{Record, Rfc3339};
use hoop_session::{Row, Session, export, list, replay, show, text};

use super::{DONE, Format, Output, print};
use crate::{audit::read, config::DEFAULT_STATE_DIR};

/// Characters of a cell.
const WIDTH: usize = 40;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The sessions in the log
    List {
        #[command(flatten)]
        log: Log,
        #[command(flatten)]
        output: Output,
    },
    /// One session as a tree: who asked, what was said, which tools were called, what ran, what was denied
    Show {
        #[command(flatten)]
        session: Named,
        #[command(flatten)]
        output: Output,
    },
    /// Play a session in time on the terminal
    Replay(Named),
    /// Write a session for other programs
    Export {
        #[command(flatten)]
        session: Named,
        /// What it is written as
        #[arg(long, value_enum, default_value = "html")]
        format: As,
        /// Where to, instead of standard output
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// The daemon's state directory, or a copy of it
    #[arg(long, default_value = DEFAULT_STATE_DIR, value_name = "DIR")]
    state_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The session's id, from `session list`, or as much of it as no other begins with
    session: String,
    #[command(flatten)]
    log: Log,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum As {
    /// One page that needs no network
    Html,
    /// The session as JSON
    Json,
    /// OpenTelemetry traces, as OTLP/JSON
    Otlp,
}

pub(super) fn run(command: Command) -> Result<u8> {
    match command {
        Command::List { log, output } => {
            let rows = records(&log.state_dir, |records| list(records))?;
            print::show(&serde_json::to_value(&rows)?, output.output, |_| {
                table(&rows)
            })
        }
        Command::Show { session, output } => {
            let session = session.find()?;
            let mut out = BufWriter::new(io::stdout().lock());
            match output.output {
                Format::Json => export::json(&session, &mut out)?,
                Format::Table => show(&session, &mut out, io::stdout().is_terminal())?,
            }
            out.flush()?;
            Ok(DONE)
        }
        Command::Replay(session) => {
            if !io::stdout().is_terminal() {
                bail!("a replay needs a terminal: `session show` prints to anything");
            }
            replay::run(&session.find()?)?;
            Ok(DONE)
        }
        Command::Export {
            session,
            format,
            out,
        } => {
            let session = session.find()?;
            match out {
                Some(path) => File::create(&path)
                    .and_then(|file| write(&session, format, file))
                    .with_context(|| path.display().to_string())?,
                None => write(&session, format, io::stdout().lock())?,
            }
            Ok(DONE)
        }
    }
}

impl Named {
    fn find(&self) -> Result<Session> {
        let found = records(&self.log.state_dir, |records| {
            Session::find(records, &self.session)
        })?;
        found.context("`hoop-agent session list` shows which there are")
    }
}

fn write(session: &Session, format: As, out: impl io::Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    match format {
        As::Html => export::html(session, &mut out)?,
        As::Json => export::json(session, &mut out)?,
        As::Otlp => export::otlp(session, &mut out)?,
    }
    out.flush()
}

/// Gives every record that is kept to `work`.
fn records<T>(
    state_dir: &Path,
    work: impl FnOnce(&mut dyn Iterator<Item = Record>) -> T,
) -> Result<T> {
    let mut reader = read::open(state_dir, None)?;
    let mut failure = None;
    let mut next = || -> Result<Option<Record>> {
        Ok(match reader.read()? {
            Some(entry) => Some(Record::parse(entry.bytes)?),
            None => None,
        })
    };
    let result = work(&mut std::iter::from_fn(|| match next() {
        Ok(record) => record,
        Err(error) => {
            failure = Some(error);
            None
        }
    }));
    match failure {
        Some(error) => Err(error).context("the log cannot be read to its end"),
        None => Ok(result),
    }
}

fn table(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        [
            row.uid.clone(),
            Rfc3339(row.start.0).to_string(),
            text::line(&row.agent, WIDTH),
            text::line(&row.on_behalf_of, WIDTH),
            row.turns.to_string(),
            row.execs.to_string(),
            row.connections.to_string(),
            row.denied.to_string(),
        ]
    });
    print::table(
        [
            "SESSION",
            "START",
            "AGENT",
            "FOR",
            "TURNS",
            "COMMANDS",
            "CONNECTIONS",
            "DENIED",
        ],
        cells,
    )
}
