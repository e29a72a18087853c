//! Rules that can never apply.

use std::collections::HashSet;

use super::model::{Policy, Rule};
use super::sweep::Sweep;

/// A rule that decides no destination at all.
pub(super) struct DeadRule<'p> {
    pub(super) rule: &'p Rule,
    /// The rules that decide in its place, in order of precedence: one that covers it alone, or
    /// else all that share destinations with it.
    pub(super) shadowed_by: Vec<&'p Rule>,
}

/// Finds the rules of a policy that can never apply, at most `limit`.
pub(super) fn dead_rules(policy: &Policy, limit: usize) -> Vec<DeadRule<'_>> {
    let sweep = Sweep::new(policy);
    let mut alive = vec![false; sweep.rules.len()];
    if alive.len() < 2 {
        // Only another rule can make a rule dead; the reader refuses networks that are empty.
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut left = alive.len();
    sweep.runs(|run| {
        if seen.insert(run.id) {
            for (_, winner) in sweep.ports(run) {
                if let Some(rank) = winner {
                    left -= usize::from(!alive[rank]);
                    alive[rank] = true;
                }
            }
        }
        left > 0
    });
    let dead = (0..alive.len()).filter(|&rank| !alive[rank]).take(limit);
    dead.map(|rank| {
        let earlier = 0..rank;
        let shadowed_by = match earlier.clone().find(|&other| sweep.covers(other, rank)) {
            Some(other) => vec![sweep.rules[other]],
            None => earlier
                .filter(|&other| sweep.overlap(other, rank))
                .map(|other| sweep.rules[other])
                .collect(),
        };
        DeadRule {
            rule: sweep.rules[rank],
            shadowed_by,
        }
    })
    .collect()
}
