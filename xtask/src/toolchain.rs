//! The eBPF toolchain: a Rust compiler with the source of its library, and bpf-linker.
//!
//! Two can do it: rustup's nightly with `rust-src`, and Debian's `rustc-web` packages. Either is a
//! directory of programs, used by path so that rustup's proxies have no say in it.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{paths, run};

/// What rustc and bpf-linker are told. BTF carries map definitions and types; instruction set v3
/// has the 32-bit instructions and the atomics that the programs write in assembly.
const RUSTFLAGS: [&str; 3] = ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3"];

/// Where a compiler that can build `core` for BPF comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Rustup's nightly with the component `rust-src`.
    Rustup,
    /// Debian's packages `rustc-web`, `cargo-web`, `rust-web-src`.
    Debian,
}

/// A compiler that is complete but for the linker.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub(crate) origin: Origin,
    /// Holds `cargo`, `rustc`, `cargo-clippy`, `clippy-driver`.
    bin: PathBuf,
    pub(crate) version: Version,
}

/// What `rustc -vV` says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// `1.96.0`, or `1.97.0-nightly`.
    pub(crate) release: String,
    /// Major version of the LLVM inside.
    pub(crate) llvm: u32,
}

/// A compiler and the linker to go with it.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: PathBuf,
}

impl Compiler {
    /// The compiler of that origin, if this machine has it with the library's source.
    pub(crate) fn find(origin: Origin) -> Option<Self> {
        let sysroot = match origin {
            Origin::Rustup => nightly_sysroot()?,
            Origin::Debian => PathBuf::from("/usr"),
        };
        let bin = sysroot.join("bin");
        let source = sysroot.join("lib/rustlib/src/rust/library/Cargo.lock");
        if !source.exists()
            || !["cargo", "rustc"]
                .iter()
                .all(|p| paths::is_executable(&bin.join(p)))
        {
            return None;
        }
        let said = run::capture(Command::new(bin.join("rustc")).arg("-vV")).ok()?;
        let version = Version::parse(&said)?;
        Some(Self {
            origin,
            bin,
            version,
        })
    }

    /// Whether clippy came with it.
    pub(crate) fn has_clippy(&self) -> bool {
        ["cargo-clippy", "clippy-driver"]
            .iter()
            .all(|p| paths::is_executable(&self.bin.join(p)))
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { release, llvm } = &self.version;
        match self.origin {
            Origin::Rustup => write!(f, "rustup's nightly {release} with LLVM {llvm}"),
            Origin::Debian => write!(f, "Debian's rustc {release} with LLVM {llvm}"),
        }
    }
}

impl Toolchain {
    /// `cargo build` or `cargo clippy` of hoop-ebpf for the BPF target, to which arguments may be
    /// added.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let bin = &self.compiler.bin;
        let mut command = match subcommand {
            "clippy" => Command::new(bin.join("cargo-clippy")),
            _ => Command::new(bin.join("cargo")),
        };
        command.current_dir(paths::workspace());
        run::forget_outer_cargo(&mut command);
        for key in [
            "RUSTUP_TOOLCHAIN",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTDOC",
            "RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_BUILD_RUSTFLAGS",
        ] {
            command.env_remove(key);
        }
        command
            .arg(subcommand)
            .args(["--locked", "--package", "hoop-ebpf", "--bins", "--release"])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            // Its own directory: the other compiler must not invalidate the host's builds.
            .arg("--target-dir")
            .arg(paths::target().join("bpf"))
            .env("CARGO", bin.join("cargo"))
            .env("RUSTC", bin.join("rustc"))
            // Lets a stable compiler take `-Z build-std`.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags());
        command
    }
}

impl Version {
    /// Reads the output of `rustc -vV`.
    pub(crate) fn parse(said: &str) -> Option<Self> {
        let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
        let release = field("release: ")?.trim().to_owned();
        let llvm = field("LLVM version: ")?
            .split('.')
            .next()?
            .trim()
            .parse()
            .ok()?;
        Some(Self { release, llvm })
    }
}

/// The bpf-linker of this machine, if it starts: one whose libLLVM is gone does not.
pub(crate) fn linker() -> Option<PathBuf> {
    let linker = paths::find("bpf-linker")?;
    run::capture(Command::new(&linker).arg("--version")).ok()?;
    Some(linker)
}

/// Why rustup's nightly is not to be used here, if that was found out before.
pub(crate) fn nightly_rejected() -> Option<String> {
    fs::read_to_string(rejection()).ok()
}

/// Remembers that rustup's nightly is not to be used here, until the target directory is cleaned.
///
/// # Errors
///
/// The target directory cannot be written.
pub(crate) fn reject_nightly(why: &str) -> Result<()> {
    let path = rejection();
    fs::create_dir_all(paths::target())
        .and_then(|()| fs::write(&path, why))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Whether rustup has a nightly, with or without the library's source.
pub(crate) fn has_nightly() -> bool {
    nightly_sysroot().is_some()
}

fn rejection() -> PathBuf {
    paths::target().join("nightly-rejected")
}

fn rustflags() -> OsString {
    // aya's macros and its register access go by the architecture of the kernel.
    let mut flags = format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH);
    for flag in RUSTFLAGS {
        flags.push('\x1f');
        flags.push_str(flag);
    }
    flags.into()
}

fn nightly_sysroot() -> Option<PathBuf> {
    let prefix = format!("nightly-{}-unknown-linux-", std::env::consts::ARCH);
    fs::read_dir(paths::rustup_home().join("toolchains"))
        .ok()?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_rustc_says() {
        let said = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                    binary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n\
                    LLVM version: 22.1.8\n";
        let version = Version {
            release: "1.96.0".to_owned(),
            llvm: 22,
        };
        assert_eq!(Version::parse(said), Some(version));
        assert_eq!(Version::parse("rustc 1.96.0 (ac68faa20 2026-05-25)"), None);
    }
}
