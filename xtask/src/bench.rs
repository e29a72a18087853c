//! `cargo xtask bench`: builds everything in release and runs the benchmark, which needs root.

use anyhow::{Context as _, Result};

use crate::{binaries, build, paths, run};

/// The package of the benchmark, and its name there.
const PACKAGE: &str = "hoop-tests";
const BENCHMARK: &str = "hoop";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer runs: the medians are rougher.
    #[arg(long)]
    quick: bool,
    /// Measure only these parts: pipeline, connect, reload, memory, exec, start, payload, tls, evidence.
    part: Vec<String>,
}

/// Measures, prints a table and writes `bench.json` into the target directory.
///
/// # Errors
///
/// Something does not build, root cannot be had, or a part could not be measured. A missed target
/// is no error.
pub(crate) fn run(args: &Args) -> Result<()> {
    let agent = build::run()?;
    let built = binaries::build(&mut run::cargo([
        "bench",
        "--quiet",
        "--locked",
        "--no-run",
        "--package",
        PACKAGE,
        "--bench",
        BENCHMARK,
    ]))?;
    let benchmark = built.first().context("cargo built no benchmark")?;
    let json = paths::target().join("bench.json");
    let mut command = binaries::as_root(&agent)?;
    command.arg(&benchmark.executable).arg("--json").arg(&json);
    if args.quick {
        command.arg("--quick");
    }
    command
        .args(&args.part)
        .current_dir(benchmark.package_dir());
    run::stream(&mut command)?;
    println!("written: {}", json.display());
    Ok(())
}
