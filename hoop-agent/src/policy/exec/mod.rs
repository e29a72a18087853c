//! Exec rules: which commands the workloads of a policy may run.

mod automaton;
mod explain;
mod pattern;
#[cfg(test)]
mod tests;

use std::fmt;

use hoop_common::limits::{MAX_DFA_STATES, MAX_PATTERNS};

pub use explain::{Command, explain_exec};
pub use pattern::Pattern;

pub(super) use automaton::Automaton;
use automaton::{Subject, TooLarge};

use super::diagnostic::Position;
use super::model::Action;

/// The rule that denies a command which cannot be read in full.
pub const UNREADABLE_RULE: &str = "builtin/unreadable";
/// Why [`UNREADABLE_RULE`] denies.
pub const UNREADABLE_BECAUSE: &str = "cannot be read in full, and a deny rule may match";

/// The rule that denies a command whose path only looks like one that is allowed.
pub const MOUNTS_RULE: &str = "builtin/user-mounts";
/// Why [`MOUNTS_RULE`] denies.
pub const MOUNTS_BECAUSE: &str = "its path goes through a mount of a user namespace";

/// Which commands workloads may run.
///
/// A policy file that leaves `exec` out allows every command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// What happens to commands that no rule matches.
    pub default: Action,
    /// In order of precedence.
    rules: Vec<ExecRule>,
    /// The bit of every rule.
    bits: Vec<u32>,
    automata: Automata,
}

/// One rule: every command that meets all of its conditions. It has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRule {
    /// Unique within the policy.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Why. Never empty in a deny rule; may be empty in an allow rule.
    pub because: String,
    /// A glob over the program's resolved path.
    pub path: Option<Pattern>,
    /// A regular expression over the command line.
    pub args: Option<Pattern>,
    /// A glob over the resolved path of the parent's program.
    pub parent: Option<Pattern>,
    /// The real user ids. Empty means every one.
    pub uids: Vec<UidRange>,
    /// Where its name stands in the policy's file.
    pub position: Position,
}

/// User ids from `first` to `last`, both included, 0 to 2^32 - 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidRange {
    /// The lowest id.
    pub first: u32,
    /// The highest id, at least `first`.
    pub last: u32,
}

impl fmt::Display for UidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A rule that does not fit, or cannot apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnfitRule {
    /// Where the rule's name stands in the policy's file.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// The next step.
    pub help: String,
}

/// What the matcher needs of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Automata {
    pub(super) paths: Option<Automaton>,
    pub(super) parents: Option<Automaton>,
    pub(super) args: Option<Automaton>,
    /// The bits that begin a chain in `args`.
    pub(super) first: u64,
}

impl Exec {
    /// Checks the rules, in file order, against the matcher's limits and each other.
    ///
    /// # Errors
    ///
    /// The rules that do not fit or can never apply.
    pub fn new(default: Action, mut rules: Vec<ExecRule>) -> Result<Self, Vec<UnfitRule>> {
        // Without `args` first: those can be decided before the arguments are there, and must then
        // be the ones that are named.
        rules.sort_by_key(|rule| (rule.action == Action::Allow, rule.args.is_some()));
        let mut exec = Self {
            default,
            rules,
            bits: Vec::new(),
            automata: Automata::default(),
        };
        let args = exec.number()?;
        let paths = exec.patterns(|rule| rule.path.as_ref());
        let parents = exec.patterns(|rule| rule.parent.as_ref());
        let mut unfit = Vec::new();
        exec.automata.paths = exec.build(&paths, Subject::Path, "path", &mut unfit);
        exec.automata.parents = exec.build(&parents, Subject::Path, "parent", &mut unfit);
        exec.automata.args = exec.build(&args, Subject::CommandLine, "args", &mut unfit);
        if unfit.is_empty() {
            exec.report_dead_rules(&args, &mut unfit);
        }
        if unfit.is_empty() {
            Ok(exec)
        } else {
            Err(unfit)
        }
    }

    /// Every command is allowed.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self {
            default: Action::Allow,
            rules: Vec::new(),
            bits: Vec::new(),
            automata: Automata::default(),
        }
    }

    /// Whether every command is allowed, and by the default.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.default == Action::Allow && self.rules.is_empty()
    }

    /// The rules in the order in which they are asked: deny before allow, of these the ones
    /// without `args` first, then as written.
    #[must_use]
    pub fn rules(&self) -> &[ExecRule] {
        &self.rules
    }

    /// The rules with their bits, in the order of both.
    pub(super) fn rules_with_bits(&self) -> impl Iterator<Item = (&ExecRule, u32)> {
        self.rules.iter().zip(self.bits.iter().copied())
    }

    pub(super) fn automata(&self) -> &Automata {
        &self.automata
    }

    /// Gives every rule its bit, the last of its `args`; returns those, by rule.
    fn number(&mut self) -> Result<Vec<RulePatterns>, Vec<UnfitRule>> {
        let mut args = Vec::new();
        let mut next = 0;
        let mut longest = (0, 0);
        for (index, rule) in self.rules.iter().enumerate() {
            let parts = rule.args.as_ref().map_or(Vec::new(), Pattern::parts);
            let bits = parts.len().max(1) as u32;
            longest = longest.max((bits, index));
            self.automata.first |= 1_u64.checked_shl(next).unwrap_or(0);
            if !parts.is_empty() {
                args.push(RulePatterns {
                    rule: index,
                    patterns: (next..).zip(parts).collect(),
                });
            }
            next += bits;
            self.bits.push(next - 1);
        }
        if next <= MAX_PATTERNS {
            return Ok(args);
        }
        let rule = &self.rules[longest.1];
        Err(vec![UnfitRule {
            position: rule.position,
            message: format!(
                "the exec rules are {} and need {next} patterns, the limit is {MAX_PATTERNS}; \
                 `{}` needs {}",
                self.rules.len(),
                rule.name,
                longest.0
            ),
            help: "drop this rule or others, merge rules with `{a,b}` or `(a|b)`, or use `.*` in \
                   fewer `args`: each needs one more"
                .to_owned(),
        }])
    }

    fn patterns(&self, of: impl Fn(&ExecRule) -> Option<&Pattern>) -> Vec<RulePatterns> {
        let of = |(index, bit): (usize, &u32)| {
            Some(RulePatterns {
                rule: index,
                patterns: vec![(*bit, of(&self.rules[index])?.hir.clone())],
            })
        };
        self.bits.iter().enumerate().filter_map(of).collect()
    }

    fn build(
        &self,
        rules: &[RulePatterns],
        subject: Subject,
        key: &str,
        unfit: &mut Vec<UnfitRule>,
    ) -> Option<Automaton> {
        if rules.is_empty() {
            return None;
        }
        match RulePatterns::automaton(rules, subject) {
            Ok(automaton) => Some(automaton),
            Err(TooLarge { states }) => {
                let rule = &self.rules[to_drop(rules, subject)];
                let states = match states {
                    Some(states) => format!("{states} states"),
                    None => format!("far more than {MAX_DFA_STATES} states"),
                };
                unfit.push(UnfitRule {
                    position: rule.position,
                    message: format!(
                        "`{key}` of the exec rules needs an automaton of {states}, the limit is \
                         {MAX_DFA_STATES}; `{}` adds the most",
                        rule.name
                    ),
                    help: "drop this rule or simplify it: repeats like `{1,200}`, `[^x]*` and \
                           several `**` or `.*` are what makes automata large"
                        .to_owned(),
                });
                None
            }
        }
    }

    fn report_dead_rules(&self, args: &[RulePatterns], unfit: &mut Vec<UnfitRule>) {
        let Automata {
            paths,
            parents,
            args: args_automaton,
            ..
        } = &self.automata;
        let sets = |automaton: &Option<Automaton>| {
            automaton
                .as_ref()
                .map_or(Vec::new(), |automaton| automaton.sets_after(b"/"))
        };
        let (paths, parents) = (sets(paths), sets(parents));
        let findable = args_automaton.as_ref().map_or(0, |args| args.findable(b""));
        let any = |sets: &[u64]| sets.iter().fold(0, |all, set| all | set);
        let mut refuse = |rule: &ExecRule, message: String, help: &str| {
            unfit.push(UnfitRule {
                position: rule.position,
                message: format!("the rule `{}` can never apply: {message}", rule.name),
                help: help.to_owned(),
            });
        };
        for (index, rule) in self.rules.iter().enumerate() {
            let bit = 1 << self.bits[index];
            let own_args = args.iter().find(|patterns| patterns.rule == index);
            let is_found = own_args
                .is_none_or(|own| own.patterns.iter().all(|(bit, _)| findable & 1 << bit != 0));
            let absolute = "resolved paths begin with `/`: write the whole path, or `**/NAME`";
            if rule.path.is_some() && any(&paths) & bit == 0 {
                refuse(rule, "no path matches its `path`".to_owned(), absolute);
            } else if rule.parent.is_some() && any(&parents) & bit == 0 {
                refuse(rule, "no path matches its `parent`".to_owned(), absolute);
            } else if !is_found {
                let help = "change the pattern; NUL between arguments is matched as a space";
                refuse(rule, "no command line matches its `args`".to_owned(), help);
            } else if let Some(other) =
                (0..index).find(|&other| self.covers(other, index, &paths, &parents))
            {
                let other = &self.rules[other];
                refuse(
                    rule,
                    format!(
                        "`{}` (line {}) decides every command of it",
                        other.name, other.position.line
                    ),
                    "remove it, or narrow what stands before it; deny goes before allow, rules \
                     without `args` before those with, and earlier rules before later ones",
                );
            }
        }
    }

    /// Whether every command of `inner` is surely one of `outer` too.
    fn covers(&self, outer: usize, inner: usize, paths: &[u64], parents: &[u64]) -> bool {
        let (one, two) = (&self.rules[outer], &self.rules[inner]);
        let (outer, inner) = (1 << self.bits[outer], 1 << self.bits[inner]);
        let implies = |sets: &[u64]| sets.iter().all(|set| set & inner == 0 || set & outer != 0);
        let uids_within = one.uids.is_empty()
            || !two.uids.is_empty()
                && two.uids.iter().all(|inner| {
                    let holds =
                        |outer: &UidRange| outer.first <= inner.first && inner.last <= outer.last;
                    one.uids.iter().any(holds)
                });
        (one.path.is_none() || two.path.is_some() && implies(paths))
            && (one.parent.is_none() || two.parent.is_some() && implies(parents))
            && (one.args.is_none() || one.args == two.args)
            && uids_within
    }
}

/// What a rule gives to an automaton.
struct RulePatterns {
    rule: usize,
    patterns: Vec<automaton::Pattern>,
}

impl RulePatterns {
    fn automaton<'r>(
        rules: impl IntoIterator<Item = &'r Self>,
        subject: Subject,
    ) -> Result<Automaton, TooLarge> {
        let patterns = rules
            .into_iter()
            .flat_map(|rule| rule.patterns.iter().cloned());
        Automaton::new(&patterns.collect::<Vec<_>>(), subject)
    }
}

/// The rule without which an automaton that is too large would fit, or else the largest.
fn to_drop(rules: &[RulePatterns], subject: Subject) -> usize {
    /// Each attempt may take as long as the limits on automata allow.
    const ATTEMPTS: usize = 8;

    let size = |rule: &RulePatterns| match RulePatterns::automaton([rule], subject) {
        Ok(automaton) => automaton.len(),
        Err(TooLarge { states }) => states.unwrap_or(usize::MAX),
    };
    let mut by_size: Vec<_> = rules.iter().collect();
    by_size.sort_by_cached_key(|rule| std::cmp::Reverse(size(rule)));
    let fits_without = |rule: &&&RulePatterns| {
        let others = rules.iter().filter(|other| other.rule != rule.rule);
        RulePatterns::automaton(others, subject).is_ok()
    };
    let fitting = by_size.iter().take(ATTEMPTS).find(fits_without);
    fitting.unwrap_or(&by_size[0]).rule
}
