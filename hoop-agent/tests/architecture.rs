//! The invariants of ARCHITECTURE.md that can be read off the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that may name aya.
const AYA: [&str; 2] = ["src/kernel/", "src/policy/install.rs"];

/// The pipeline's stages, which only `pipeline/mod.rs` joins.
const STAGES: [&str; 4] = ["arguments", "attribute", "decode", "gap"];

#[test]
fn only_the_kernel_module_and_install_name_aya() {
    for (path, text) in sources("src") {
        if AYA.iter().any(|allowed| path.starts_with(allowed)) {
            continue;
        }
        let named = text.lines().find(|line| {
            ["aya::", "aya_log::", "aya_obj::"]
                .iter()
                .any(|name| line.contains(name))
        });
        assert_eq!(named, None, "{path}");
    }
}

#[test]
fn stages_of_the_pipeline_do_not_import_each_other() {
    for stage in STAGES {
        let path = format!("src/pipeline/{stage}.rs");
        let text = fs::read_to_string(root().join(&path)).expect("a stage");
        for other in STAGES.iter().filter(|other| **other != stage) {
            for import in [format!("super::{other}"), format!("pipeline::{other}")] {
                assert!(!text.contains(&import), "{path} imports {other}");
            }
        }
    }
}

#[test]
fn compiling_a_policy_touches_nothing() {
    let text = fs::read_to_string(root().join("src/policy/compile.rs")).expect("compile.rs");
    for name in [
        "std::fs",
        "std::io",
        "crate::kernel",
        "std::time",
        "std::env",
    ] {
        assert!(!text.contains(name), "compile.rs uses {name}");
    }
}

#[test]
fn every_hook_says_how_it_fails() {
    for (path, text) in sources("../hoop-ebpf/src/hooks") {
        if path.ends_with("mod.rs") {
            continue;
        }
        let comment: String = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let said = ["Fails closed", "Fails open", "Observes only"];
        assert!(said.iter().any(|words| comment.contains(words)), "{path}");
    }
}

/// Every Rust file below a directory of this package, by its path from there.
fn sources(dir: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let name = path.strip_prefix(root()).unwrap_or(&path);
                files.push((name.display().to_string(), text));
            }
        }
    }
    assert!(!files.is_empty(), "{dir} has sources");
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
