//! `cargo xtask fuzz`: every decoder of the kernel's bytes and every parser of files, by cargo-fuzz.
//!
//! The targets are in `fuzz/`, what they hold is in the `fuzzing` modules of hoop-agent. Inputs that
//! are found on the way stay in the target directory; those that fail become seeds once fixed.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::libtest::Tally;
use crate::{build_ebpf, paths, run, setup};

/// The cargo-fuzz to install where there is none.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// Targets that run at one time.
const AT_ONCE: usize = 2;

/// Seconds for each target.
pub(crate) const SECONDS: u32 = 30;

/// Bounds for libFuzzer: memory in MiB, of all and of one allocation; seconds for one input.
const BOUNDS: [&str; 3] = ["-rss_limit_mb=512", "-malloc_limit_mb=128", "-timeout=60"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only these targets.
    targets: Vec<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = SECONDS)]
    seconds: u32,
}

/// Sets up, then fuzzes, and returns whether nothing was found.
///
/// # Errors
///
/// cargo-fuzz or the targets cannot be built, or there is no such target.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let toolchain = setup::run()?;
    build_ebpf::build(&toolchain)?;
    let tally = all(&args.targets, args.seconds)?;
    println!("{}", tally.closing_line());
    Ok(tally.is_success())
}

/// Fuzzes `wanted`, or every target, for a caller that has set up and built the kernel object. A
/// target counts as a test.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn all(wanted: &[String], seconds: u32) -> Result<Tally> {
    let targets = targets()?;
    if let Some(unknown) = wanted.iter().find(|name| !targets.contains(name)) {
        bail!("no target {unknown}: there are {}", targets.join(", "));
    }
    let chosen = targets
        .into_iter()
        .filter(|name| wanted.is_empty() || wanted.contains(name));
    let cargo_fuzz = cargo_fuzz()?;
    println!("fuzz: building the targets");
    run::stream(&mut build(&cargo_fuzz))?;

    let waiting = Mutex::new(chosen.collect::<VecDeque<_>>());
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = lock(&waiting).pop_front() {
                    let result = one(&name, seconds);
                    let mut tally = lock(&tally);
                    match result {
                        Ok(said) => {
                            println!("fuzz: {name}: {said}");
                            tally.passed += 1;
                        }
                        Err(err) => {
                            println!("fuzz: {name}: {err:#}");
                            tally.add(Tally::failure(format!("fuzz {name}")));
                        }
                    }
                }
            });
        }
    });
    Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs one target; what it did, in a few words.
fn one(name: &str, seconds: u32) -> Result<String> {
    let corpus = dir().join("corpus").join(name);
    let artifacts = dir().join("artifacts").join(name);
    let temporary = dir().join("tmp").join(name);
    for dir in [&corpus, &artifacts, &temporary] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let log = dir().join(format!("{name}.log"));
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut fuzzer = Command::new(dir().join(host()?).join("release").join(name));
    fuzzer
        // The first is where it keeps what it finds.
        .args([&corpus, &seeds(name)])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .args(BOUNDS)
        // What is only slow is no failure.
        .arg("-report_slow_units=60")
        .current_dir(paths::workspace())
        .env("TMPDIR", &temporary)
        .stdout(output.try_clone()?)
        .stderr(output);
    let status = fuzzer
        .status()
        .with_context(|| format!("cannot start {}", run::show(&fuzzer)))?;
    told(name, status, &log)
}

/// What libFuzzer said at its end.
fn told(name: &str, status: ExitStatus, log: &Path) -> Result<String> {
    let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    if status.success() {
        let done = text.lines().rev().find(|line| line.starts_with("Done "));
        return Ok(done.unwrap_or("done").to_owned());
    }
    let lines: Vec<&str> = text.lines().collect();
    let from = lines
        .iter()
        .position(|line| line.contains("panicked at") || line.contains("ERROR: "))
        .unwrap_or(lines.len().saturating_sub(12));
    let artifact = lines
        .iter()
        .rev()
        .find(|line| line.contains("Test unit written to"));
    bail!(
        "failed: {status}; all of it is in {}\n{}\n{}\nonce it is fixed, keep that input in {}",
        log.display(),
        lines[from..lines.len().min(from + 12)].join("\n"),
        artifact.unwrap_or(&"no input was kept"),
        seeds(name).display()
    )
}

/// Every target, by name.
fn targets() -> Result<Vec<String>> {
    let dir = paths::workspace().join("fuzz/targets");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        if let Some(stem) = entry?.path().file_stem() {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// `cargo fuzz build`, also on a stable compiler.
fn build(cargo_fuzz: &Path) -> Command {
    let mut command = Command::new(cargo_fuzz);
    command
        // No sanitizer: the code that is fuzzed is safe, and memory is then what it takes itself.
        .args(["fuzz", "build", "--sanitizer", "none", "--target-dir"])
        .arg(dir())
        .current_dir(paths::workspace());
    run::forget_outer_cargo(&mut command);
    command
        .env_remove("RUSTFLAGS")
        // `-Z` for a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1");
    if env::var_os("HOOP_EBPF_OBJECT").is_none() {
        command.env("HOOP_EBPF_OBJECT", paths::ebpf_object());
    }
    command
}

/// The cargo-fuzz of this machine, or one that is built now.
fn cargo_fuzz() -> Result<PathBuf> {
    if let Some(found) = paths::find("cargo-fuzz") {
        return Ok(found);
    }
    println!("fuzz: installing cargo-fuzz {CARGO_FUZZ_VERSION}, about a minute");
    let install = [
        "install",
        "cargo-fuzz",
        "--locked",
        "--version",
        CARGO_FUZZ_VERSION,
    ];
    run::capture(&mut run::cargo(install))?;
    paths::find("cargo-fuzz").context("cargo-fuzz is installed, yet not found")
}

/// The triple of this machine, below whose name cargo-fuzz builds.
fn host() -> Result<String> {
    let said = run::capture(
        Command::new("rustc")
            .arg("-vV")
            .current_dir(paths::workspace()),
    )?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

fn seeds(name: &str) -> PathBuf {
    paths::workspace().join("fuzz/seeds").join(name)
}

/// What is built and found, beside the builds of everything else.
fn dir() -> PathBuf {
    paths::target().join("fuzz")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic on the other thread is passed on when the scope ends.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
