//! Exec rules to the matcher's table.

use std::collections::HashMap;

use hoop_common::exec::{ExecEntry, Facts, Found, Met};
use hoop_common::matcher::{self, Dfa};
use hoop_common::policy::{Cell, Key, Mode, Ruling};

use super::{Compiled, RuleBook, Table};
use crate::policy::exec::{
    Automaton, Command, ExecRule, MOUNTS_BECAUSE, MOUNTS_RULE, UNREADABLE_BECAUSE, UNREADABLE_RULE,
};
use crate::policy::model::{Action, DEFAULT_BECAUSE, DEFAULT_RULE, OBSERVE_RULE, Policy};

/// The matcher's table while it grows. Equal automata are there once.
#[derive(Default)]
pub(super) struct Matcher<'p> {
    pub(super) cells: Vec<u32>,
    known: HashMap<&'p Automaton, (u32, u32)>,
}

impl<'p> Matcher<'p> {
    fn place(&mut self, automaton: Option<&'p Automaton>, first: u64) -> Dfa {
        let Some(automaton) = automaton else {
            return Dfa::default();
        };
        let cells = &mut self.cells;
        let (classes, start) = *self
            .known
            .entry(automaton)
            .or_insert_with(|| automaton.append(cells));
        Dfa {
            classes,
            start,
            first,
        }
    }
}

pub(super) fn entry<'p>(
    policy: &'p Policy,
    table: &mut Table,
    matcher: &mut Matcher<'p>,
    book: &mut RuleBook,
) -> ExecEntry {
    let name = &policy.name;
    if policy.mode == Mode::Observe {
        return ExecEntry {
            default_rule: book.number(name, OBSERVE_RULE, ""),
            default_allow: 1,
            ..ExecEntry::default()
        };
    }
    let exec = &policy.exec;
    let allow = exec.default == Action::Allow;
    let because = if allow { "" } else { DEFAULT_BECAUSE };
    let automata = exec.automata();
    let bits = |has: &dyn Fn(&ExecRule) -> bool| {
        let having = exec.rules_with_bits().filter(|(rule, _)| has(rule));
        having.fold(0, |bits, (_, bit)| bits | 1 << bit)
    };
    let uids = uid_cells(policy);
    let uids = if uids.is_empty() {
        None
    } else {
        Some(table.append(&uids))
    };

    let paths = matcher.place(automata.paths.as_ref(), u64::MAX);
    let parents = matcher.place(automata.parents.as_ref(), u64::MAX);
    let args = matcher.place(automata.args.as_ref(), automata.first);
    let rules = matcher.cells.len();
    for (rule, bit) in exec.rules_with_bits() {
        matcher.cells.resize(rules + bit as usize, 0);
        matcher
            .cells
            .push(book.number(name, &rule.name, &rule.because));
    }
    ExecEntry {
        paths,
        parents,
        args,
        needs_path: bits(&|rule| rule.path.is_some()),
        needs_parent: bits(&|rule| rule.parent.is_some()),
        needs_args: bits(&|rule| rule.args.is_some()),
        needs_uid: bits(&|rule| !rule.uids.is_empty()),
        deny: bits(&|rule| rule.action == Action::Deny),
        allow: bits(&|rule| rule.action == Action::Allow),
        uids_start: uids.map_or(0, |uids| uids.start),
        uids_len: uids.map_or(0, |uids| uids.len),
        // The caller compares the length with MAX_MATCHER_CELLS.
        rules: rules as u32,
        default_rule: book.number(name, DEFAULT_RULE, because),
        default_allow: u32::from(allow),
        unreadable_rule: book.number(name, UNREADABLE_RULE, UNREADABLE_BECAUSE),
        mounts_rule: book.number(name, MOUNTS_RULE, MOUNTS_BECAUSE),
        reserved: 0,
    }
}

impl Compiled {
    /// What the kernel will say about a command. `None` if there is no such policy.
    #[must_use]
    pub fn judge_exec(&self, policy: usize, command: &Command) -> Option<Ruling> {
        let entry = self.exec.get(policy)?;
        let found = |dfa: &Dfa, text: &Option<Vec<u8>>| match text {
            Some(text) => self.find(dfa, text).map(Found::complete),
            None => Some(Found::UNREADABLE),
        };
        let facts = Facts {
            path: found(&entry.paths, &command.path)?,
            parent: found(&entry.parents, &command.parent)?,
            uid: command.uid,
        };
        let args = found(&entry.args, &command.args)?;
        let met = Met::of(entry, &facts, |index| self.cells.get(index as usize))?;
        met.judge(entry, args, |index| {
            self.matcher.get(index as usize).copied()
        })
    }

    fn find(&self, dfa: &Dfa, text: &[u8]) -> Option<u64> {
        matcher::find(dfa, text, |index| self.matcher.get(index as usize).copied())
    }
}

/// From which real user id on which rules with `uid` are met.
fn uid_cells(policy: &Policy) -> Vec<Cell> {
    let rules: Vec<_> = policy
        .exec
        .rules_with_bits()
        .filter(|(rule, _)| !rule.uids.is_empty())
        .collect();
    let ranges = || rules.iter().flat_map(|(rule, _)| &rule.uids);
    // The highest id is 2^32 - 2, so there is one after every range.
    let mut borders: Vec<u32> = ranges()
        .flat_map(|range| [range.first, range.last + 1])
        .collect();
    if borders.is_empty() {
        return Vec::new();
    }
    borders.push(0);
    borders.sort_unstable();
    borders.dedup();
    let cell = |uid: u32| {
        let has = |rule: &ExecRule| {
            rule.uids
                .iter()
                .any(|range| (range.first..=range.last).contains(&uid))
        };
        let met = rules.iter().filter(|(rule, _)| has(rule));
        Cell {
            key: Key {
                hi: 0,
                lo: uid.into(),
            },
            value: met.fold(0, |bits, (_, bit)| bits | 1 << bit),
        }
    };
    borders.into_iter().map(cell).collect()
}
