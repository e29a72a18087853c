//! Policies to the tables that the kernel searches. Pure: the same policies and the same book
//! give the same tables.

mod exec;

use std::collections::HashMap;
use std::net::IpAddr;

use hoop_common::exec::ExecEntry;
use hoop_common::limits::{MAX_CELLS, MAX_MATCHER_CELLS, MAX_POLICIES, MAX_UNIX_DENIED};
use hoop_common::policy::{Cell, Key, Mode, PolicyEntry, Ruling, Segment, judge};
use hoop_common::unix_path;

use super::book::RuleBook;
use super::model::{
    ALL_SOCKETS, Action, BPF_BECAUSE, BPF_RULE, DEFAULT_BECAUSE, DEFAULT_RULE, ESCAPE_BECAUSE,
    ESCAPE_RULE, OBSERVE_RULE, OPAQUE_BECAUSE, OPAQUE_RULE, PTRACE_BECAUSE, PTRACE_RULE, Policy,
    SOCKETS_BECAUSE, SOCKETS_RULE, TAMPER_BECAUSE, TAMPER_RULE, UNIX_RULE, judged_address,
};
use super::sweep::{Run, Sweep};

/// What goes into the kernel's maps for one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The table of all policies, at most [`MAX_CELLS`].
    pub cells: Vec<Cell>,
    /// One entry per policy, in the order they were given, at most [`MAX_POLICIES`].
    pub policies: Vec<PolicyEntry>,
    /// The automata of all policies, see [`hoop_common::matcher`], at most [`MAX_MATCHER_CELLS`].
    pub matcher: Vec<u32>,
    /// The exec rules of each policy, in the same order.
    pub exec: Vec<ExecEntry>,
    /// Unix sockets that are denied: index of the policy, hash of the path, and the rule. At most
    /// half of [`MAX_UNIX_DENIED`].
    pub unix_denied: Vec<(u32, u64, u32)>,
}

/// Why policies do not fit the kernel's maps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// More than [`MAX_POLICIES`].
    #[error(
        "there are {found} policies, the limit is {MAX_POLICIES}: \
         drop {} of them, or give workloads with the same rules one policy",
        found - MAX_POLICIES as usize
    )]
    TooManyPolicies {
        /// How many there are.
        found: usize,
    },
    /// More than [`MAX_CELLS`].
    #[error(
        "the policies need {}{found} table cells, the limit is {MAX_CELLS}: drop CIDRs or rules, \
         or merge neighbouring CIDRs; policy `{largest}` needs the most, {cells}",
        if *.complete { "" } else { "more than " }
    )]
    TooManyCells {
        /// How many they need.
        found: usize,
        /// Whether the count got to the end; it stops far above the limit.
        complete: bool,
        /// The policy that needs the most.
        largest: String,
        /// How many of `found` are that policy's.
        cells: usize,
    },
    /// More than half of [`MAX_UNIX_DENIED`].
    #[error(
        "the policies deny {found} Unix sockets, counting other names of their directories, the \
         limit is {}: drop some", MAX_UNIX_DENIED / 2
    )]
    TooManyUnixSockets {
        /// How many they deny.
        found: usize,
    },
    /// More than [`MAX_MATCHER_CELLS`].
    #[error(
        "the exec rules need more than {MAX_MATCHER_CELLS} matcher cells from policy `{policy}` on, \
         which needs {cells}: drop exec rules of the largest policies, or give workloads with the \
         same exec rules one policy; policy `{largest}` needs the most, {most}"
    )]
    TooManyMatcherCells {
        /// The first policy that does not fit.
        policy: String,
        /// How many it needs.
        cells: usize,
        /// The policy, of those up to it, that needs the most.
        largest: String,
        /// How many that one needs.
        most: usize,
    },
}

/// Compiles all policies of an epoch into one table.
///
/// # Errors
///
/// When they do not fit the kernel's maps. The book may then have numbers for rules that are not
/// in force, which does no harm.
pub fn compile(policies: &[Policy], book: &mut RuleBook) -> Result<Compiled, CompileError> {
    if policies.len() > MAX_POLICIES as usize {
        return Err(CompileError::TooManyPolicies {
            found: policies.len(),
        });
    }
    let mut table = Table::default();
    let mut entries = Vec::with_capacity(policies.len());
    let mut largest = (0, "");
    let mut matcher = exec::Matcher::default();
    let mut exec = Vec::with_capacity(policies.len());
    let mut largest_exec = (0, "");
    for policy in policies {
        let before = table.needed;
        entries.push(entry(policy, &mut table, book));
        let cells = matcher.cells.len();
        exec.push(exec::entry(policy, &mut table, &mut matcher, book));
        let cells = matcher.cells.len() - cells;
        largest_exec = largest_exec.max((cells, &*policy.name));
        if matcher.cells.len() > MAX_MATCHER_CELLS as usize {
            return Err(CompileError::TooManyMatcherCells {
                policy: policy.name.clone(),
                cells,
                largest: largest_exec.1.to_owned(),
                most: largest_exec.0,
            });
        }
        largest = largest.max((table.needed - before, &policy.name));
        if table.is_hopeless() {
            break;
        }
    }
    if table.needed > MAX_CELLS as usize {
        return Err(CompileError::TooManyCells {
            found: table.needed,
            complete: !table.is_hopeless(),
            largest: largest.1.to_owned(),
            cells: largest.0,
        });
    }
    let unix_denied = unix_denied(policies, book);
    if unix_denied.len() > MAX_UNIX_DENIED as usize / 2 {
        return Err(CompileError::TooManyUnixSockets {
            found: unix_denied.len(),
        });
    }
    Ok(Compiled {
        unix_denied,
        cells: table.cells,
        policies: entries,
        matcher: matcher.cells,
        exec,
    })
}

fn unix_denied(policies: &[Policy], book: &mut RuleBook) -> Vec<(u32, u64, u32)> {
    let mut denied = Vec::new();
    for (index, policy) in (0..).zip(policies) {
        if policy.mode == Mode::Observe {
            continue;
        }
        for path in &policy.unix_deny {
            let because = format!("{} is in sockets.unix.deny", path.text);
            let rule = book.number(&policy.name, UNIX_RULE, &because);
            let texts = [Some(&path.text), path.resolved.as_ref()];
            let hashes = texts.into_iter().flatten();
            denied.extend(
                hashes
                    .filter_map(|text| unix_path::hash(text.as_bytes()))
                    .map(|hash| (index, hash, rule)),
            );
        }
    }
    denied
}

impl Compiled {
    /// What the kernel will say about a destination. `None` if there is no such policy.
    #[must_use]
    pub fn judge(&self, policy: usize, address: IpAddr, protocol: u8, port: u16) -> Option<Ruling> {
        let entry = self.policies.get(policy)?;
        let addresses = Segment {
            start: entry.start,
            len: entry.len,
        };
        let address = match judged_address(address) {
            IpAddr::V4(address) => Key::from_v4(address.into()),
            IpAddr::V6(address) => Key::from_v6(address.octets()),
        };
        judge(
            addresses,
            address,
            Key::from_port(protocol, port),
            |index| self.cells.get(index as usize),
        )
    }
}

fn entry(policy: &Policy, table: &mut Table, book: &mut RuleBook) -> PolicyEntry {
    let name = &policy.name;
    let capture_bytes = policy
        .capture
        .map_or(0, |capture| capture.max_bytes_per_call);
    if policy.mode == Mode::Observe {
        let observe = book.number(name, OBSERVE_RULE, "");
        let everything = Ruling {
            rule: observe,
            allow: true,
        }
        .pack();
        let ports = table.segment(vec![(0, everything)]);
        let Segment { start, len } = table.append(&[Cell {
            key: Key { hi: 0, lo: 0 },
            value: ports,
        }]);
        return PolicyEntry {
            start,
            len,
            mode: policy.mode as u32,
            sockets: ALL_SOCKETS,
            sockets_allow_rule: observe,
            sockets_deny_rule: observe,
            opaque_rule: observe,
            escape_rule: observe,
            ptrace_rule: observe,
            bpf_rule: observe,
            tamper_rule: observe,
            capture_bytes,
        };
    }
    let Segment { start, len } = egress(policy, table, book);
    PolicyEntry {
        start,
        len,
        mode: policy.mode as u32,
        sockets: policy.sockets,
        sockets_allow_rule: book.number(name, SOCKETS_RULE, ""),
        sockets_deny_rule: book.number(name, SOCKETS_RULE, SOCKETS_BECAUSE),
        opaque_rule: book.number(name, OPAQUE_RULE, OPAQUE_BECAUSE),
        escape_rule: book.number(name, ESCAPE_RULE, ESCAPE_BECAUSE),
        ptrace_rule: book.number(name, PTRACE_RULE, PTRACE_BECAUSE),
        bpf_rule: book.number(name, BPF_RULE, BPF_BECAUSE),
        tamper_rule: book.number(name, TAMPER_RULE, TAMPER_BECAUSE),
        capture_bytes,
    }
}

fn egress(policy: &Policy, table: &mut Table, book: &mut RuleBook) -> Segment {
    let sweep = Sweep::new(policy);
    let allow = policy.egress.default == Action::Allow;
    let because = if allow { "" } else { DEFAULT_BECAUSE };
    let default = Ruling {
        rule: book.number(&policy.name, DEFAULT_RULE, because),
        allow,
    }
    .pack();
    let rulings: Vec<u64> = sweep
        .rules
        .iter()
        .map(|rule| {
            let number = book.number(&policy.name, &rule.name, &rule.because);
            Ruling {
                rule: number,
                allow: rule.action == Action::Allow,
            }
            .pack()
        })
        .collect();

    let mut addresses: Vec<Cell> = Vec::new();
    let mut known: HashMap<u128, u64> = HashMap::new();
    let mut last = None;
    sweep.runs(|run: &Run<'_>| {
        let value = *known.entry(run.id).or_insert_with(|| {
            let ports = sweep.ports(run).into_iter();
            let ruling = |rank: Option<usize>| rank.map_or(default, |rank| rulings[rank]);
            table.segment(ports.map(|(key, rank)| (key, ruling(rank))).collect())
        });
        if last != Some(value) {
            last = Some(value);
            table.needed += 1;
            if table.fits() {
                addresses.push(Cell {
                    key: run.start,
                    value,
                });
            }
        }
        !table.is_hopeless()
    });
    // They were counted one by one, to notice early when they do not fit.
    table.needed -= addresses.len();
    table.append(&addresses)
}

/// The table while it grows. Past the limit it only counts.
#[derive(Default)]
struct Table {
    cells: Vec<Cell>,
    /// Cells needed so far; `cells` has as many unless that is over the limit.
    needed: usize,
    /// Port segments by content: policies and addresses with the same answers share one.
    segments: HashMap<Vec<(u32, u64)>, u64>,
}

impl Table {
    fn fits(&self) -> bool {
        self.needed <= MAX_CELLS as usize
    }

    /// So far over the limit that counting on is of no use.
    fn is_hopeless(&self) -> bool {
        self.needed > MAX_CELLS as usize * 4
    }

    /// The packed segment with these port cells.
    fn segment(&mut self, cells: Vec<(u32, u64)>) -> u64 {
        if let Some(&segment) = self.segments.get(&cells) {
            return segment;
        }
        let contents: Vec<Cell> = cells
            .iter()
            .map(|&(key, value)| Cell {
                key: Key {
                    hi: 0,
                    lo: key.into(),
                },
                value,
            })
            .collect();
        let segment = self.append(&contents).pack();
        if self.fits() {
            self.segments.insert(cells, segment);
        }
        segment
    }

    fn append(&mut self, cells: &[Cell]) -> Segment {
        self.needed += cells.len();
        let start = self.cells.len();
        if self.fits() {
            self.cells.extend_from_slice(cells);
        }
        // Both are at most MAX_CELLS.
        Segment {
            start: start as u32,
            len: cells.len() as u32,
        }
    }
}
