//! `cargo xtask build`: the kernel object, then the daemon.

use std::path::PathBuf;

use anyhow::Result;

use crate::{build_ebpf, paths, run};

/// Builds both in release and returns the path of the daemon.
pub(crate) fn run() -> Result<PathBuf> {
    build_ebpf::run()?;
    agent()
}

/// Builds the daemon alone, around the kernel object that is there, and returns its path.
///
/// # Errors
///
/// It does not compile.
pub(crate) fn agent() -> Result<PathBuf> {
    run::stream(&mut run::cargo([
        "build",
        "--locked",
        "--release",
        "--package",
        "hoop-agent",
    ]))?;
    Ok(paths::agent())
}
