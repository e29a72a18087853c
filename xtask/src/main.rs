//! `cargo xtask`: sets up, builds, lints, tests and measures Hoop. One file per subcommand.

mod apt;
mod bench;
mod binaries;
mod build;
mod build_ebpf;
mod demo;
mod deny;
mod fuzz;
mod libtest;
mod lint;
mod paths;
mod run;
mod setup;
mod test;
mod toolchain;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests, demonstrates and measures Hoop.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install everything that building and testing need.
    Setup,
    /// Build the kernel object and the daemon, in release.
    Build,
    /// Build the kernel object, into `bpf/hoop-ebpf.o` of the target directory.
    BuildEbpf,
    /// Show a small AI agent under Hoop, and check that everything was seen.
    Demo(demo::Args),
    /// Check formatting, clippy for the host and for BPF, licences and sources.
    Lint,
    /// Fuzz every decoder of the kernel's bytes and every parser of files.
    Fuzz(fuzz::Args),
    /// Measure what being governed costs, as ratios of paired runs.
    Bench(bench::Args),
    /// Lint, then run every test, those that need root and the kernel included.
    Test(test::Args),
    /// Run kernel tests in guests with other kernels, under QEMU without KVM.
    Vm(vm::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a subcommand and returns whether it succeeded, when it has said itself what did not.
fn dispatch(command: Command) -> Result<bool> {
    match command {
        Command::Setup => setup::run().map(drop)?,
        Command::Build => build::run().map(drop)?,
        Command::BuildEbpf => build_ebpf::run().map(drop)?,
        Command::Demo(args) => return demo::run(&args),
        Command::Bench(args) => bench::run(&args)?,
        Command::Fuzz(args) => return fuzz::run(&args),
        Command::Lint => lint::run()?,
        Command::Test(args) => return test::run(&args),
        Command::Vm(args) => return vm::run(&args),
    }
    Ok(true)
}
