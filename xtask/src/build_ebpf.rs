//! `cargo xtask build-ebpf`: the kernel programs, for the BPF target.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::toolchain::{self, Origin, Toolchain};
use crate::{paths, run, setup};

/// Builds the kernel object and returns its path.
///
/// # Errors
///
/// The toolchain cannot be set up, or hoop-ebpf does not compile or link.
pub(crate) fn run() -> Result<PathBuf> {
    build(&setup::toolchain()?)
}

/// Builds the kernel object with `toolchain` and returns its path.
///
/// # Errors
///
/// hoop-ebpf does not compile or link.
pub(crate) fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    let compiler = &toolchain.compiler;
    let (status, said) = run::tee_stderr(&mut toolchain.cargo("build"))?;
    if !status.success() {
        // Only linking shows whether bpf-linker's LLVM reads what the compiler's LLVM wrote.
        let linking_failed = said.contains("linking with `") && said.contains("bpf-linker` failed");
        if linking_failed && compiler.origin == Origin::Rustup {
            let why = format!("bpf-linker does not link what {compiler} compiles");
            println!("setup: eBPF compiler: {why}: trying Debian's");
            toolchain::reject_nightly(&why)?;
            return build(&setup::toolchain()?);
        }
        bail!(
            "hoop-ebpf does not build with {compiler} and {}",
            toolchain.linker.display()
        );
    }
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
