//! Which rules apply where: a sweep over the address space of one policy.
//!
//! Rules go by rank here: their index in order of precedence, so that of all rules that match a
//! destination the lowest rank decides.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use hoop_common::policy::Key;
use ipnet::IpNet;

use super::model::{ICMP, ICMPV6, Policy, PortRange, Protocol, Rule, TCP, UDP};

/// First and last key of the IPv4 addresses.
const V4: (u128, u128) = (Key::from_v4(0).bits(), Key::from_v4(u32::MAX).bits());

/// The highest key of a protocol and port.
const LAST_PORT_KEY: u32 = 0x00ff_ffff;

/// The rules of a policy, prepared for sweeping.
pub(super) struct Sweep<'p> {
    /// The rules, by rank.
    pub(super) rules: Vec<&'p Rule>,
    /// What each rule's addresses are, by rank: sorted, disjoint, not adjacent.
    addresses: Vec<Vec<(u128, u128)>>,
    /// Rules with the same ports and protocols have the same shape, by rank. Where several of one
    /// shape apply, all but the first are irrelevant; this keeps sets of rules small.
    shapes: Vec<usize>,
}

/// A run of addresses to which the same rules apply.
pub(super) struct Run<'s> {
    /// The first address. The run ends where the next one starts.
    pub(super) start: Key,
    /// Whether the addresses are IPv4.
    pub(super) v4: bool,
    /// Equal in runs with the same ranks and family, different otherwise (but for a chance of
    /// 2^-128). Differs from process to process, so no policy can be written to collide.
    pub(super) id: u128,
    /// The ranks that apply, except those another of the same shape precedes.
    pub(super) ranks: &'s [usize],
}

impl<'p> Sweep<'p> {
    pub(super) fn new(policy: &'p Policy) -> Self {
        let rules: Vec<_> = policy.rules_by_precedence().collect();
        let mut known: HashMap<(Protocol, &[PortRange]), usize> = HashMap::new();
        let shapes = rules
            .iter()
            .map(|rule| {
                let next = known.len();
                *known.entry((rule.protocol, &rule.ports)).or_insert(next)
            })
            .collect();
        let addresses = rules.iter().map(|rule| address_ranges(rule)).collect();
        Self {
            rules,
            addresses,
            shapes,
        }
    }

    /// Calls `visit` for every run, in order. The first run starts at key 0. Stops when `visit`
    /// returns false.
    pub(super) fn runs(&self, mut visit: impl FnMut(&Run<'_>) -> bool) {
        let count = self.addresses.iter().map(Vec::len).sum::<usize>() * 2;
        let mut changes: Vec<(u128, u32, bool)> = Vec::with_capacity(count);
        for (rank, ranges) in (0..).zip(&self.addresses) {
            for &(first, last) in ranges {
                changes.push((first, rank, true));
                if let Some(after) = last.checked_add(1) {
                    changes.push((after, rank, false));
                }
            }
        }
        // Stable, because that sort makes use of the runs that are already in order: one per rule.
        changes.sort();

        let mut active = Active::new(&self.shapes);
        let mut changes = changes.into_iter().peekable();
        let mut start = 0;
        loop {
            while let Some((_, rank, enters)) = changes.next_if(|change| change.0 == start) {
                active.change(rank as usize, enters);
            }
            let v4 = (V4.0..=V4.1).contains(&start);
            let run = Run {
                start: Key {
                    hi: (start >> 64) as u64,
                    lo: start as u64,
                },
                v4,
                id: active.id ^ u128::from(v4),
                ranks: &active.ranks,
            };
            if !visit(&run) {
                return;
            }
            // The family changes what `icmp` means, so its borders are borders of runs.
            let border = [V4.0, V4.1 + 1].into_iter().find(|&border| border > start);
            let change = changes.peek().map(|change| change.0);
            start = match (border, change) {
                (Some(border), Some(change)) => border.min(change),
                (Some(next), None) | (None, Some(next)) => next,
                (None, None) => return,
            };
        }
    }

    /// Which rank decides from which protocol and port key on, `None` where no rule applies.
    /// The first key is 0.
    pub(super) fn ports(&self, run: &Run<'_>) -> Vec<(u32, Option<usize>)> {
        let mut changes = Vec::new();
        for &rank in run.ranks {
            for (first, last) in port_ranges(self.rules[rank], run.v4) {
                changes.push((first, rank, true));
                changes.push((last + 1, rank, false));
            }
        }
        changes.sort_unstable();
        let mut active = BTreeSet::new();
        let mut answers = vec![(0, None)];
        let mut changes = changes.into_iter().peekable();
        while let Some(&(key, ..)) = changes.peek() {
            while let Some((_, rank, enters)) = changes.next_if(|change| change.0 == key) {
                if enters {
                    active.insert(rank);
                } else {
                    active.remove(&rank);
                }
            }
            if key > LAST_PORT_KEY {
                break;
            }
            let winner = active.first().copied();
            match answers.last_mut() {
                Some(last) if last.0 == key => last.1 = winner,
                Some(last) if last.1 == winner => {}
                _ => answers.push((key, winner)),
            }
        }
        answers
    }

    /// Whether every destination of `inner` is one of `outer` too.
    pub(super) fn covers(&self, outer: usize, inner: usize) -> bool {
        contains(&self.addresses[outer], &self.addresses[inner])
            && [true, false].into_iter().all(|v4| {
                contains(
                    &port_ranges(self.rules[outer], v4),
                    &port_ranges(self.rules[inner], v4),
                )
            })
    }

    /// Whether some destination is of both rules.
    pub(super) fn overlap(&self, one: usize, other: usize) -> bool {
        intersect(&self.addresses[one], &self.addresses[other])
            && [true, false].into_iter().any(|v4| {
                intersect(
                    &port_ranges(self.rules[one], v4),
                    &port_ranges(self.rules[other], v4),
                )
            })
    }
}

/// The rules that apply at the current address.
struct Active<'s> {
    shapes: &'s [usize],
    // Sorted vectors, because they are small and change at every address: no allocation.
    by_shape: Vec<Vec<usize>>,
    /// The first rank of every shape.
    ranks: Vec<usize>,
    /// Sum over `ranks` of a random number for each.
    id: u128,
    /// The random number of every rank. Even, so that the lowest bit of `id` is free for the
    /// family.
    tokens: Vec<u128>,
}

impl<'s> Active<'s> {
    fn new(shapes: &'s [usize]) -> Self {
        let count = shapes.iter().max().map_or(0, |last| last + 1);
        let random = [RandomState::new(), RandomState::new()];
        let token = |rank: usize| {
            let [hi, lo] = random.each_ref().map(|random| random.hash_one(rank));
            (u128::from(hi) << 64 | u128::from(lo)) & !1
        };
        Self {
            shapes,
            by_shape: vec![Vec::new(); count],
            ranks: Vec::new(),
            id: 0,
            tokens: (0..shapes.len()).map(token).collect(),
        }
    }

    fn change(&mut self, rank: usize, enters: bool) {
        let same_shape = &mut self.by_shape[self.shapes[rank]];
        let before = same_shape.first().copied();
        toggle(same_shape, rank, enters);
        let after = same_shape.first().copied();
        if before == after {
            return;
        }
        if let Some(rank) = before {
            toggle(&mut self.ranks, rank, false);
            self.id = self.id.wrapping_sub(self.tokens[rank]);
        }
        if let Some(rank) = after {
            toggle(&mut self.ranks, rank, true);
            self.id = self.id.wrapping_add(self.tokens[rank]);
        }
    }
}

/// Adds to a sorted vector, or removes from it.
fn toggle(ranks: &mut Vec<usize>, rank: usize, enters: bool) {
    let at = ranks.partition_point(|&other| other < rank);
    if enters {
        ranks.insert(at, rank);
    } else {
        ranks.remove(at);
    }
}

/// The addresses of a rule as sorted, disjoint, non-adjacent ranges of keys, first to last.
///
/// The unspecified addresses are never looked up (see `model::judged_address`). They are given
/// the answer of the address after them, so that a rule which holds nothing else is seen to be
/// dead and needs no cells.
fn address_ranges(rule: &Rule) -> Vec<(u128, u128)> {
    let Some(cidrs) = &rule.cidrs else {
        return vec![(0, u128::MAX)];
    };
    let mut ranges = Vec::with_capacity(cidrs.len());
    let mut push = |(first, last): (u128, u128)| {
        let unspecified = |key| key == 0 || key == V4.0;
        if first > last || first == last && unspecified(first) {
            return;
        }
        let after_unspecified = first.checked_sub(1).is_some_and(unspecified);
        ranges.push((if after_unspecified { first - 1 } else { first }, last));
    };
    for cidr in cidrs {
        match cidr {
            IpNet::V4(net) => push((
                Key::from_v4(net.network().into()).bits(),
                Key::from_v4(net.broadcast().into()).bits(),
            )),
            IpNet::V6(net) => {
                let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
                // IPv4 is judged by IPv4 networks alone.
                if first <= V4.0 && V4.1 <= last {
                    push((first, V4.0 - 1));
                    push((V4.1 + 1, last));
                } else {
                    push((first, last));
                }
            }
        }
    }
    merge(ranges, |last| last.checked_add(1))
}

/// The protocols and ports of a rule as sorted, disjoint ranges of keys, first to last.
fn port_ranges(rule: &Rule, v4: bool) -> Vec<(u32, u32)> {
    let key = |protocol: u8, port: u16| u32::from(protocol) << 16 | u32::from(port);
    let protocols: &[u8] = match rule.protocol {
        Protocol::Any => return vec![(0, LAST_PORT_KEY)],
        Protocol::Transport => &[TCP, UDP],
        Protocol::Icmp if v4 => &[ICMP],
        Protocol::Icmp => &[ICMPV6],
        Protocol::Number(ref number) => std::slice::from_ref(number),
    };
    let every = [PortRange {
        first: 0,
        last: u16::MAX,
    }];
    let ports = if rule.ports.is_empty() {
        &every[..]
    } else {
        &rule.ports
    };
    let ranges = protocols
        .iter()
        .flat_map(|&protocol| {
            ports
                .iter()
                .map(move |ports| (key(protocol, ports.first), key(protocol, ports.last)))
        })
        .collect();
    merge(ranges, |last| last.checked_add(1))
}

/// Sorts ranges and joins those that overlap or touch.
fn merge<T: Ord + Copy>(mut ranges: Vec<(T, T)>, after: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let joined = after(kept.1).is_none_or(|after| next.0 <= after);
        if joined {
            kept.1 = kept.1.max(next.1);
        }
        joined
    });
    ranges
}

/// Whether every range of `inner` lies within one of `outer`, both merged.
fn contains<T: Ord + Copy>(outer: &[(T, T)], inner: &[(T, T)]) -> bool {
    inner.iter().all(|&(first, last)| {
        let at = outer.partition_point(|range| range.0 <= first);
        at > 0 && last <= outer[at - 1].1
    })
}

/// Whether some range of `one` overlaps one of `other`, both merged.
fn intersect<T: Ord + Copy>(one: &[(T, T)], other: &[(T, T)]) -> bool {
    let (small, large) = if one.len() < other.len() {
        (one, other)
    } else {
        (other, one)
    };
    small.iter().any(|&(first, last)| {
        let at = large.partition_point(|range| range.0 <= last);
        at > 0 && first <= large[at - 1].1
    })
}
