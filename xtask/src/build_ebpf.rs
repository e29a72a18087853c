//! `cargo xtask build-ebpf`: the kernel programs, for the BPF target.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::toolchain::{Compiler, Origin, Toolchain};
use crate::{paths, run};

/// Builds the kernel object and returns its path.
pub(crate) fn run() -> Result<PathBuf> {
    let compiler = Compiler::find(Origin::Rustup)
        .or_else(|| Compiler::find(Origin::Debian))
        .context("no eBPF compiler")?;
    let toolchain = Toolchain::new(compiler)?;
    run::stream(&mut toolchain.cargo("build"))?;
    let built = paths::target().join("bpf/bpfel-unknown-none/release/hoop-ebpf");
    let object = paths::ebpf_object();
    replace_if_changed(&built, &object)?;
    Ok(object)
}

/// Copies `from` to `to` unless that holds the same bytes already, so that nothing is rebuilt for
/// a new timestamp. A reader of `to` sees the old bytes or the new ones, never a part.
fn replace_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let part = to.with_extension("o.part");
    fs::write(&part, &new).with_context(|| format!("cannot write {}", part.display()))?;
    fs::rename(&part, to).with_context(|| format!("cannot write {}", to.display()))
}
