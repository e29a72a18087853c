//! `cargo xtask lint`: formatting, clippy for the host and for BPF, what dependencies may be.

use std::process::Command;

use anyhow::{Result, bail};

use crate::toolchain::Toolchain;
use crate::{build_ebpf, deny, run, setup};

/// Runs every check, also after one failed.
///
/// # Errors
///
/// Names the checks that failed; what they found is on the standard streams.
pub(crate) fn run() -> Result<()> {
    let toolchain = setup::run()?;
    build_ebpf::build(&toolchain)?;
    check(&toolchain)
}

/// The checks alone, for a caller that has set up and built the kernel object.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn check(toolchain: &Toolchain) -> Result<()> {
    let failed: Vec<&str> = [
        (
            "rustfmt",
            step("rustfmt", &mut run::cargo(["fmt", "--all", "--check"])),
        ),
        (
            "rustfmt of the fuzzers",
            step(
                "rustfmt of the fuzzers",
                &mut run::cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]),
            ),
        ),
        (
            "clippy",
            step("clippy of the host's crates", &mut host_clippy()),
        ),
        (
            "clippy for BPF",
            step("clippy of hoop-ebpf", &mut bpf_clippy(toolchain)),
        ),
        ("dependencies", dependencies()),
    ]
    .into_iter()
    .filter_map(|(name, passed)| (!passed).then_some(name))
    .collect();
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    Ok(())
}

fn host_clippy() -> Command {
    run::cargo([
        "clippy",
        "--quiet",
        "--locked",
        "--workspace",
        "--exclude=hoop-ebpf",
        "--all-targets",
        "--",
        "-Dwarnings",
    ])
}

/// For the BPF target, as the host's clippy cannot compile what the programs are.
fn bpf_clippy(toolchain: &Toolchain) -> Command {
    let mut clippy = toolchain.cargo("clippy");
    clippy.args(["--quiet", "--", "-Dwarnings"]);
    clippy
}

fn dependencies() -> bool {
    match deny::check() {
        Ok(packages) => {
            println!(
                "lint: dependencies: {packages} packages have allowed licences and sources; \
                 advisories are for `cargo deny check advisories`, which needs the network"
            );
            true
        }
        Err(err) => {
            println!("lint: dependencies: {err:#}");
            false
        }
    }
}

fn step(what: &str, command: &mut Command) -> bool {
    match run::stream(command) {
        Ok(()) => {
            println!("lint: {what}: clean");
            true
        }
        Err(err) => {
            println!("lint: {what}: {err:#}");
            false
        }
    }
}
