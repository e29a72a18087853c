//! What policies need, and what the hooks of this kernel keep.

use super::hooks::reason_line;
use crate::{
    kernel::hooks::Hooks,
    policy::{
        Diagnostic, Diagnostics,
        model::Policy,
        needs::{Need, Promise, needs},
    },
};

/// What keeps a promise: any of these sets of programs, all of its programs attached, or ready to be.
fn keepers(promise: Promise) -> &'static [&'static [&'static str]] {
    match promise {
        Promise::SocketFamilies => &[
            &["hoop_socket_create"],
            &["hoop_enter_socket", "hoop_enter_socketpair"],
        ],
        Promise::UnixPaths => &[&["hoop_unix_connect", "hoop_unix_send"]],
        Promise::Plaintext => &[&[
            "hoop_tls_call",
            "hoop_tls_return",
            "hoop_tls_close",
            "hoop_go_call",
            "hoop_go_return",
        ]],
    }
}

/// A policy in force without all that it promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Degraded {
    /// Name of the policy.
    pub(super) policy: String,
    /// What is not kept, and why.
    pub(super) why: String,
}

/// Compares what policies need with what the hooks keep. Policies that say `allowDegraded: true` may
/// go without; they are returned.
///
/// # Errors
///
/// Every need that is not met, of every other policy.
pub(super) fn check(policies: &[Policy], hooks: &Hooks) -> Result<Vec<Degraded>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut degraded = Vec::new();
    for policy in policies {
        for Need {
            promise,
            stated,
            position,
        } in needs(policy)
        {
            let Some(why) = broken(promise, hooks) else {
                continue;
            };
            let why = format!("{stated}, and this kernel cannot {promise}: {why}");
            if policy.allow_degraded {
                let policy = policy.name.clone();
                degraded.push(Degraded { policy, why });
            } else {
                problems.push(Diagnostic {
                    path: policy.file.clone(),
                    position: Some(position),
                    message: why,
                    help: "`hoop-agent doctor` says what to do about the kernel; to go without, \
                           add `allowDegraded: true`"
                        .to_owned(),
                });
            }
        }
    }
    if problems.is_empty() {
        Ok(degraded)
    } else {
        Err(problems.sorted())
    }
}

/// Why a promise is not kept; `None` if it is.
fn broken(promise: Promise, hooks: &Hooks) -> Option<String> {
    let sets = keepers(promise);
    let kept = sets
        .iter()
        .any(|set| set.iter().all(|program| hooks.is_loaded(program)));
    if kept {
        return None;
    }
    let refused: Vec<String> = hooks
        .iter()
        .filter(|(hook, _)| sets.iter().any(|set| set.contains(&hook.program)))
        .filter_map(|(hook, state)| Some(format!("{}: {}", hook.name(), reason_line(state)?)))
        .collect();
    Some(refused.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::hooks::HookState, policy};

    fn hooks(refused: &[&str]) -> Hooks {
        Hooks::gather(|hook, _| {
            if refused.contains(&hook.program) {
                HookState::Refused("no such thing\n  the verifier says more".to_owned())
            } else {
                HookState::Attached
            }
        })
    }

    fn policies(spec: &str) -> anyhow::Result<Vec<Policy>> {
        let text = format!(
            "apiVersion: hoop.dev/v1alpha1\nkind: WorkloadPolicy\nmetadata: {{ name: agent }}\nspec:\n  identity: spiffe://example.org/a\n  {spec}\n"
        );
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("agent.yaml");
        std::fs::write(&file, text)?;
        Ok(policy::load(&file)?)
    }

    #[test]
    fn plaintext_is_promised_in_every_mode() -> anyhow::Result<()> {
        for mode in ["observe", "enforce"] {
            let policies = policies(&format!("mode: {mode}\n  capture: {{ tls: true }}"))?;
            assert_eq!(check(&policies, &hooks(&[])), Ok(Vec::new()));
            let problems = check(&policies, &hooks(&["hoop_go_return"]));
            let text = problems.expect_err("nothing keeps it").to_string();
            assert!(
                text.contains("cannot read plaintext at TLS libraries: go_return"),
                "{text}"
            );
        }
        Ok(())
    }

    #[test]
    fn either_means_keeps_the_promise_about_families() -> anyhow::Result<()> {
        let policies = policies("mode: enforce")?;
        let lsm = ["hoop_socket_create"];
        let signal = ["hoop_enter_socketpair"];
        for refused in [&[][..], &lsm, &signal] {
            assert_eq!(
                check(&policies, &hooks(refused)),
                Ok(Vec::new()),
                "{refused:?}"
            );
        }
        let problems = check(
            &policies,
            &hooks(&["hoop_socket_create", "hoop_enter_socketpair"]),
        )
        .expect_err("nothing keeps it");
        let text = problems.to_string();
        for words in [
            "agent.yaml:3:",
            "leaves out netlink, packet, vsock, alg, other",
            "socket_create: no such thing; enter_socketpair: no such thing",
            "allowDegraded: true",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(!text.contains("verifier"), "{text}");
        Ok(())
    }

    #[test]
    fn what_nobody_promised_is_not_asked_for() -> anyhow::Result<()> {
        let nothing = hooks(&["hoop_socket_create", "hoop_enter_socket"]);
        for spec in [
            "mode: observe",
            "mode: shadow",
            "mode: enforce\n  sockets: { allow: [unix, netlink, packet, vsock, alg, other] }",
        ] {
            assert_eq!(check(&policies(spec)?, &nothing), Ok(Vec::new()), "{spec}");
        }
        let spec = "mode: enforce\n  allowDegraded: true\n  sockets: { allow: [tcp] }";
        let degraded = check(&policies(spec)?, &nothing).map_err(anyhow::Error::from)?;
        assert_eq!(degraded.len(), 1);
        assert_eq!(degraded[0].policy, "agent");
        assert!(degraded[0].why.contains("leaves out unix"), "{degraded:?}");
        Ok(())
    }
}
