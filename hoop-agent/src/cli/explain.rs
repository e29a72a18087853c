//! `policy explain`: what a policy says about a destination or a command, and why.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{Format, INVALID, load, print};
use crate::{
    agent,
    control::{Request, client::Client},
    policy::{
        exec::Command,
        explain::{ParseDestinationError, Question},
    },
};

/// What is asked.
pub(super) struct Asked {
    /// A destination, if no command.
    pub(super) destination: Option<String>,
    /// A command, or nothing.
    pub(super) command: Vec<OsString>,
    /// The program of its parent, instead of the caller's.
    pub(super) parent: Option<PathBuf>,
    /// Its real user id, instead of the caller's.
    pub(super) uid: Option<u32>,
}

/// Asks a file, or the daemon.
pub(super) fn run(
    socket: &Path,
    name: String,
    asked: Asked,
    file: Option<&Path>,
    format: Format,
) -> Result<u8> {
    // A typing mistake is told without a daemon.
    let question = match question(asked) {
        Ok(question) => question,
        Err(error) => {
            print::error(&error.to_string());
            return Ok(INVALID);
        }
    };
    let explained = match file {
        Some(path) => {
            let policies = match load(path) {
                Ok(policies) => policies,
                Err(code) => return Ok(code),
            };
            let Some(policy) = policies.iter().find(|policy| policy.name == name) else {
                bail!("{} has no policy {name}", path.display());
            };
            agent::explanation(policy, &question)
        }
        None => Client::connect(socket)?.ask(&Request::PolicyExplain { name, question })?,
    };
    print::show(&explained, format, print::explanation)
}

fn question(asked: Asked) -> Result<Question, ParseDestinationError> {
    let Some((program, arguments)) = asked.command.split_first() else {
        let text = asked.destination.unwrap_or_default();
        return Ok(Question::Destination(text.parse()?));
    };
    let parent = asked.parent.map_or_else(callers_program, Ok);
    let (path, args) = started(find(program), program, arguments);
    Ok(Question::Command(Command {
        path: Some(path.as_os_str().as_bytes().to_vec()),
        args: Some(args.join(OsStr::new("\0")).as_bytes().to_vec()),
        parent: parent
            .ok()
            .map(|parent| parent.as_os_str().as_bytes().to_vec()),
        uid: asked.uid.unwrap_or_else(|| nix::unistd::getuid().as_raw()),
    }))
}

/// What the kernel starts: for a script its interpreter, as `fs/binfmt_script.c` has it.
fn started(path: PathBuf, name: &OsStr, arguments: &[OsString]) -> (PathBuf, Vec<OsString>) {
    let line = first_line(&path).unwrap_or_default();
    let words = line.strip_prefix(b"#!").map(<[u8]>::trim_ascii);
    let Some(words) = words.filter(|words| !words.is_empty()) else {
        let own = std::iter::once(name.to_owned());
        return (path, own.chain(arguments.iter().cloned()).collect());
    };
    let cut = words.iter().position(u8::is_ascii_whitespace);
    let (interpreter, argument) = words.split_at(cut.unwrap_or(words.len()));
    let argument = argument.trim_ascii();
    let mut args = vec![OsStr::from_bytes(interpreter).to_owned()];
    if !argument.is_empty() {
        args.push(OsStr::from_bytes(argument).to_owned());
    }
    args.push(path.into_os_string());
    args.extend(arguments.iter().cloned());
    (find(OsStr::from_bytes(interpreter)), args)
}

/// The first line, as much of it as the kernel reads (`BINPRM_BUF_SIZE`).
fn first_line(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;

    let mut start = Vec::new();
    std::fs::File::open(path)?
        .take(256)
        .read_to_end(&mut start)?;
    start.truncate(start.iter().position(|&byte| byte == b'\n').unwrap_or(256));
    Ok(start)
}

/// The program behind a name, resolved; the name itself if there is none.
fn find(name: &OsStr) -> PathBuf {
    let named = PathBuf::from(name);
    if name.as_bytes().contains(&b'/') {
        return named.canonicalize().unwrap_or(named);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find_map(|directory| directory.join(name).canonicalize().ok())
        .unwrap_or(named)
}

/// The program of the process that called this one.
fn callers_program() -> Result<PathBuf> {
    let parent = nix::unistd::getppid();
    std::fs::read_link(format!("/proc/{parent}/exe")).context("the parent's program")
}
