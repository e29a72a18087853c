//! What `cargo test` builds: built as the user who called, run as root where it needs root.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{paths, run};

/// The package of the tests that need root and the kernel.
pub(crate) const KERNEL_TESTS: &str = "hoop-tests";

/// A test, a benchmark or a program that cargo built.
pub(crate) struct Binary {
    pub(crate) executable: PathBuf,
    manifest_path: PathBuf,
    target: Target,
}

impl Binary {
    /// Its name in the manifest.
    pub(crate) fn name(&self) -> &str {
        &self.target.name
    }

    /// The directory in which cargo, too, would run it.
    pub(crate) fn package_dir(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(paths::workspace())
    }
}

/// The tests of the workspace, and what they run.
pub(crate) struct Tests {
    /// The tests of all other packages.
    pub(crate) unit: Vec<Binary>,
    /// The tests of package hoop-tests.
    pub(crate) kernel: Vec<Binary>,
    /// What those run: the prober, and the first process of a guest.
    pub(crate) programs: Vec<Binary>,
    /// The daemon.
    pub(crate) agent: PathBuf,
}

/// Builds every test. One call for all of them, so that cargo compiles what they share once.
///
/// # Errors
///
/// They do not compile.
pub(crate) fn tests() -> Result<Tests> {
    let (tests, programs) = split(&mut run::cargo([
        "test",
        "--quiet",
        "--locked",
        "--no-run",
        "--workspace",
        "--exclude=hoop-ebpf",
    ]))?;
    let of_kernel_tests = |it: &Binary| it.package_dir() == paths::workspace().join("tests");
    let (kernel, unit) = tests.into_iter().partition(of_kernel_tests);
    let agent = programs
        .iter()
        .find(|it| it.name() == "hoop-agent")
        .context("cargo built no daemon")?;
    Ok(Tests {
        unit,
        kernel,
        agent: agent.executable.clone(),
        programs: programs.into_iter().filter(of_kernel_tests).collect(),
    })
}

/// Builds with `cargo`, a `cargo test` or `cargo bench` with `--no-run`; the binaries by name.
///
/// # Errors
///
/// What it builds does not compile.
pub(crate) fn build(cargo: &mut Command) -> Result<Vec<Binary>> {
    Ok(split(cargo)?.0)
}

/// `env` as root with what sudo would take away, and with what tests go by: where `agent` is.
///
/// # Errors
///
/// As [`run::as_root`].
pub(crate) fn as_root(agent: &Path) -> Result<Command> {
    let mut command = run::as_root()?;
    let kept = ["PATH", "RUST_BACKTRACE"].map(|key| (key, env::var_os(key)));
    let set = [
        ("CARGO_HOME", paths::cargo_home()),
        ("RUSTUP_HOME", paths::rustup_home()),
        ("HOOP_AGENT_BIN", agent.to_owned()),
    ]
    .map(|(key, path)| (key, Some(path.into_os_string())));
    for (key, value) in kept.into_iter().chain(set) {
        if let Some(value) = value {
            let mut pair = OsString::from(key);
            pair.push("=");
            pair.push(value);
            command.arg(pair);
        }
    }
    Ok(command)
}

/// What `cargo` builds: tests and benchmarks, and programs, each by name.
fn split(cargo: &mut Command) -> Result<(Vec<Binary>, Vec<Binary>)> {
    let messages = run::capture(cargo.arg("--message-format=json-render-diagnostics"))?;
    let (mut tests, mut programs) = (Vec::new(), Vec::new());
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("cargo's messages")?;
        if let Message {
            executable: Some(executable),
            manifest_path: Some(manifest_path),
            profile: Some(Profile { test }),
            target: Some(target),
        } = message
        {
            let built = if test { &mut tests } else { &mut programs };
            built.push(Binary {
                executable,
                manifest_path,
                target,
            });
        }
    }
    // Cargo builds in parallel, so its order varies.
    for built in [&mut tests, &mut programs] {
        built.sort_by(|a, b| a.target.name.cmp(&b.target.name));
    }
    Ok((tests, programs))
}

/// One line of `cargo ... --no-run --message-format=json`, as far as it is of interest.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    profile: Option<Profile>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}
