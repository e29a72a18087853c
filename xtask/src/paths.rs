//! Where things are: the workspace, its target directory, programs on this machine.

use std::env;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The directory of the workspace's `Cargo.toml`.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo's target directory: `CARGO_TARGET_DIR` where it is set, else `target` in the workspace.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => workspace().join(dir),
        _ => workspace().join("target"),
    }
}

/// The kernel object, as `cargo xtask build-ebpf` leaves it.
pub(crate) fn ebpf_object() -> PathBuf {
    target().join("bpf/hoop-ebpf.o")
}

/// The daemon, as `cargo xtask build` leaves it.
pub(crate) fn agent() -> PathBuf {
    target().join("release/hoop-agent")
}

/// Cargo's own directory, where `cargo install` puts programs below `bin`.
pub(crate) fn cargo_home() -> PathBuf {
    home_of("CARGO_HOME", ".cargo")
}

/// The directory of `rustc`, `cargo` and their company that runs this xtask.
pub(crate) fn host_toolchain_bin() -> PathBuf {
    let cargo = env::var_os("CARGO").map(PathBuf::from);
    cargo
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/usr/bin"))
        .to_owned()
}

/// Rustup's own directory, where toolchains live.
pub(crate) fn rustup_home() -> PathBuf {
    home_of("RUSTUP_HOME", ".rustup")
}

/// The first executable file called `program` in `PATH`, the system directories (which a user's
/// `PATH` may lack) and cargo's `bin`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain([cargo_home().join("bin")])
        .map(|dir| dir.join(program))
        .find(|candidate| is_executable(candidate))
}

/// Whether `path` is a file that may be executed.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn home_of(variable: &str, below_home: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => env::home_dir().unwrap_or_default().join(below_home),
    }
}
