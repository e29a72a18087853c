//! Runs other programs, with errors that name the command and what it said.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// Cargo of the toolchain that runs this xtask, in the workspace.
pub(crate) fn cargo<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(args).current_dir(paths::workspace());
    forget_outer_cargo(&mut command);
    // The daemon's build script looks in the workspace's own target directory otherwise.
    if env::var_os("CARGO_TARGET_DIR").is_some() && env::var_os("HOOP_EBPF_OBJECT").is_none() {
        command.env("HOOP_EBPF_OBJECT", paths::ebpf_object());
    }
    command
}

/// Takes out of `command`'s environment what the outer `cargo run` put there about the package
/// xtask, so that build scripts see what they would see without it and nothing is built twice.
pub(crate) fn forget_outer_cargo(command: &mut Command) {
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || matches!(
                &*name,
                "CARGO" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE"
            )
        {
            command.env_remove(&key);
        }
    }
    // `cargo run` adds its toolchain's libraries, which another toolchain must not load.
    command.env_remove("LD_LIBRARY_PATH");
}

/// Runs `command` with this process's standard streams.
///
/// # Errors
///
/// The command cannot be started, or ends other than with exit code 0.
pub(crate) fn stream(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", show(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", show(command));
    }
    Ok(())
}

/// Runs `command` silently and returns its standard output.
///
/// # Errors
///
/// The command cannot be started, or ends other than with exit code 0: the error then ends with
/// the last lines that it wrote.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", show(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}",
            show(command),
            output.status,
            last_lines(&output, 20)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with this process's standard streams, and returns what it wrote to standard
/// error besides.
///
/// # Errors
///
/// The command cannot be started, or its output not be passed on.
pub(crate) fn tee_stderr(command: &mut Command) -> Result<(ExitStatus, String)> {
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", show(command)))?;
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            eprintln!("{line}");
            said.push_str(&line);
            said.push('\n');
        }
    }
    Ok((child.wait()?, said))
}

/// Lets others go first from now on, in this thread and in what it starts.
///
/// # Errors
///
/// `renice` cannot be run.
pub(crate) fn yield_to_others() -> Result<()> {
    let thread = nix::unistd::gettid().to_string();
    capture(Command::new("renice").args(["-n", "19", "-p", &thread])).map(drop)
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    // The owner of a process's directory is its effective user.
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// `env` as root, to be continued with variables, a program and its arguments.
///
/// # Errors
///
/// This process is not root, and sudo is missing or would ask for a password.
pub(crate) fn as_root() -> Result<Command> {
    if is_root() {
        return Ok(Command::new("env"));
    }
    capture(Command::new("sudo").args(["-n", "true"]))
        .context("this needs root, or a sudo that asks for no password")?;
    let mut command = Command::new("sudo");
    command.args(["-n", "-E", "env"]);
    Ok(command)
}

/// `command` as a line to read: program name and arguments, without the environment.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

fn last_lines(output: &Output, count: usize) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stdout
        .lines()
        .chain(stderr.lines())
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
