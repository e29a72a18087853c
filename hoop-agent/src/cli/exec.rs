//! `exec`: this process becomes the command, inside a fresh workload.
//!
//! It keeps its pid, terminal, process group and parent, so signals and the exit code need no
//! help from us.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};

use crate::control::{Request, client::Client};

/// The shell's exit codes for a command that cannot be run, and for one that is not there.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Runs the command. Returns only if it could not be started.
pub(super) fn run(socket: &Path, policy: String, command: &[OsString]) -> Result<u8> {
    let mut client = Client::connect(socket)?;
    let answer = client.ask(&Request::Exec { policy })?;
    let procs = answer["procs"]
        .as_str()
        .context("the daemon's answer is of another version")?;
    // 0 means the writer. The connection closes itself on exec, which tells the daemon.
    OpenOptions::new()
        .write(true)
        .open(procs)
        .and_then(|mut file| file.write_all(b"0"))
        .with_context(|| format!("{procs}: this process could not enter its workload"))?;
    let Some((program, arguments)) = command.split_first() else {
        return Ok(super::INVALID);
    };
    let error = Command::new(program).args(arguments).exec();
    super::print::error(&format!("{}: {error}", program.display()));
    Ok(if error.kind() == ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    })
}
