//! `cargo xtask`: sets up, builds, lints and tests Hoop. One file per subcommand.

mod build;
mod build_ebpf;
mod paths;
mod run;
mod toolchain;

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
    /// Build the kernel object and the daemon, in release.
    Build,
    /// Build the kernel object, into `bpf/hoop-ebpf.o` of the target directory.
    BuildEbpf,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Build => build::run().map(drop),
        Command::BuildEbpf => build_ebpf::run().map(drop),
    }
}
