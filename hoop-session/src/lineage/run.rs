//! One session: its last execs, and the calls of tools that are open.

use std::collections::{HashMap, HashSet, VecDeque};

use hoop_records::{Shared, Workload};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::command::{Asked, Command, Fit};
use crate::ids::{SpanId, TraceId};

/// How long an exec waits for the call that it carries out, in nanoseconds.
const RECENT_NS: u64 = 5_000_000_000;
const MAX_RECENT: usize = 128;

/// Open calls of a session.
const MAX_CALLS: usize = 64;

/// Candidates that a call remembers, and competitors by time that it counts.
const MAX_CANDIDATES: usize = 8;
const MAX_RIVALS: usize = 64;

/// How long the best candidate stands before a call is decided without its result, in nanoseconds: the record
/// of a request may come late.
const STANDS_NS: u64 = 2_000_000_000;

/// A candidate at least this sure decides a call without its result.
const SURE: f64 = 0.8;

/// The most that a join is sure of when another open call asks for the very same.
const TWIN: f64 = 0.7;

/// The most that order alone is sure of: for a child of the process that asked the model, and for any other.
const TIME_CHILD: f64 = 0.3;
const TIME_OTHER: f64 = 0.15;

/// Processes whose parent is remembered, and steps up from one.
const MAX_PROCESSES: usize = 1024;
const MAX_STEPS: usize = 32;

/// How long a call stays open without its result, in nanoseconds.
const OPEN_NS: u64 = 3_600_000_000_000;

/// What may carry out a call.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) span: SpanId,
    /// For a request of MCP, its process.
    pub(super) owner: SpanId,
    pub(super) process: String,
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) at_ns: u64,
    pub(super) time_dt: i64,
    pub(super) workload: Option<Shared<Workload>>,
    /// The program was not started.
    pub(super) refused: bool,
    pub(super) what: What,
}

/// What it does.
#[derive(Debug)]
pub(super) enum What {
    /// Runs a program.
    Exec(Command),
    /// Calls a tool by MCP: its name, and what [`digest`] makes of the arguments.
    Mcp(String, u64),
}

/// A call of a tool that a model asked for.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) span: SpanId,
    pub(super) request: SpanId,
    /// The process that asked the model.
    pub(super) owner: SpanId,
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) asked: Asked,
    /// What [`digest`] makes of the arguments.
    pub(super) arguments: u64,
    /// When the request began and when its response ended: nanoseconds since boot.
    pub(super) began_ns: u64,
    pub(super) replied_ns: u64,
    /// Best first.
    pub(super) candidates: Vec<By>,
    /// Whatever began behind the reply: when, and its span.
    pub(super) rivals: Vec<(u64, SpanId)>,
    /// Another open call asks for the very same.
    pub(super) twin: bool,
}

/// What carried out a call, and how sure that is.
#[derive(Clone, Debug)]
pub(super) struct By {
    pub(super) span: SpanId,
    pub(super) process: String,
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) at_ns: u64,
    pub(super) time_dt: i64,
    pub(super) workload: Option<Shared<Workload>>,
    pub(super) joined_by: &'static str,
    pub(super) confidence: f64,
}

/// A decided call.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) span: SpanId,
    pub(super) request: SpanId,
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) by: By,
}

/// One session.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) trace: TraceId,
    /// When it was last heard of.
    pub(super) seen_ns: u64,
    recent: VecDeque<Candidate>,
    calls: VecDeque<Call>,
    parents: HashMap<SpanId, SpanId>,
    /// The processes of `parents`, oldest first.
    processes: VecDeque<SpanId>,
    /// What carried out a call already, also oldest first.
    claimed: HashSet<SpanId>,
    claims: VecDeque<SpanId>,
    bytes: usize,
}

impl Run {
    pub(super) fn new(trace: TraceId) -> Self {
        Self {
            trace,
            seen_ns: 0,
            recent: VecDeque::new(),
            calls: VecDeque::new(),
            parents: HashMap::new(),
            processes: VecDeque::new(),
            claimed: HashSet::new(),
            claims: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Bytes of its execs and calls, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes the parent of a process.
    pub(super) fn descends(&mut self, process: SpanId, parent: SpanId) {
        if self.parents.insert(process, parent).is_none() {
            self.processes.push_back(process);
        }
        if self.processes.len() > MAX_PROCESSES
            && let Some(oldest) = self.processes.pop_front()
        {
            self.parents.remove(&oldest);
        }
    }

    /// Takes what may carry out a call that is open, or that is told of later.
    pub(super) fn offer(&mut self, candidate: Candidate, now_ns: u64) {
        for call in &mut self.calls {
            consider(call, &candidate, &self.parents);
        }
        self.bytes += candidate.bytes();
        self.recent.push_back(candidate);
        self.prune(now_ns);
    }

    /// Takes a call. One that is too much is decided.
    pub(super) fn open(&mut self, mut call: Call, emit: &mut impl FnMut(Join)) {
        for candidate in &self.recent {
            consider(&mut call, candidate, &self.parents);
        }
        for other in &mut self.calls {
            if other.tool == call.tool && other.arguments == call.arguments {
                other.twin = true;
                call.twin = true;
            }
        }
        self.bytes += call.bytes();
        self.calls.push_back(call);
        if self.calls.len() > MAX_CALLS {
            self.close(0, u64::MAX, emit);
        }
    }

    /// The result of a call is sent, by a request that began at `at_ns`.
    pub(super) fn answered(
        &mut self,
        owner: SpanId,
        id: Option<&str>,
        tool: Option<&str>,
        at_ns: u64,
        emit: &mut impl FnMut(Join),
    ) {
        let place = self.calls.iter().position(|call| match id {
            Some(id) if !id.is_empty() => call.id == id,
            // Not every interface has ids.
            _ => call.owner == owner && tool.is_none_or(|tool| call.tool == tool),
        });
        if let Some(place) = place {
            self.close(place, at_ns, emit);
        }
    }

    /// Decides what has stood long enough.
    pub(super) fn settle(&mut self, now_ns: u64, emit: &mut impl FnMut(Join)) {
        let mut place = 0;
        while let Some(call) = self.calls.get(place) {
            let sure = call.candidates.first().is_some_and(|best| {
                best.confidence >= SURE && now_ns.saturating_sub(best.at_ns) >= STANDS_NS
            });
            if sure || now_ns.saturating_sub(call.replied_ns) >= OPEN_NS {
                self.close(place, u64::MAX, emit);
            } else {
                place += 1;
            }
        }
        self.prune(now_ns);
    }

    /// Decides every call.
    pub(super) fn close_all(&mut self, emit: &mut impl FnMut(Join)) {
        while !self.calls.is_empty() {
            self.close(0, u64::MAX, emit);
        }
    }

    /// Decides a call, whose result was sent at `until_ns`.
    fn close(&mut self, place: usize, until_ns: u64, emit: &mut impl FnMut(Join)) {
        // Calls of one response go on at the same time: each may be what began.
        let competing = |call: &Call, other: &Call| {
            other.candidates.is_empty() && other.replied_ns <= until_ns && other.owner == call.owner
        };
        let Some(call) = self.calls.remove(place) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(call.bytes());
        let others = self
            .calls
            .iter()
            .filter(|other| competing(&call, other))
            .count();
        // What fits another open call well is not this one's for a lesser reason.
        let better = |span: SpanId, confidence: f64| {
            let firsts = self
                .calls
                .iter()
                .filter_map(|other| other.candidates.first());
            let mut firsts = firsts.filter(|first| first.confidence >= SURE.max(confidence + 0.01));
            firsts.any(|first| above(&self.parents, span).any(|above| above == first.span))
        };
        let free = |span: SpanId| !self.is_claimed(span) && !better(span, TIME_CHILD);
        let mut candidates = call.candidates.into_iter();
        let best = candidates.find(|by| {
            by.at_ns <= until_ns && !self.is_claimed(by.span) && !better(by.span, by.confidence)
        });
        let Some(mut by) = best else {
            return;
        };
        if by.joined_by == TIME {
            let rivals = call.rivals.iter();
            let rivals = rivals
                .filter(|(at_ns, span)| *at_ns <= until_ns && free(*span))
                .count();
            by.confidence /= (rivals.max(1) * (others + 1)) as f64;
        } else if call.twin {
            by.confidence = by.confidence.min(TWIN);
        }
        if self.claimed.insert(by.span) {
            self.claims.push_back(by.span);
        }
        if self.claims.len() > MAX_PROCESSES
            && let Some(oldest) = self.claims.pop_front()
        {
            self.claimed.remove(&oldest);
        }
        emit(Join {
            span: call.span,
            request: call.request,
            id: call.id,
            tool: call.tool,
            by,
        });
    }

    /// Whether it, or what it came of, carried out a call.
    fn is_claimed(&self, span: SpanId) -> bool {
        above(&self.parents, span).any(|span| self.claimed.contains(&span))
    }

    fn prune(&mut self, now_ns: u64) {
        while let Some(oldest) = self.recent.front()
            && (self.recent.len() > MAX_RECENT || now_ns.saturating_sub(oldest.at_ns) > RECENT_NS)
        {
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            self.recent.pop_front();
        }
    }
}

const TIME: &str = "time";

impl Candidate {
    fn bytes(&self) -> usize {
        let what = match &self.what {
            What::Exec(command) => command.bytes(),
            What::Mcp(tool, _) => tool.len(),
        };
        size_of::<Self>() + self.process.len() + self.name.len() + what
    }
}

impl Call {
    fn bytes(&self) -> usize {
        // With the candidates that it may come to have.
        let candidates = MAX_CANDIDATES * 2 * size_of::<By>();
        size_of::<Self>() + candidates + self.asked.bytes() + self.id.len() + self.tool.len()
    }
}

/// What stands for a call's arguments, to be compared.
pub(super) fn digest(arguments: &Value) -> u64 {
    let digest = Sha256::digest(arguments.to_string());
    digest[..8]
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// The process, and those that it came of.
fn above(parents: &HashMap<SpanId, SpanId>, span: SpanId) -> impl Iterator<Item = SpanId> {
    std::iter::successors(Some(span), |span| parents.get(span).copied()).take(MAX_STEPS)
}

/// Takes the candidate into the call's, if it may have carried it out.
fn consider(call: &mut Call, candidate: &Candidate, parents: &HashMap<SpanId, SpanId>) {
    if candidate.at_ns < call.began_ns {
        return;
    }
    let Some((joined_by, confidence)) = fit(call, candidate, parents) else {
        return;
    };
    let known = call
        .candidates
        .iter()
        .position(|by| by.span == candidate.span);
    if let Some(known) = known {
        // One process runs one program after another: `sh -c`, and what that becomes.
        if call.candidates[known].confidence >= confidence {
            return;
        }
        call.candidates.remove(known);
    }
    // Of two as sure, the earlier is what the other came of.
    let after = call.candidates.partition_point(|by| {
        let surer = by.confidence.total_cmp(&confidence);
        surer.then(candidate.at_ns.cmp(&by.at_ns)).is_ge()
    });
    if after >= MAX_CANDIDATES {
        return;
    }
    call.candidates.truncate(MAX_CANDIDATES - 1);
    call.candidates.insert(
        after,
        By {
            span: candidate.span,
            process: candidate.process.clone(),
            pid: candidate.pid,
            name: candidate.name.clone(),
            at_ns: candidate.at_ns,
            time_dt: candidate.time_dt,
            workload: candidate.workload.clone(),
            joined_by,
            confidence,
        },
    );
}

fn fit(
    call: &mut Call,
    candidate: &Candidate,
    parents: &HashMap<SpanId, SpanId>,
) -> Option<(&'static str, f64)> {
    match &candidate.what {
        What::Mcp(tool, arguments) => {
            let same = *arguments == call.arguments;
            let name = if *tool == call.tool {
                0.75
            } else if is_qualified(&call.tool, tool) {
                0.65
            } else {
                return None;
            };
            let owner = if candidate.owner == call.owner {
                0.0
            } else {
                -0.1
            };
            Some(("mcp", name + owner + if same { 0.2 } else { 0.0 }))
        }
        What::Exec(command) => {
            if above(parents, call.owner).any(|span| span == candidate.span) {
                // The agent itself became another program.
                return None;
            }
            let fits = command.fits(&call.asked);
            if let Some(Fit::Whole(confidence)) = fits {
                return Some(("command", confidence));
            }
            let mut confidence = None;
            if candidate.at_ns >= call.replied_ns {
                confidence = by_time(call, candidate, parents);
            }
            match fits {
                Some(Fit::Program(sure)) => Some((
                    "program",
                    if candidate.refused {
                        sure.min(0.5)
                    } else {
                        sure
                    },
                )),
                _ => confidence.map(|confidence| (TIME, confidence)),
            }
        }
    }
}

/// How sure order alone makes it. Notes it as a rival of others.
fn by_time(
    call: &mut Call,
    candidate: &Candidate,
    parents: &HashMap<SpanId, SpanId>,
) -> Option<f64> {
    let is_rival = |span: SpanId| call.rivals.iter().any(|(_, rival)| *rival == span);
    if above(parents, candidate.span).any(is_rival) {
        return None;
    }
    if call.rivals.len() < MAX_RIVALS {
        call.rivals.push((candidate.at_ns, candidate.span));
    }
    let child = parents.get(&candidate.span) == Some(&call.owner);
    Some(if child { TIME_CHILD } else { TIME_OTHER })
}

/// Whether `full` is `name` behind the name of a server, as agents tell models of tools: `mcp__github__search`.
fn is_qualified(full: &str, name: &str) -> bool {
    !name.is_empty()
        && full
            .strip_suffix(name)
            .is_some_and(|server| server.ends_with(['_', '.', '/', '-', ':']))
}
