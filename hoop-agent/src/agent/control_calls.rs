//! Answers to the command line.

use anyhow::{Context, Result};
use hoop_common::policy::SocketKind;
use serde_json::{Value, json};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use super::{Agent, enforcer::Origin, hooks};
use crate::{
    control::{Answer, Request, server::Call},
    policy::{
        explain::{Question, explain},
        model::{Policy, masking_action_name, mode_name, socket_name},
        show::Show,
    },
    workload::path::CgroupPath,
};

/// Below which cgroup `exec` makes its own.
pub const EXEC_PARENT: &str = "/hoop";

/// A cgroup made by `exec`.
pub struct Exec {
    path: CgroupPath,
    /// Ends when the caller became the command, or died.
    caller: Option<Receiver<()>>,
}

impl Exec {
    /// One that an earlier daemon made.
    pub(super) fn adopted(path: CgroupPath) -> Self {
        Self { path, caller: None }
    }
}

impl Agent {
    /// Answers one call.
    pub(super) async fn answer(&mut self, call: Call) {
        let Call {
            request,
            answer,
            hang_up,
        } = call;
        let result = match request {
            Request::Status => Ok(self.status().await),
            Request::Exec { policy } => self.exec(&policy, hang_up),
            other => self.answer_now(other),
        };
        let _ = answer.send(match result {
            Ok(value) => Answer::Done(value),
            Err(error) => Answer::Failed(format!("{error:#}")),
        });
    }

    fn answer_now(&mut self, request: Request) -> Result<Value> {
        match request {
            Request::PolicyShow { name: Some(name) } => {
                Ok(json!([show(self.enforcer.policy(&name)?)]))
            }
            Request::PolicyShow { name: None } => {
                Ok(self.enforcer.policies().iter().map(show).collect())
            }
            Request::PolicyExplain { name, question } => {
                Ok(explanation(self.enforcer.policy(&name)?, &question))
            }
            Request::WorkloadList => Ok(self.list()),
            Request::WorkloadTag { cgroup, policy } => {
                let path = CgroupPath::parse(&cgroup)?;
                let id = self
                    .enforcer
                    .tag(&path, &policy, Origin::Hand, &self.recorder)?;
                self.ask_sweep(vec![id]);
                Ok(json!({ "cgroup": path.as_str(), "cgroup_id": id, "policy": policy }))
            }
            Request::WorkloadUntag { cgroup } => {
                let path = CgroupPath::parse(&cgroup)?;
                self.enforcer.untag_by_hand(&path, &self.recorder)?;
                Ok(json!({ "cgroup": path.as_str() }))
            }
            Request::Status | Request::Exec { .. } | Request::Follow { .. } => Ok(Value::Null),
        }
    }

    async fn status(&mut self) -> Value {
        let counts = self.recorder.counts().await;
        json!({
            "state": "enforcing",
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "epoch": self.enforcer.epoch().0,
            "policies": self.enforcer.policies().len(),
            "workloads": self.enforcer.workloads().len(),
            "events": {
                "numbered": counts.numbered,
                "recorded": counts.recorded,
                "lost": counts.lost,
            },
            "plaintext": self.payload.counts(),
            "verdicts": counts.verdicts,
            "records": { "last": counts.last_record, "failing": counts.log_failing },
            "hooks": hooks::statuses(self.enforcer.kernel().hooks()),
            "degraded": self.degraded.iter().map(|degraded| json!({
                "policy": degraded.policy,
                "why": degraded.why,
            })).collect::<Vec<_>>(),
        })
    }

    fn list(&self) -> Value {
        self.enforcer
            .workloads()
            .iter()
            .map(|(id, tagged)| {
                let processes = self
                    .cgroups
                    .processes(&tagged.path)
                    .map_or(0, |list| list.len());
                let policy = self.enforcer.policy(&tagged.policy).ok();
                json!({
                    "cgroup": tagged.path.as_str(),
                    "cgroup_id": id,
                    "policy": tagged.policy,
                    "mode": policy.map(|policy| mode_name(policy.mode)),
                    "identity": policy.map(|policy| policy.identity.as_str()),
                    "origin": tagged.origin,
                    "processes": processes,
                })
            })
            .collect()
    }

    fn exec(&mut self, policy: &str, caller: Receiver<()>) -> Result<Value> {
        // A wrong name must leave no cgroup behind.
        self.enforcer.policy(policy)?;
        let number = (0..)
            .map(|number| format!("{EXEC_PARENT}/exec-{}-{number}", std::process::id()))
            .filter_map(|path| CgroupPath::parse(&path).ok())
            .find(|path| self.cgroups.id(path).is_err())
            .context("no name is left for a cgroup")?;
        let path = number;
        self.cgroups.create(&path)?;
        let id = match self
            .enforcer
            .tag(&path, policy, Origin::Exec, &self.recorder)
        {
            Ok(id) => id,
            Err(error) => {
                self.cgroups.remove(&path)?;
                return Err(error);
            }
        };
        self.execs.insert(
            id,
            Exec {
                path: path.clone(),
                caller: Some(caller),
            },
        );
        Ok(json!({ "procs": self.cgroups.full_path(&path).join("cgroup.procs") }))
    }

    /// Removes the cgroups that `exec` made and that are empty.
    pub(super) fn tidy_execs(&mut self) {
        let Self {
            execs,
            cgroups,
            enforcer,
            recorder,
            ..
        } = self;
        execs.retain(|id, exec| {
            if let Some(caller) = &mut exec.caller {
                match caller.try_recv() {
                    Err(TryRecvError::Empty) => return true,
                    _ => exec.caller = None,
                }
            }
            if cgroups.populated(&exec.path).unwrap_or(false) {
                return true;
            }
            if let Err(error) = enforcer.untag(*id, "the command ended", recorder) {
                tracing::warn!(error = %format!("{error:#}"), "a command's tag could not be taken off");
            }
            if let Err(error) = cgroups.remove(&exec.path) {
                tracing::warn!(%error, cgroup = %exec.path, "a command's cgroup could not be removed");
            }
            false
        });
        if execs.is_empty()
            && let Ok(parent) = CgroupPath::parse(EXEC_PARENT)
        {
            // Fails while others use it.
            let _ = std::fs::remove_dir(cgroups.full_path(&parent));
        }
    }
}

/// A policy, as JSON.
#[must_use]
pub fn show(policy: &Policy) -> Value {
    let rules: Vec<Value> = policy
        .rules_by_precedence()
        .map(|rule| {
            let cidrs = rule.cidrs.as_ref();
            json!({
                "name": rule.name,
                "action": rule.action.to_string(),
                "cidrs": cidrs.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>()),
                "ports": rule.ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "protocol": rule.protocol.to_string(),
                "because": rule.because,
            })
        })
        .collect();
    let sockets = SocketKind::ALL
        .into_iter()
        .filter(|kind| policy.sockets & kind.bit() != 0);
    json!({
        "name": policy.name,
        "file": policy.file,
        "identity": policy.identity,
        "on_behalf_of": policy.on_behalf_of,
        "mode": mode_name(policy.mode),
        "cgroups": policy.cgroups.iter().map(|cgroup| cgroup.text.as_str()).collect::<Vec<_>>(),
        "egress": { "default": policy.egress.default.to_string(), "rules": rules },
        "sockets": sockets.map(socket_name).collect::<Vec<_>>(),
        "capture": policy.capture.map(|capture| json!({
            "tls": true,
            "stdio": capture.stdio,
            "max_bytes_per_call": capture.max_bytes_per_call,
            "max_body_bytes": capture.max_body_bytes,
        })),
        "masking": masking(&policy.masking),
        "text": Show(policy).to_string(),
    })
}

/// What is masked, as JSON. `detectors` is null for all that are built in.
fn masking(config: &hoop_mask::Config) -> Value {
    let rules = config.rules.iter().map(|rule| {
        json!({
            "name": rule.name,
            "class": rule.class,
            "pattern": rule.pattern,
            "action": rule.action.map(masking_action_name),
        })
    });
    let actions = config
        .actions
        .iter()
        .map(|(class, action)| (class.clone(), masking_action_name(*action).into()));
    json!({
        "detectors": config.detectors,
        "rules": rules.collect::<Vec<_>>(),
        "actions": actions.collect::<serde_json::Map<_, _>>(),
    })
}

/// What a policy says about a destination or a command, as JSON.
#[must_use]
pub fn explanation(policy: &Policy, question: &Question) -> Value {
    let explanation = explain(policy, question);
    let asked = match question {
        Question::Destination(_) => "destination",
        Question::Command(_) => "command",
    };
    json!({
        "policy": explanation.policy,
        "mode": mode_name(explanation.mode),
        asked: question.to_string(),
        "verdict": explanation.verdict.to_string(),
        "rule": explanation.rule,
        "because": explanation.because,
        "others": explanation.others.iter().map(|other| json!({
            "rule": other.rule,
            "action": other.action.to_string(),
            "why": other.why,
        })).collect::<Vec<_>>(),
        "text": explanation.to_string(),
    })
}
