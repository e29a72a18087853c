//! Regular expressions to one small automaton in the layout of [`hoop_common::matcher`].

use std::collections::HashMap;

use hoop_common::limits::{MAX_DFA_CLASSES, MAX_DFA_STATES};
use hoop_common::matcher::{CLASS_CELLS, FOUND, ROW_NEXT};
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::{primitives::StateID, start};
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::Hir;

/// Bytes of an automaton before it is minimised, and of the memory to make it. Far above what a
/// usable one needs, and made in well under a second.
const MAX_BYTES: usize = 8 << 20;

/// Bytes of an automaton that is not deterministic yet: `(a{1000}){1000}` ends here.
const MAX_NFA_BYTES: usize = 1 << 20;

/// What a pattern is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// All of a path.
    Path,
    /// Any part of a command line. NUL, which is between arguments, is a space.
    CommandLine,
}

/// A pattern, and the bit that says it was found.
pub(super) type Pattern = (u32, Hir);

/// An automaton that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// States it has when minimised. `None` if it was given up before.
    pub(super) states: Option<usize>,
}

/// A deterministic automaton over all patterns. State 0 is the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct Automaton {
    /// The class of every byte value.
    classes: [u8; 256],
    /// Number of classes.
    width: usize,
    states: Vec<State>,
    /// `width` transitions for every state.
    next: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// Bits found on arrival.
    arrival: u64,
    /// Bits found if the input ends here.
    end: u64,
}

impl Automaton {
    /// An automaton that finds every pattern, minimised.
    ///
    /// # Errors
    ///
    /// When it would have more than [`MAX_DFA_STATES`].
    pub(super) fn new(patterns: &[Pattern], subject: Subject) -> Result<Self, TooLarge> {
        let automaton = Self::determinize(patterns, subject)?.minimize();
        if automaton.states.len() > MAX_DFA_STATES as usize {
            return Err(TooLarge {
                states: Some(automaton.states.len()),
            });
        }
        Ok(automaton)
    }

    /// Number of states.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// The bits that some input finds; with `prefix`, some input that begins with it.
    pub(super) fn findable(&self, prefix: &[u8]) -> u64 {
        self.sets_after(prefix)
            .into_iter()
            .fold(0, |all, set| all | set)
    }

    /// Every set of bits that is found at one place of some input that begins with `prefix`.
    pub(super) fn sets_after(&self, prefix: &[u8]) -> Vec<u64> {
        let from = prefix.iter().fold(0, |state, &byte| self.step(state, byte));
        let mut seen = vec![false; self.states.len()];
        seen[from] = true;
        let mut open = vec![from];
        let mut sets = Vec::new();
        while let Some(state) = open.pop() {
            sets.extend([self.states[state].arrival, self.states[state].end]);
            for &next in self.row(state) {
                if !std::mem::replace(&mut seen[next as usize], true) {
                    open.push(next as usize);
                }
            }
        }
        sets
    }

    /// Whether some text has a part that `self` finds and a part that `other`, made for
    /// [`Subject::Path`], matches whole, and the first ends strictly inside the second.
    ///
    /// `true` also where that is too much to look through.
    pub(super) fn ends_inside(&self, other: &Self) -> bool {
        const MAX_PAIRS: usize = 1 << 16;

        if self.states.len() * other.states.len() > MAX_PAIRS {
            return true;
        }
        let goes_on = other.goes_on();
        let pair = |one: usize, two: usize| one * other.states.len() + two;
        let mut seen = vec![false; self.states.len() * other.states.len()];
        // What stands before is anything.
        let mut open: Vec<_> = (0..self.states.len()).map(|state| (state, 0)).collect();
        while let Some((one, two)) = open.pop() {
            // A command line has no NUL: it is taken for a space.
            for byte in 1..=u8::MAX {
                let (one, two) = (self.step(one, byte), other.step(two, byte));
                if !goes_on[two] || std::mem::replace(&mut seen[pair(one, two)], true) {
                    continue;
                }
                if self.states[one].end != 0 {
                    return true;
                }
                open.push((one, two));
            }
        }
        false
    }

    /// Which states a longer input can end a match from.
    fn goes_on(&self) -> Vec<bool> {
        let mut goes_on = vec![false; self.states.len()];
        loop {
            let leads_on =
                |&next: &u32| goes_on[next as usize] || self.states[next as usize].end != 0;
            let states = 0..self.states.len();
            let more: Vec<_> = states
                .map(|state| self.row(state).iter().any(leads_on))
                .collect();
            if more == goes_on {
                return goes_on;
            }
            goes_on = more;
        }
    }

    /// Appends the automaton to a table; returns its first class cell and its start.
    pub(in crate::policy) fn append(&self, table: &mut Vec<u32>) -> (u32, u32) {
        // The caller compares the table's length with MAX_MATCHER_CELLS, which is below 2^31.
        let classes = table.len() as u32;
        let start = classes + CLASS_CELLS;
        let stride = ROW_NEXT + self.width as u32;
        table.extend(self.classes.map(|class| ROW_NEXT + u32::from(class)));
        for (index, state) in self.states.iter().enumerate() {
            for set in [state.arrival, state.end] {
                table.extend([set as u32, (set >> 32) as u32]);
            }
            table.extend(self.row(index).iter().map(|&next| {
                let found = self.states[next as usize].arrival != 0;
                (start + next * stride) | if found { FOUND } else { 0 }
            }));
        }
        (classes, start)
    }

    fn row(&self, state: usize) -> &[u32] {
        &self.next[state * self.width..][..self.width]
    }

    fn step(&self, state: usize, byte: u8) -> usize {
        self.row(state)[usize::from(self.classes[usize::from(byte)])] as usize
    }

    fn determinize(patterns: &[Pattern], subject: Subject) -> Result<Self, TooLarge> {
        let given_up = TooLarge { states: None };
        let (hirs, bits): (Vec<&Hir>, Vec<u32>) =
            patterns.iter().map(|(bit, hir)| (hir, *bit)).unzip();
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(MAX_NFA_BYTES)),
            )
            .build_many_from_hir(&hirs)
            .map_err(|_| given_up)?;
        let (anchored, start_kind) = match subject {
            Subject::Path => (Anchored::Yes, StartKind::Anchored),
            Subject::CommandLine => (Anchored::No, StartKind::Unanchored),
        };
        // The reader refuses what an automaton cannot express, so only the limits are left.
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::All)
                    .start_kind(start_kind)
                    .accelerate(false)
                    .dfa_size_limit(Some(MAX_BYTES))
                    .determinize_size_limit(Some(MAX_BYTES)),
            )
            .build_from_nfa(&nfa)
            .map_err(|_| given_up)?;
        let start = dfa
            .start_state(&start::Config::new().anchored(anchored))
            .map_err(|_| given_up)?;

        let set = |state: StateID| -> u64 {
            if !dfa.is_match_state(state) {
                return 0;
            }
            (0..dfa.match_len(state))
                .map(|index| 1 << bits[dfa.match_pattern(state, index).as_usize()])
                .fold(0, |set: u64, bit: u64| set | bit)
        };
        // One byte for each class, and NUL where it has a class of its own.
        let mut classes = [0; 256];
        let mut bytes = Vec::new();
        let mut known = HashMap::new();
        for byte in 0..=u8::MAX {
            let taken_for = match (subject, byte) {
                (Subject::CommandLine, 0) => b' ',
                _ => byte,
            };
            let class = dfa.byte_classes().get(taken_for);
            classes[usize::from(byte)] = *known.entry(class).or_insert_with(|| {
                bytes.push(taken_for);
                // There are at most 256.
                (bytes.len() - 1) as u8
            });
        }

        let mut numbers = HashMap::from([(start, 0)]);
        let mut open = vec![start];
        let mut states = Vec::new();
        let mut next = Vec::new();
        while let Some(&state) = open.get(states.len()) {
            states.push(State {
                // Where all of the input must match, only its end counts.
                arrival: if subject == Subject::Path {
                    0
                } else {
                    set(state)
                },
                end: set(dfa.next_eoi_state(state)),
            });
            for &byte in &bytes {
                let to = dfa.next_state(state, byte);
                next.push(*numbers.entry(to).or_insert_with(|| {
                    open.push(to);
                    (open.len() - 1) as u32
                }));
            }
        }
        Ok(Self {
            classes,
            width: bytes.len(),
            states,
            next,
        })
    }

    /// The smallest automaton that finds the same (Moore: refine until nothing splits). Not
    /// `regex-automata`'s own, which keeps apart what is the same here: states that differ on
    /// arrival only, and NUL from space.
    fn minimize(self) -> Self {
        let mut blocks: Vec<u32> = Vec::new();
        let mut count = 0;
        let mut rounds = 0;
        loop {
            let mut known: HashMap<(State, Vec<u32>), u32> = HashMap::with_capacity(count);
            let split: Vec<u32> = (0..self.states.len())
                .map(|state| {
                    let to = if rounds == 0 {
                        Vec::new()
                    } else {
                        let own = std::iter::once(blocks[state]);
                        own.chain(self.row(state).iter().map(|&next| blocks[next as usize]))
                            .collect()
                    };
                    let number = known.len() as u32;
                    *known.entry((self.states[state], to)).or_insert(number)
                })
                .collect();
            blocks = split;
            if rounds > 0 && known.len() == count {
                break;
            }
            count = known.len();
            rounds += 1;
        }
        // The start is the first state, so its block is the first block.
        let mut first = vec![usize::MAX; count];
        for (state, &block) in blocks.iter().enumerate().rev() {
            first[block as usize] = state;
        }
        let states: Vec<_> = first.iter().map(|&state| self.states[state]).collect();

        let column = |class: usize| -> Vec<u32> {
            let to = |&state: &usize| blocks[self.row(state)[class] as usize];
            first.iter().map(to).collect()
        };
        let mut columns: Vec<Vec<u32>> = Vec::new();
        let mut known: HashMap<Vec<u32>, u8> = HashMap::new();
        let merged: Vec<u8> = (0..self.width)
            .map(|class| {
                *known.entry(column(class)).or_insert_with_key(|column| {
                    columns.push(column.clone());
                    (columns.len() - 1) as u8
                })
            })
            .collect();
        let next = (0..states.len())
            .flat_map(|state| columns.iter().map(move |column| column[state]))
            .collect();
        Self {
            classes: self.classes.map(|class| merged[usize::from(class)]),
            width: columns.len(),
            states,
            next,
        }
    }
}

const _: () = assert!(MAX_DFA_CLASSES == CLASS_CELLS);
