//! `mask`: what a policy masks in a text, without the daemon.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use clap::Args;
use hoop_mask::{Config, Finding, Masked, Masker, Via};
use serde_json::json;

use super::{DONE, INVALID, load, print};
use crate::agent::mask_key;

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct Mask {
    /// A policy file or directory; without one, everything that is built in is masked
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// The policy, if there are several
    #[arg(long, requires = "policy", value_name = "POLICY")]
    name: Option<String>,
    /// Print what was found, one JSON object a line, instead of the masked text
    #[arg(long)]
    findings: bool,
    /// The key for masking: a name and 64 hexadecimal digits; without one, equal values have equal
    /// placeholders within this run only
    #[arg(long, value_name = "FILE")]
    mask_key: Option<PathBuf>,
}

/// Masks standard input.
pub(super) fn run(arguments: &Mask) -> Result<u8> {
    let config = match &arguments.policy {
        Some(path) => match masking(path, arguments.name.as_deref()) {
            Ok(config) => config,
            Err(code) => return Ok(code),
        },
        None => Config::default(),
    };
    let key = match &arguments.mask_key {
        Some(path) => mask_key::read(path)?,
        None => mask_key::random()?,
    };
    mask(&Arc::new(Masker::new(&config, key)?), arguments.findings)?;
    Ok(DONE)
}

/// What a policy masks; prints what is wrong.
fn masking(path: &Path, name: Option<&str>) -> Result<Config, u8> {
    let mut policies = load(path)?;
    let named = |name| policies.iter().position(|policy| policy.name == name);
    let index = match name {
        Some(name) => named(name).ok_or_else(|| format!("has no policy {name}")),
        None if policies.len() > 1 => {
            let names: Vec<_> = policies.iter().map(|policy| &*policy.name).collect();
            Err(format!(
                "has the policies {}: choose one with --name",
                names.join(", ")
            ))
        }
        None => Ok(0),
    };
    match index {
        Ok(index) => Ok(policies.swap_remove(index).masking),
        Err(problem) => {
            print::error(&format!("{} {problem}", path.display()));
            Err(INVALID)
        }
    }
}

/// Masks as the text comes: who writes a line sees it before he writes the next, unless it ends in what
/// may be the beginning of a secret.
fn mask(masker: &Arc<Masker>, show_findings: bool) -> Result<()> {
    let mut stdin = std::io::stdin().lock();
    let mut stream = masker.stream();
    let mut input = vec![0; READ_BYTES];
    let mut masked = Masked::default();
    let ended = loop {
        match stdin.read(&mut input) {
            Ok(0) => break Ok(()),
            Ok(count) => stream.push(&input[..count], &mut masked.bytes, &mut masked.findings),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => break Err(error),
        }
        write(&mut masked, show_findings)?;
    };
    // What was read is shown, even if the rest cannot be.
    stream.finish(&mut masked.bytes, &mut masked.findings);
    write(&mut masked, show_findings)?;
    ended.context("standard input")
}

/// Writes what is decided, and forgets it.
fn write(masked: &mut Masked, show_findings: bool) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    if show_findings {
        for finding in &masked.findings {
            writeln!(stdout, "{}", line(finding))?;
        }
    } else {
        stdout.write_all(&masked.bytes)?;
    }
    masked.findings.clear();
    masked.bytes.clear();
    Ok(stdout.flush()?)
}

/// A finding, without what was found: `start` and `end` count bytes of the input.
fn line(finding: &Finding) -> serde_json::Value {
    json!({
        "class": &*finding.class,
        "rule": &*finding.rule,
        "start": finding.start,
        "end": finding.end,
        "via": match finding.via {
            Via::Plain => "plain",
            Via::JsonEscaped => "json",
            Via::Base64 => "base64",
            Via::PercentEncoded => "percent",
        },
    })
}
