//! Exec rules: which commands the workloads of a policy may run.

mod automaton;
mod explain;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hoop_common::limits::{MAX_DFA_STATES, MAX_PATTERNS};

pub use explain::{Command, explain_exec};
pub use pattern::Pattern;

pub(super) use automaton::Automaton;
use automaton::{Subject, TooLarge};

use super::model::Action;
use crate::diagnostic::Position;

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
    automata: Arc<Automata>,
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
    /// The bit of every rule.
    bits: Vec<u32>,
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
        let automata = Automata::shared(&rules)?;
        let exec = Self {
            default,
            rules,
            automata,
        };
        let unfit = exec.dead_rules();
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
            automata: Arc::default(),
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
        self.rules.iter().zip(self.automata.bits.iter().copied())
    }

    pub(super) fn automata(&self) -> &Automata {
        &self.automata
    }

    /// The rules that can never apply.
    fn dead_rules(&self) -> Vec<UnfitRule> {
        let mut unfit = Vec::new();
        let Automata {
            paths,
            parents,
            args,
            bits,
            ..
        } = &*self.automata;
        let sets = |automaton: &Option<Automaton>| {
            automaton
                .as_ref()
                .map_or(Vec::new(), |automaton| automaton.sets_after(b"/"))
        };
        let (paths, parents) = (sets(paths), sets(parents));
        let findable = args.as_ref().map_or(0, |args| args.findable(b""));
        let any = |sets: &[u64]| sets.iter().fold(0, |all, set| all | set);
        let mut refuse = |rule: &ExecRule, message: String, help: &str| {
            unfit.push(UnfitRule {
                position: rule.position,
                message: format!("the rule `{}` can never apply: {message}", rule.name),
                help: help.to_owned(),
            });
        };
        for (index, rule) in self.rules.iter().enumerate() {
            let bit = 1 << bits[index];
            let first = index.checked_sub(1).map_or(0, |before| bits[before] + 1);
            let is_found =
                rule.args.is_none() || (first..=bits[index]).all(|part| findable & 1 << part != 0);
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
        unfit
    }

    /// Whether every command of `inner` is surely one of `outer` too.
    fn covers(&self, outer: usize, inner: usize, paths: &[u64], parents: &[u64]) -> bool {
        let (one, two) = (&self.rules[outer], &self.rules[inner]);
        let bits = &self.automata.bits;
        let (outer, inner) = (1 << bits[outer], 1 << bits[inner]);
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

impl Automata {
    /// The automata of rules in their order. Those in use are known, and made only once: many
    /// policies have the same rules, and a policy that is loaded again mostly has the former ones.
    fn shared(rules: &[ExecRule]) -> Result<Arc<Self>, Vec<UnfitRule>> {
        static KNOWN: Mutex<BTreeMap<Texts, Weak<Automata>>> = Mutex::new(BTreeMap::new());

        let text = |pattern: &Option<Pattern>| pattern.as_ref().map(|it| it.text.clone());
        let texts: Texts = rules
            .iter()
            .map(|rule| [&rule.path, &rule.parent, &rule.args].map(text))
            .collect();
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(automata) = known().get(&texts).and_then(Weak::upgrade) {
            return Ok(automata);
        }
        let automata = Arc::new(Self::new(rules)?);
        let mut known = known();
        known.retain(|_, automata| automata.strong_count() > 0);
        known.insert(texts, Arc::downgrade(&automata));
        Ok(automata)
    }

    fn new(rules: &[ExecRule]) -> Result<Self, Vec<UnfitRule>> {
        let mut automata = Self::default();
        let args = automata.number(rules)?;
        let paths = automata.patterns(rules, |rule| rule.path.as_ref());
        let parents = automata.patterns(rules, |rule| rule.parent.as_ref());
        let mut unfit = Vec::new();
        automata.paths = Self::build(rules, &paths, Subject::Path, "path", &mut unfit);
        automata.parents = Self::build(rules, &parents, Subject::Path, "parent", &mut unfit);
        automata.args = Self::build(rules, &args, Subject::CommandLine, "args", &mut unfit);
        if unfit.is_empty() {
            Ok(automata)
        } else {
            Err(unfit)
        }
    }

    /// Gives every rule its bit, the last of its `args`; returns those, by rule.
    fn number(&mut self, rules: &[ExecRule]) -> Result<Vec<RulePatterns>, Vec<UnfitRule>> {
        let mut args = Vec::new();
        let mut next = 0;
        let mut longest = (0, 0);
        for (index, rule) in rules.iter().enumerate() {
            let parts = rule.args.as_ref().map_or(Vec::new(), Pattern::parts);
            let bits = parts.len().max(1) as u32;
            longest = longest.max((bits, index));
            self.first |= 1_u64.checked_shl(next).unwrap_or(0);
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
        let rule = &rules[longest.1];
        Err(vec![UnfitRule {
            position: rule.position,
            message: format!(
                "the exec rules are {} and need {next} patterns, the limit is {MAX_PATTERNS}; \
                 `{}` needs {}",
                rules.len(),
                rule.name,
                longest.0
            ),
            help: "drop this rule or others, merge rules with `{a,b}` or `(a|b)`, or use `.*` in \
                   fewer `args`: each needs one more"
                .to_owned(),
        }])
    }

    fn patterns(
        &self,
        rules: &[ExecRule],
        of: impl Fn(&ExecRule) -> Option<&Pattern>,
    ) -> Vec<RulePatterns> {
        let of = |(index, bit): (usize, &u32)| {
            Some(RulePatterns {
                rule: index,
                patterns: vec![(*bit, of(&rules[index])?.hir.clone())],
            })
        };
        self.bits.iter().enumerate().filter_map(of).collect()
    }

    fn build(
        rules: &[ExecRule],
        patterns: &[RulePatterns],
        subject: Subject,
        key: &str,
        unfit: &mut Vec<UnfitRule>,
    ) -> Option<Automaton> {
        if patterns.is_empty() {
            return None;
        }
        match RulePatterns::automaton(patterns, subject) {
            Ok(automaton) => Some(automaton),
            Err(TooLarge { states }) => {
                let rule = &rules[to_drop(patterns, subject)];
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
}

/// What automata follow from: `path`, `parent` and `args` of every rule, as written.
type Texts = Vec<[Option<String>; 3]>;

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
