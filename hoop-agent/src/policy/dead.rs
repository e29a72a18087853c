//! Rules that can never apply.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::explain::{Destination, decides};
use super::model::{ICMP, ICMPV6, Policy, Protocol, Rule, TCP};
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
    if are_plainly_alive(policy) {
        return Vec::new();
    }
    let sweep = Sweep::new(policy);
    let mut alive = vec![false; sweep.rules.len()];
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

/// Whether every rule decides the first of its own destinations, as nearly all do: a sweep over
/// 100,000 CIDRs is then spared. `false` says nothing.
fn are_plainly_alive(policy: &Policy) -> bool {
    /// Comparisons of an address and a CIDR that are surely cheaper than the sweep.
    const MAX_COMPARISONS: usize = 1 << 20;

    let rules = &policy.egress.rules;
    let cidrs: usize = rules
        .iter()
        .map(|rule| rule.cidrs.as_ref().map_or(1, Vec::len))
        .sum();
    rules.len() * cidrs <= MAX_COMPARISONS
        && rules.iter().all(|rule| {
            let decided = decides(policy, &first_destination(rule));
            decided.is_some_and(|decided| std::ptr::eq(decided, rule))
        })
}

fn first_destination(rule: &Rule) -> Destination {
    let first = rule.cidrs.as_ref().and_then(|cidrs| cidrs.first());
    let address = first.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), IpNet::network);
    Destination {
        address,
        protocol: match rule.protocol {
            Protocol::Transport | Protocol::Any => TCP,
            Protocol::Icmp if address.is_ipv4() => ICMP,
            Protocol::Icmp => ICMPV6,
            Protocol::Number(number) => number,
        },
        port: rule.ports.first().map_or(0, |ports| ports.first),
    }
}
