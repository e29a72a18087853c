//! `doctor`: what this kernel offers, what is missing, what that costs, and the fix.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{DONE, FAILED, Format, print};
use crate::{
    kernel::{
        btf::{Btf, VMLINUX},
        offsets, pins,
        probe::{self, Feature},
    },
    workload::cgroup::CgroupRoot,
};

/// One thing that was looked at.
struct Finding {
    what: String,
    state: State,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Good,
    /// Hoop works without, and loses something.
    Missing,
    /// Hoop does not work without.
    Fatal,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Missing => "missing",
            Self::Fatal => "needed",
        }
    }
}

/// Looks at everything. Fails if something is missing that Hoop needs.
pub(super) fn run(format: Format) -> Result<u8> {
    let findings = examine();
    let fatal = findings.iter().any(|finding| finding.state == State::Fatal);
    let value: Value = findings
        .iter()
        .map(|finding| {
            json!({ "what": finding.what, "state": finding.state.word(), "detail": finding.detail })
        })
        .collect();
    print::show(&value, format, |value| {
        let rows = value.as_array().into_iter().flatten().map(|finding| {
            ["what", "state", "detail"].map(|key| finding[key].as_str().unwrap_or("").to_owned())
        });
        print::table(["WHAT", "STATE", "DETAIL"], rows)
    })?;
    Ok(if fatal { FAILED } else { DONE })
}

fn examine() -> Vec<Finding> {
    let mut findings = vec![privilege(), cgroup(), type_information(), bpffs()];
    findings.extend(probe::features().into_iter().map(feature));
    findings
}

fn finding(what: &str, state: State, detail: impl Into<String>) -> Finding {
    Finding {
        what: what.to_owned(),
        state,
        detail: detail.into(),
    }
}

fn privilege() -> Finding {
    if nix::unistd::geteuid().is_root() {
        finding("root", State::Good, "effective user id 0")
    } else {
        finding(
            "root",
            State::Fatal,
            "the daemon needs root: use sudo, or run it as a service",
        )
    }
}

fn cgroup() -> Finding {
    match CgroupRoot::find() {
        Ok(root) => finding("cgroup v2", State::Good, root.mount().display().to_string()),
        Err(error) => finding("cgroup v2", State::Fatal, error.to_string()),
    }
}

fn type_information() -> Finding {
    match Btf::read(Path::new(VMLINUX)).and_then(|btf| offsets::find(&btf)) {
        Ok(_) => finding(
            "BTF",
            State::Good,
            "every struct member that Hoop reads is there",
        ),
        Err(error) => finding("BTF", State::Fatal, error.to_string()),
    }
}

fn bpffs() -> Finding {
    if pins::is_bpffs(Path::new(pins::BPFFS)) {
        finding("bpf file system", State::Good, pins::BPFFS)
    } else {
        finding(
            "bpf file system",
            State::Missing,
            format!(
                "not mounted; `run` mounts it, or `mount -t bpf bpf {}`: without it nothing outlives the daemon",
                pins::BPFFS
            ),
        )
    }
}

fn feature(feature: Feature) -> Finding {
    let state = match (&feature.refused, feature.needed) {
        (None, _) => State::Good,
        (Some(_), true) => State::Fatal,
        (Some(_), false) => State::Missing,
    };
    let detail = match feature.refused {
        None => feature.gives.to_owned(),
        Some(error) => format!("{error}; without it: {}; {}", feature.costs, feature.fix),
    };
    Finding {
        what: feature.name.to_owned(),
        state,
        detail,
    }
}
