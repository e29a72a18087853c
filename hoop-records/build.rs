//! Generates the types of records. Writes to `OUT_DIR` only.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use protox::prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto};

/// Parts of a record that many records share: they are held behind a reference count, and their
/// JSON is rendered once.
const SHARED: [&str; 2] = ["Actor", "Workload"];

/// Generates the types of `proto/hoop/v1/record.proto`.
///
/// In two runs, because prost cannot put a field behind a type of ours and generate that field's
/// own type as well: `parts` holds every message but `Record`, `record` holds `Record` alone.
fn main() -> Result<()> {
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
    config.extern_path(format!(".hoop.v1.{record}"), "crate::Record");
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
    for field in [
        "Trace.trace_id",
        "Trace.span_id",
        "Trace.parent_span_id",
        "Link.call_span_id",
        "Link.span_id",
    ] {
        config.field_attribute(
            format!(".hoop.v1.{field}"),
            r#"#[serde(serialize_with = "serialize_id")]"#,
        );
    }
    config
        .out_dir(out_dir("parts")?)
        .compile_fds(descriptors.clone())?;

    let mut config = prost_build::Config::new();
    for name in messages
        .iter()
        .chain(&enums)
        .filter(|&&name| name != record)
    {
        let path = format!("crate::{name}");
        let path = if SHARED.contains(name) {
            format!("crate::Shared<{path}>")
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
