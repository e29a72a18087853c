//! What became of every hook, as records and `status` tell it.

use crate::{
    kernel::hooks::{HookState, Hooks},
    pipeline::attribute::lifecycle,
};
use hoop_records::{Fact, HookStatus, Kind, Record};

/// Every hook of the kernel programs.
#[must_use]
pub fn statuses(hooks: &Hooks) -> Vec<HookStatus> {
    hooks
        .iter()
        .map(|(hook, state)| HookStatus {
            name: hook.name().to_owned(),
            place: hook.place(),
            state: state.word().to_owned(),
            reason: state.reason().unwrap_or_default(),
            lost: match state {
                HookState::Refused(_) => hook.costs.to_owned(),
                _ => String::new(),
            },
        })
        .collect()
}

/// How many are in which state, in words.
#[must_use]
pub fn summary(statuses: &[HookStatus]) -> String {
    let count = |word| statuses.iter().filter(|hook| hook.state == word).count();
    ["attached", "observe-only", "spare", "refused"]
        .map(|word| (count(word), word))
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The record of it, at every start and change.
pub(super) fn record(hooks: &Hooks) -> Record {
    let statuses = statuses(hooks);
    let mut record = lifecycle(Kind::Agent, "hooks", summary(&statuses), String::new());
    if let Some(Fact::Lifecycle(fact)) = &mut record.fact {
        fact.hooks = statuses;
    }
    record
}

/// The reason of a state in one line: the verifier's lines follow the first.
pub(super) fn reason_line(state: &HookState) -> Option<String> {
    let reason = state.reason()?;
    Some(reason.lines().next().unwrap_or_default().to_owned())
}
