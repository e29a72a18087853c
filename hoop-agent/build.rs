//! Embeds the kernel programs and names their layout. Writes to `OUT_DIR` only.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    embed_kernel_programs();
    name_the_layout();
}

/// Copies the object that `cargo xtask build-ebpf` made to where `kernel/load.rs` includes it.
fn embed_kernel_programs() {
    println!("cargo::rerun-if-env-changed=HOOP_EBPF_OBJECT");
    let object = env::var_os("HOOP_EBPF_OBJECT")
        .map_or_else(|| workspace().join("target/bpf/hoop-ebpf.o"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("hoop-ebpf.o");
    if let Err(error) = fs::copy(&object, &out) {
        println!(
            "cargo::error=no kernel programs at {} ({error}): run `cargo xtask build-ebpf` first",
            object.display()
        );
    }
}

/// Gives the layout of events and maps a name, so that a daemon adopts the pins of its own layout
/// only. Any change of the files that define it is a new layout.
fn name_the_layout() {
    let workspace = workspace();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in [
        "hoop-common/src/event.rs",
        "hoop-common/src/exec.rs",
        "hoop-common/src/limits.rs",
        "hoop-common/src/matcher.rs",
        "hoop-common/src/policy.rs",
        "hoop-common/src/state.rs",
        "hoop-ebpf/src/maps.rs",
    ] {
        let path = workspace.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        // FNV-1a: any stable hash will do.
        for byte in fs::read(path).unwrap_or_default() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    println!("cargo::rustc-env=HOOP_LAYOUT={hash:016x}");
}

/// The workspace's root. Asked at run time: a cached build script may have moved with its checkout.
fn workspace() -> PathBuf {
    Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..")
}
