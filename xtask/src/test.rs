//! `cargo xtask test`: lint, the host's unit tests, then the tests that need root and the kernel.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::libtest::{self, Tally};
use crate::{build_ebpf, lint, paths, run, setup};

/// The package of the tests that need root and the kernel.
const KERNEL_TESTS: &str = "hoop-tests";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests that need root and the kernel.
    #[arg(long)]
    no_kernel: bool,
    /// Leave out formatting, clippy and the check of dependencies.
    #[arg(long)]
    no_lint: bool,
    /// Run also the long tests, which are marked `#[ignore]`.
    #[arg(long)]
    long: bool,
    /// Run only tests whose name contains one of these.
    filter: Vec<String>,
}

/// Runs the tests, a failed binary not stopping the others, and returns whether all passed. The last
/// line on standard output sums them up.
///
/// # Errors
///
/// Setting up failed, or the kernel object does not build: nothing was tested.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let started = Instant::now();
    let toolchain = setup::run()?;
    build_ebpf::build(&toolchain)?;
    let mut tally = Tally::default();
    if !args.no_lint {
        or_failure(
            &mut tally,
            "lint",
            lint::check(&toolchain).map(|()| Tally::default()),
        );
    }
    or_failure(&mut tally, "unit tests", unit_tests(args));
    if args.no_kernel {
        println!("left out, as --no-kernel asks: the kernel tests (package {KERNEL_TESTS})");
    } else {
        or_failure(&mut tally, "kernel tests", kernel_tests(args));
    }
    for name in &tally.failures {
        println!("failed: {name}");
    }
    println!("took {:.1} s", started.elapsed().as_secs_f64());
    println!("{}", tally.closing_line());
    Ok(tally.is_success())
}

/// Adds what a stage gave; a stage that could not run is itself a failure.
fn or_failure(tally: &mut Tally, stage: &str, result: Result<Tally>) {
    tally.add(result.unwrap_or_else(|err| {
        println!("{stage}: {err:#}");
        Tally::failure(stage)
    }));
}

fn unit_tests(args: &Args) -> Result<Tally> {
    let mut cargo = run::cargo([
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--no-fail-fast",
    ]);
    cargo
        .arg("--exclude=hoop-ebpf")
        .arg(format!("--exclude={KERNEL_TESTS}"));
    cargo.arg("--").args(libtest_args(args));
    libtest::run("unit tests", &mut cargo)
}

/// Builds as the user who called, then runs each binary as root.
fn kernel_tests(args: &Args) -> Result<Tally> {
    run::stream(&mut run::cargo([
        "build",
        "--locked",
        "--release",
        "--package",
        "hoop-agent",
    ]))?;
    let binaries = kernel_test_binaries()?;
    if !run::is_root() {
        println!("kernel tests: not root, so they run through sudo");
    }
    let mut tally = Tally::default();
    for binary in &binaries {
        let name = binary.target.name.as_str();
        println!("kernel tests: {name}");
        let mut command = as_root_here()?;
        command
            .arg(&binary.executable)
            // They share one kernel.
            .arg("--test-threads=1")
            .args(libtest_args(args))
            .current_dir(binary.package_dir());
        or_failure(&mut tally, name, libtest::run(name, &mut command));
    }
    Ok(tally)
}

/// `env` as root with what sudo would take away, and with what the kernel tests go by.
fn as_root_here() -> Result<Command> {
    let mut command = run::as_root().context("without it, ask for --no-kernel")?;
    let kept = ["PATH", "RUST_BACKTRACE"].map(|key| (key, env::var_os(key)));
    let set = [
        ("CARGO_HOME", paths::cargo_home()),
        ("RUSTUP_HOME", paths::rustup_home()),
        ("HOOP_AGENT_BIN", paths::agent()),
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

fn libtest_args(args: &Args) -> Vec<&str> {
    let long = args.long.then_some("--include-ignored");
    long.into_iter()
        .chain(args.filter.iter().map(String::as_str))
        .collect()
}

/// One line of `cargo test --no-run --message-format=json`, as far as it is of interest.
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

/// A test binary that cargo built.
struct Binary {
    executable: PathBuf,
    manifest_path: PathBuf,
    target: Target,
}

impl Binary {
    /// The directory in which cargo, too, would run it.
    fn package_dir(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(paths::workspace())
    }
}

fn kernel_test_binaries() -> Result<Vec<Binary>> {
    let mut cargo = run::cargo([
        "test",
        "--quiet",
        "--locked",
        "--no-run",
        "--package",
        KERNEL_TESTS,
    ]);
    let messages = run::capture(cargo.arg("--message-format=json-render-diagnostics"))?;
    let mut binaries = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("cargo's messages")?;
        if let Message {
            executable: Some(executable),
            manifest_path: Some(manifest_path),
            profile: Some(Profile { test: true }),
            target: Some(target),
        } = message
        {
            binaries.push(Binary {
                executable,
                manifest_path,
                target,
            });
        }
    }
    // Cargo builds in parallel, so its order varies.
    binaries.sort_by(|a, b| a.target.name.cmp(&b.target.name));
    Ok(binaries)
}
