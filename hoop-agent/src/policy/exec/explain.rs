//! What a policy says about one command, and why: reads the rules as a person would, without the
//! automata, so that each can be tested against the other.

use std::fmt;

use hoop_common::policy::Mode;
use regex_automata::meta::Regex;
use serde::{Deserialize, Serialize};

use super::{Exec, ExecRule, Pattern, UNREADABLE_BECAUSE, UNREADABLE_RULE, UidRange};
use crate::policy::explain::{Explanation, OtherMatch, Question, Verdict, verdict};
use crate::policy::model::{Action, DEFAULT_BECAUSE, DEFAULT_RULE, OBSERVE_RULE, Policy};

/// A command when it starts. `None` is what could not be read in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Resolved path of the program.
    pub path: Option<Vec<u8>>,
    /// The command line: all arguments, the program's own name first, with one NUL or space
    /// between them and none at the end.
    pub args: Option<Vec<u8>>,
    /// Resolved path of the parent's program.
    pub parent: Option<Vec<u8>>,
    /// The real user id.
    pub uid: u32,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => spaced(bytes).escape_ascii().to_string(),
            None => "(unreadable)".to_owned(),
        };
        write!(f, "{} `{}`", text(&self.path), text(&self.args))?;
        write!(f, " from {} as {}", text(&self.parent), self.uid)
    }
}

/// Judges a command by a policy.
#[must_use]
pub fn explain_exec(policy: &Policy, command: &Command) -> Explanation {
    let exec = &policy.exec;
    let matching: Vec<&ExecRule> = exec
        .rules()
        .iter()
        .filter(|rule| matches(rule, command) == Some(true))
        .collect();
    let Decision {
        action,
        rule,
        because,
        is_rule,
    } = decide(exec, command, &matching);
    let observes = policy.mode == Mode::Observe;
    let others = matching
        .iter()
        .skip(usize::from(is_rule && !observes))
        .map(|other| OtherMatch {
            rule: other.name.clone(),
            action: other.action,
            why: if observes {
                "rules are not consulted in observe mode".to_owned()
            } else if other.action == action {
                format!("`{rule}` stands before it")
            } else {
                format!("`{rule}` denies, and deny beats allow")
            },
        });
    let (verdict, rule, because) = if observes {
        (Verdict::Observe, OBSERVE_RULE, "")
    } else {
        (verdict(action, policy.mode), rule, because)
    };
    Explanation {
        policy: policy.name.clone(),
        mode: policy.mode,
        question: Question::Command(command.clone()),
        verdict,
        rule: rule.to_owned(),
        because: because.to_owned(),
        others: others.collect(),
    }
}

struct Decision<'p> {
    action: Action,
    rule: &'p str,
    because: &'p str,
    /// Whether it is the first of the matching rules.
    is_rule: bool,
}

fn decide<'p>(exec: &'p Exec, command: &Command, matching: &[&'p ExecRule]) -> Decision<'p> {
    let first = matching.first();
    let may_be_denied =
        |rule: &ExecRule| rule.action == Action::Deny && matches(rule, command).is_none();
    if first.is_none_or(|rule| rule.action == Action::Allow)
        && exec.rules().iter().any(may_be_denied)
    {
        return Decision {
            action: Action::Deny,
            rule: UNREADABLE_RULE,
            because: UNREADABLE_BECAUSE,
            is_rule: false,
        };
    }
    match first {
        Some(rule) => Decision {
            action: rule.action,
            rule: &rule.name,
            because: &rule.because,
            is_rule: true,
        },
        None => Decision {
            action: exec.default,
            rule: DEFAULT_RULE,
            because: match exec.default {
                Action::Allow => "",
                Action::Deny => DEFAULT_BECAUSE,
            },
            is_rule: false,
        },
    }
}

/// Whether the rule matches. `None` if that depends on what could not be read.
fn matches(rule: &ExecRule, command: &Command) -> Option<bool> {
    let has_uid = |range: &UidRange| (range.first..=range.last).contains(&command.uid);
    let conditions = [
        Some(rule.uids.is_empty() || rule.uids.iter().any(has_uid)),
        is_met(rule.path.as_ref(), command.path.as_deref(), path_matches),
        is_met(
            rule.parent.as_ref(),
            command.parent.as_deref(),
            path_matches,
        ),
        is_met(rule.args.as_ref(), command.args.as_deref(), args_match),
    ];
    if conditions.contains(&Some(false)) {
        Some(false)
    } else if conditions.contains(&None) {
        None
    } else {
        Some(true)
    }
}

fn is_met(
    pattern: Option<&Pattern>,
    text: Option<&[u8]>,
    matches: fn(&Pattern, &[u8]) -> bool,
) -> Option<bool> {
    match pattern {
        None => Some(true),
        Some(pattern) => text.map(|text| matches(pattern, text)),
    }
}

fn path_matches(pattern: &Pattern, path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;

    let path = std::ffi::OsStr::from_bytes(path);
    super::pattern::glob(&pattern.text).is_ok_and(|glob| glob.compile_matcher().is_match(path))
}

fn args_match(pattern: &Pattern, args: &[u8]) -> bool {
    // Only a pattern beyond the limits of automata, which are lower, cannot be built.
    Regex::builder()
        .configure(Regex::config().utf8_empty(false))
        .build_from_hir(&pattern.hir)
        .is_ok_and(|regex| regex.is_match(&spaced(args)))
}

fn spaced(args: &[u8]) -> Vec<u8> {
    let space = |&byte: &u8| if byte == 0 { b' ' } else { byte };
    args.iter().map(space).collect()
}
