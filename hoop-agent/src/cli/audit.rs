//! `audit`: the log that proves itself.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use hoop_log::{Fault, Options, Reader, Verified, VerifiedLog, VerifierKey, prove, verify};
use serde_json::json;

use super::{DONE, FAILED, Format, Output, print};
use crate::{
    audit::{directory, read::told},
    config::DEFAULT_STATE_DIR,
};

/// Time between two updates of the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Check that the log is what was signed, or say which record is not; no daemon is needed
    Verify {
        #[command(flatten)]
        log: Log,
        /// A public key that the log must be signed by, from `audit key`; the log's own, if none is named
        #[arg(long, value_name = "FILE")]
        key: Vec<PathBuf>,
        /// A checkpoint, from `audit checkpoint`, that the log must go on from
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Number of the first record to check, instead of the first that is kept
        #[arg(long, value_name = "NUMBER")]
        from: Option<u64>,
        /// Number of the last record to check, instead of the last
        #[arg(long, value_name = "NUMBER")]
        to: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Prove that a record is in the log: an inclusion proof (c2sp.org/tlog-proof)
    Prove {
        /// The record's number
        record: u64,
        #[command(flatten)]
        log: Log,
        /// Write the record's bytes, which are what is proven, to this file
        #[arg(long, value_name = "FILE")]
        leaf: Option<PathBuf>,
    },
    /// Print the last signed checkpoint: keep it elsewhere, and `verify --checkpoint` with it later
    Checkpoint(Log),
    /// Print the public key of the log
    Key(Log),
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// The daemon's state directory, or a copy of it
    #[arg(long, default_value = DEFAULT_STATE_DIR, value_name = "DIR")]
    state_dir: PathBuf,
}

impl Log {
    fn dir(&self) -> Result<PathBuf> {
        let dir = directory(&self.state_dir);
        if !dir.is_dir() {
            bail!(
                "no audit log at {}: name the daemon's --state-dir, or a copy of it",
                dir.display()
            );
        }
        Ok(dir)
    }
}

pub(super) fn run(command: Audit) -> Result<u8> {
    match command {
        Audit::Verify {
            log,
            key,
            checkpoint,
            from,
            to,
            output,
        } => {
            let keys = key
                .iter()
                .map(|path| read_key(path))
                .collect::<Result<_>>()?;
            let checkpoint = checkpoint
                .map(|path| fs::read_to_string(&path).with_context(|| path.display().to_string()))
                .transpose()?;
            let dir = log.dir()?;
            let options = Options {
                keys,
                checkpoint,
                range: (from.is_some() || to.is_some())
                    .then(|| from.unwrap_or(1)..=to.unwrap_or(u64::MAX)),
                live: is_written(&dir),
            };
            check(&dir, &options, output.output)
        }
        Audit::Prove { record, log, leaf } => {
            let dir = log.dir()?;
            let proof = prove(&dir, record)?;
            if let Some(path) = leaf {
                let mut reader = Reader::open(&dir, record)?;
                let entry = reader.read()?.context("the record is not there")?;
                fs::write(&path, entry.bytes).with_context(|| path.display().to_string())?;
            }
            write!(io::stdout(), "{proof}")?;
            Ok(DONE)
        }
        // Neither is given out of a log that is not what was signed.
        Audit::Checkpoint(log) => show_last(&log, |last| last.checkpoint.clone()),
        Audit::Key(log) => show_last(&log, |last| format!("{}\n", last.key)),
    }
}

fn show_last(log: &Log, what: impl Fn(&VerifiedLog) -> String) -> Result<u8> {
    let dir = log.dir()?;
    let options = Options {
        live: is_written(&dir),
        ..Options::default()
    };
    let verified = checked(&dir, &options)?;
    let last = verified.logs.last().context("nothing was written yet")?;
    write!(io::stdout(), "{}", what(last))?;
    Ok(DONE)
}

fn checked(dir: &Path, options: &Options) -> std::result::Result<Verified, Fault> {
    let mut progress = Progress::new();
    let result = verify(dir, options, &told, &mut |done, total| {
        progress.show(done, total);
    });
    progress.end();
    result
}

fn check(dir: &Path, options: &Options, format: Format) -> Result<u8> {
    let result = checked(dir, options);
    let pinned = !options.keys.is_empty();
    let value = match &result {
        Ok(verified) => json!({
            "verified": true,
            "first": verified.first,
            "last": verified.last,
            "key_named": pinned,
            "logs": verified.logs.iter().map(|log| json!({
                "key": log.key.to_string(),
                "checkpoint": log.checkpoint,
            })).collect::<Vec<_>>(),
        }),
        Err(fault) => json!({
            "verified": false,
            "record": fault.record,
            "what": fault.to_string(),
        }),
    };
    print::show(&value, format, |_| match &result {
        Ok(verified) => verdict(verified, pinned),
        Err(fault) => format!("NOT verified: {fault}\n"),
    })?;
    Ok(if result.is_ok() { DONE } else { FAILED })
}

fn verdict(verified: &Verified, pinned: bool) -> String {
    let keys: Vec<String> = verified
        .logs
        .iter()
        .map(|log| log.key.to_string())
        .collect();
    let mut text = format!(
        "verified: records {} to {} are what was signed by {}\n",
        verified.first,
        verified.last,
        keys.join(" and ")
    );
    if !pinned {
        text.push_str("The key came with the log: name one that was kept elsewhere with --key\n");
    }
    text
}

/// Whether a daemon holds the log.
fn is_written(dir: &Path) -> bool {
    File::open(dir.join("lock")).is_ok_and(|lock| lock.try_lock_shared().is_err())
}

fn read_key(path: &Path) -> Result<VerifierKey> {
    let read = || -> Result<VerifierKey> { Ok(fs::read_to_string(path)?.trim_end().parse()?) };
    read().with_context(|| format!("the key in {}", path.display()))
}

/// A line on the terminal that says how far the work is.
struct Progress {
    shown: bool,
    next: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            shown: false,
            next: Instant::now() + PROGRESS_EVERY,
        }
    }

    fn show(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        if now < self.next || !io::stderr().is_terminal() {
            return;
        }
        self.next = now + PROGRESS_EVERY;
        self.shown = true;
        let percent = (100 * done).checked_div(total).unwrap_or(100).min(100);
        let bar = "#".repeat(percent as usize / 4);
        let _ = write!(io::stderr(), "\r[{bar:<25}] {percent:>3} %");
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r{:<36}\r", "");
        }
    }
}
