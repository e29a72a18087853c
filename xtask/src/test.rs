//! `cargo xtask test`: lint, the host's unit tests, the tests that need root and the kernel,
//! and some of those in a guest with another kernel.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::binaries::{self, Binary, KERNEL_TESTS, Tests};
use crate::libtest::{self, Tally};
use crate::toolchain::Toolchain;
use crate::{build_ebpf, fuzz, lint, run, setup, vm};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests that need root and the kernel.
    #[arg(long)]
    no_kernel: bool,
    /// Leave out the guest: some of the kernel tests with another kernel.
    #[arg(long)]
    no_vm: bool,
    /// Leave out formatting, clippy and the check of dependencies.
    #[arg(long)]
    no_lint: bool,
    /// Fuzz too, and run also the long tests, which are marked `#[ignore]`, and the others in their long form.
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
/// Setting up failed, or something does not compile: nothing was tested.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let started = Instant::now();
    let toolchain = setup::run()?;
    build_ebpf::build(&toolchain)?;
    let mut tally = Tally::default();
    let tests = binaries::tests()?;
    stage("build", started);
    // The unit tests try every seed; to build the fuzzers takes minutes.
    if args.long && args.filter.is_empty() {
        or_failure(&mut tally, "fuzzing", fuzz::all(&[], fuzz::SECONDS));
        stage("fuzzing", started);
    }
    // The kernel tests mostly wait, so the guest, which has a kernel of its own, runs beside them, and what is left
    // of the machine goes to the unit tests and lint.
    let (kernel, others) = thread::scope(|scope| {
        let guest = scope.spawn(|| {
            let guest = guest(args);
            stage("guest", started);
            guest
        });
        let rest = scope.spawn(|| {
            let mut rest = Tally::default();
            or_failure(&mut rest, "a thread that yields", yield_to_others());
            rest.add(run_all(&tests.unit, args, |it| Ok(unit_test(it))));
            stage("unit tests", started);
            or_failure(&mut rest, "lint", lint(args, &toolchain));
            stage("lint", started);
            Ok(rest)
        });
        let kernel = kernel_tests(args, &tests);
        stage("kernel tests", started);
        let others = [
            ("guest", guest.join()),
            ("unit tests and lint", rest.join()),
        ];
        (kernel, others)
    });
    tally.add(kernel);
    for (name, result) in others {
        let result = result.unwrap_or_else(|_| Ok(Tally::failure(name)));
        or_failure(&mut tally, name, result);
    }
    for name in &tally.failures {
        println!("failed: {name}");
    }
    println!("took {:.1} s", started.elapsed().as_secs_f64());
    println!("{}", tally.closing_line());
    Ok(tally.is_success())
}

fn kernel_tests(args: &Args, tests: &Tests) -> Tally {
    if args.no_kernel {
        println!("left out, as --no-kernel asks: the kernel tests (package {KERNEL_TESTS})");
        return Tally::default();
    }
    if !run::is_root() {
        println!("kernel tests: not root, so they run through sudo");
    }
    run_all(&tests.kernel, args, |it| {
        kernel_test(it, &tests.agent, args.long)
    })
}

fn guest(args: &Args) -> Result<Tally> {
    if args.no_kernel || args.no_vm {
        println!("left out, as asked: the guest (`cargo xtask vm`)");
        return Ok(Tally::default());
    }
    vm::short(&args.filter)
}

fn yield_to_others() -> Result<Tally> {
    run::yield_to_others()?;
    Ok(Tally::default())
}

fn lint(args: &Args, toolchain: &Toolchain) -> Result<Tally> {
    if !args.no_lint {
        lint::check(toolchain)?;
    }
    Ok(Tally::default())
}

/// Says when a stage was done.
fn stage(name: &str, started: Instant) {
    println!("{name}: done at {:.0} s", started.elapsed().as_secs_f64());
}

/// Adds what a stage gave; a stage that could not run is itself a failure.
fn or_failure(tally: &mut Tally, stage: &str, result: Result<Tally>) {
    tally.add(result.unwrap_or_else(|err| {
        println!("{stage}: {err:#}");
        Tally::failure(stage)
    }));
}

/// Runs each binary, those that need root as root.
fn run_all(
    binaries: &[Binary],
    args: &Args,
    command: impl Fn(&Binary) -> Result<Command>,
) -> Tally {
    let mut tally = Tally::default();
    for binary in binaries {
        let name = binary.name();
        let started = Instant::now();
        let result = command(binary).and_then(|mut command| {
            command
                .args(libtest_args(args))
                .current_dir(binary.package_dir());
            libtest::run(name, &mut command)
        });
        or_failure(&mut tally, name, result);
        println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
    }
    tally
}

fn unit_test(binary: &Binary) -> Command {
    let mut command = Command::new(&binary.executable);
    command
        .arg("--quiet")
        .env("HOOP_PYTHON", setup::python_program());
    command
}

fn kernel_test(binary: &Binary, agent: &Path, long: bool) -> Result<Command> {
    let mut command = binaries::as_root(agent).context("without it, ask for --no-kernel")?;
    command
        .args(long.then_some("HOOP_LONG=1"))
        .arg(&binary.executable)
        // They share one kernel.
        .arg("--test-threads=1");
    Ok(command)
}

fn libtest_args(args: &Args) -> Vec<&str> {
    let long = args.long.then_some("--include-ignored");
    long.into_iter()
        .chain(args.filter.iter().map(String::as_str))
        .collect()
}
