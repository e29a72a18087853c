//! Compiles the record's definition, embeds the kernel programs, and names their layout. Writes to
//! `OUT_DIR` only.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use protox::prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto};

fn main() -> Result<()> {
    embed_kernel_programs();
    name_the_layout();
    compile_records()
}

/// Parts of a record that many records share: they are held behind a reference count, and their
/// JSON is rendered once.
const SHARED: [&str; 2] = ["Actor", "Workload"];

/// Generates the types of `proto/hoop/v1/record.proto`.
///
/// In two runs, because prost cannot put a field behind a type of ours and generate that field's
/// own type as well: `parts` holds every message but `Record`, `record` holds `Record` alone.
fn compile_records() -> Result<()> {
    let definition = "hoop/v1/record.proto";
    println!("cargo::rerun-if-changed=proto/{definition}");
    let descriptors = protox::compile([definition], ["proto"])?;

    let files = || descriptors.file.iter();
    let messages = files().flat_map(|file| &file.message_type);
    let messages: Vec<_> = messages.map(DescriptorProto::name).collect();
    let enums = files().flat_map(|file| &file.enum_type);
    let enums: Vec<_> = enums.map(EnumDescriptorProto::name).collect();
    let record = "Record";

    let mut config = prost_build::Config::new();
    config.extern_path(format!(".hoop.v1.{record}"), "crate::proto::Record");
    for message in messages.iter().filter(|&&name| name != record) {
        let path = format!(".hoop.v1.{message}");
        config.type_attribute(&path, "#[derive(serde::Serialize)]");
        config.field_attribute(&path, r#"#[serde(skip_serializing_if = "is_default")]"#);
    }
    config.field_attribute(
        ".hoop.v1.Verdict.result",
        r#"#[serde(serialize_with = "serialize_result")]"#,
    );
    config.field_attribute(
        ".hoop.v1.ApiActivity.attributes",
        r#"#[serde(serialize_with = "serialize_attributes")]"#,
    );
    config
        .out_dir(out_dir("parts")?)
        .compile_fds(descriptors.clone())?;

    let mut config = prost_build::Config::new();
    for name in messages
        .iter()
        .chain(&enums)
        .filter(|&&name| name != record)
    {
        let path = format!("crate::proto::{name}");
        let path = if SHARED.contains(name) {
            format!("crate::proto::Shared<{path}>")
        } else {
            path
        };
        config.extern_path(format!(".hoop.v1.{name}"), path);
    }
    // Far larger than the others.
    for fact in ["api", "plaintext"] {
        config.boxed(format!(".hoop.v1.{record}.fact.{fact}"));
    }
    config
        .out_dir(out_dir("record")?)
        .compile_fds(descriptors.clone())?;
    Ok(())
}

/// A directory of that name in cargo's output directory.
fn out_dir(name: &str) -> Result<PathBuf> {
    let out = env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?;
    let path = Path::new(&out).join(name);
    fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path)
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
