//! `doctor`: what this kernel offers, what is missing, what that costs, and the fix.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{DONE, FAILED, Format, print};
use crate::{
    agent,
    control::{Request, client::Client},
    kernel::{
        btf::{Btf, VMLINUX},
        hooks::{HOOKS, Need},
        load, offsets, pins,
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
pub(super) fn run(format: Format, socket: &Path) -> Result<u8> {
    let findings = examine(socket);
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

fn examine(socket: &Path) -> Vec<Finding> {
    let mut findings = vec![privilege(), cgroup(), type_information(), bpffs()];
    findings.extend(probe::features().into_iter().map(feature));
    findings.extend(hooks(socket));
    findings
}

/// The hooks of the running daemon, or what a daemon would have.
fn hooks(socket: &Path) -> Vec<Finding> {
    let running = Client::connect(socket)
        .and_then(|mut client| client.ask(&Request::Status))
        .map(|status| (status["hooks"].clone(), ""));
    let hooks = running.or_else(|_| Ok::<_, anyhow::Error>((trial()?, " (no daemon runs: tried)")));
    match hooks {
        Ok((hooks, note)) => hooks
            .as_array()
            .into_iter()
            .flatten()
            .map(|hook| hook_finding(hook, note))
            .collect(),
        Err(error) => vec![finding("hooks", State::Fatal, format!("{error:#}"))],
    }
}

/// What becomes of every hook if the programs are loaded now.
fn trial() -> Result<Value> {
    let btf = Btf::read(Path::new(VMLINUX))?;
    let hooks = load::trial(&offsets::find(&btf)?)?;
    serde_json::to_value(agent::hooks::statuses(&hooks)).context("hooks as JSON")
}

fn hook_finding(hook: &Value, note: &str) -> Finding {
    let text = |key: &str| hook[key].as_str().unwrap_or_default();
    let refused = text("state") == "refused";
    let what = format!("hook {}", text("name"));
    let mut detail = format!("{} at {}{note}", text("state"), text("place"));
    for (before, key) in [(": ", "reason"), ("; without it, ", "lost")] {
        if !text(key).is_empty() {
            detail.push_str(before);
            detail.push_str(text(key));
        }
    }
    let needed = HOOKS
        .iter()
        .any(|hook| hook.name() == text("name") && hook.need == Need::Needed);
    let state = match (refused, needed) {
        (false, _) => State::Good,
        (true, false) => State::Missing,
        (true, true) => State::Fatal,
    };
    finding(&what, state, detail)
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
