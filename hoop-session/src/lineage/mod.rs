//! Where each record stands in its session, and which process carried out which call of a tool.
//!
//! Runs in the thread that writes records, on records as they come. They come almost in order: what was said to
//! an API arrives once all of it was said, and its record has the time at which it began. So nothing is joined
//! when it arrives: execs of the last seconds are kept, and a call is decided when its result is sent in a later
//! request, or when a candidate that runs the whole command has stood for two seconds.
//!
//! Memory is bounded: [`MAX_SESSIONS`] sessions and [`MAX_BYTES`] bytes in all; within a session 128 execs of
//! the last five seconds, 64 open calls and 1024 processes. What is too much goes oldest first: a call that goes
//! is joined by what is known so far, and a session that goes loses nothing but joins. A workload that starts
//! the command of an open call itself is joined to it: a link says what fits, and how sure that is.

mod command;
mod run;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use hoop_records::{
    Actor, ApiActivity, Fact, Kind, Link, Process, Record, Result, Session, Shared, Trace,
};

use crate::ids::{Ids, SpanId, TraceId};
use crate::messages;
use command::{Asked, Command};
use run::{Call, Candidate, Join, Run, What};

/// Sessions whose execs and open calls are kept.
pub const MAX_SESSIONS: usize = 256;

/// Bytes of execs and open calls that are kept, of all sessions.
pub const MAX_BYTES: usize = 16 << 20;

/// Ids of processes and sessions that are kept, so as not to derive them for every record.
const CACHED_IDS: usize = 4096;

/// Calls that are taken from one response.
const MAX_CALLS: usize = 64;

/// How often all sessions are looked through, in nanoseconds.
const SWEEP_NS: u64 = 1_000_000_000;

/// A session in which nothing happened for this long, in nanoseconds, is forgotten.
const IDLE_NS: u64 = 3_600_000_000_000;

/// OCSF: API Activity, other. What a link is about is a call.
const API_ACTIVITY: u32 = 6003;
const OTHER: u32 = 99;

/// Sets [`Record::trace`], and makes records of links.
pub struct Lineage {
    ids: Ids,
    traces: Cache<TraceId>,
    processes: Cache<SpanId>,
    runs: HashMap<String, Run>,
    bytes: usize,
    requests: u64,
    /// The latest time of any record, and when all sessions were last looked through: nanoseconds since boot.
    newest_ns: u64,
    swept_ns: u64,
}

impl Lineage {
    /// With the seed that ids are derived from: of this node and boot, since process keys say nothing of
    /// either.
    #[must_use]
    pub fn new(seed: [u8; 16]) -> Self {
        Self {
            ids: Ids::new(seed),
            traces: Cache::new(),
            processes: Cache::new(),
            runs: HashMap::new(),
            bytes: 0,
            requests: 0,
            newest_ns: 0,
            swept_ns: 0,
        }
    }

    /// Places a record. Links that are decided by it go to `emit`, placed; they are not to be observed.
    /// A record of no session, and a link, stay as they are.
    pub fn observe(&mut self, record: &mut Record, emit: &mut dyn FnMut(Record)) {
        self.newest_ns = self.newest_ns.max(record.boot_time_ns);
        if self.newest_ns.saturating_sub(self.swept_ns) >= SWEEP_NS {
            self.sweep(emit);
        }
        let Some(actor) = record.actor.clone() else {
            return;
        };
        let (Some(process), Some(session)) = (&actor.process, &actor.session) else {
            return;
        };
        let is_link = matches!(record.fact, Some(Fact::Link(_)));
        if session.uid.is_empty() || process.uid.is_empty() || is_link {
            return;
        }
        let trace = self.traces.get(&session.uid, |uid| self.ids.trace(uid));
        let span = self
            .processes
            .get(&process.uid, |uid| self.ids.process(uid));
        let parent = self.parent(&actor, process, session);
        match &record.fact {
            Some(Fact::Api(api)) => {
                let connection = api.connection.as_ref().map_or("", |tls| tls.uid.as_str());
                self.requests += 1;
                let (at, number) = (record.boot_time_ns, self.requests);
                let request = self.ids.request(&session.uid, connection, at, number);
                record.trace = Some(place(trace, request, Some(span)));
                if messages::is_model(api) || messages::attribute(api, "mcp.method.name").is_some()
                {
                    let owner = Owner {
                        process,
                        span,
                        request,
                    };
                    self.api(&session.uid, record, api, &owner, trace, emit);
                }
            }
            fact => {
                record.trace = Some(place(trace, span, parent));
                if !matches!(record.kind(), Kind::Exec | Kind::Fork) {
                    return;
                }
                let candidate = match (record.kind(), fact) {
                    (Kind::Exec, Some(Fact::Process(activity))) => {
                        let command = match &activity.program {
                            // The process is still what it was.
                            Some(program) => Command::new(&program.path, "", program.truncated),
                            None => Command::new(
                                process.file.as_ref().map_or("", |file| &file.path),
                                &process.cmd_line,
                                process.cmd_line_truncated,
                            ),
                        };
                        Some(candidate(record, process, span, What::Exec(command)))
                    }
                    _ => None,
                };
                let newest_ns = self.newest_ns;
                self.with_run(&session.uid, trace, |run| {
                    if let Some(parent) = parent {
                        run.descends(span, parent);
                    }
                    if let Some(candidate) = candidate {
                        run.offer(candidate, newest_ns);
                    }
                });
            }
        }
    }

    /// Decides every call that is open: at the end of the log.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Record)) {
        for (uid, mut run) in std::mem::take(&mut self.runs) {
            let trace = run.trace;
            run.close_all(&mut |join| emit(link(&uid, trace, join)));
        }
        self.bytes = 0;
    }

    /// The span of what a process came of.
    fn parent(&mut self, actor: &Actor, process: &Process, session: &Session) -> Option<SpanId> {
        if process.uid == session.uid {
            return None;
        }
        // Ancestors are those inside the workload: a parent that is none of them is of no session, or another.
        let parent = process.parent_process.as_ref().filter(|parent| {
            let nearest = actor.ancestry.first();
            parent.uid == session.uid || nearest.is_some_and(|nearest| nearest.pid == parent.pid)
        });
        let uid = parent.map_or(&session.uid, |parent| &parent.uid);
        Some(self.processes.get(uid, |uid| self.ids.process(uid)))
    }

    fn api(
        &mut self,
        session: &str,
        record: &Record,
        api: &ApiActivity,
        owner: &Owner<'_>,
        trace: TraceId,
        emit: &mut dyn FnMut(Record),
    ) {
        let newest_ns = self.newest_ns;
        let mcp = messages::mcp_call(api).filter(|_| {
            messages::string(api, "hoop.mcp.caller").is_none_or(|caller| caller == "client")
        });
        let (input, output) = (messages::input(api), messages::output(api));
        self.with_run(session, trace, |run| {
            if let Some(call) = mcp {
                let what = What::Mcp(call.tool, run::digest(&call.arguments));
                let mut candidate = candidate(record, owner.process, owner.request, what);
                candidate.owner = owner.span;
                run.offer(candidate, newest_ns);
                return;
            }
            let results = messages::news(&input)
                .iter()
                .flat_map(|message| &message.parts);
            for result in results.filter(|part| part.is_result()) {
                let (id, tool) = (result.id.as_deref(), result.name.as_deref());
                run.answered(owner.span, id, tool, record.boot_time_ns, &mut |join| {
                    emit(link(session, trace, join));
                });
            }
            let asked = output.iter().flat_map(|message| &message.parts);
            for (place, part) in asked
                .filter(|part| part.is_call())
                .take(MAX_CALLS)
                .enumerate()
            {
                let id = part.id.clone().unwrap_or_default();
                let tool = part.name.clone().unwrap_or_default();
                let arguments = part.arguments.map(|json| messages::value(json.get()));
                let arguments = arguments.unwrap_or_default();
                let call = Call {
                    span: Ids::call(owner.request, &id, place),
                    request: owner.request,
                    owner: owner.span,
                    asked: Asked::new(&tool, &arguments),
                    arguments: run::digest(&arguments),
                    id,
                    tool,
                    began_ns: record.boot_time_ns,
                    replied_ns: record.boot_time_ns.saturating_add(api.duration_ns),
                    ..Call::default()
                };
                run.open(call, &mut |join| emit(link(session, trace, join)));
            }
        });
    }

    /// Works on a session, which is begun if it is new, and holds the bounds.
    fn with_run(&mut self, session: &str, trace: TraceId, work: impl FnOnce(&mut Run)) {
        if !self.runs.contains_key(session) {
            if self.runs.len() >= MAX_SESSIONS {
                self.forget_oldest(session);
            }
            self.runs.insert(session.to_owned(), Run::new(trace));
        }
        let newest_ns = self.newest_ns;
        if let Some(run) = self.runs.get_mut(session) {
            let before = run.bytes();
            run.seen_ns = newest_ns;
            work(run);
            self.bytes = (self.bytes + run.bytes()).saturating_sub(before);
        }
        while self.bytes > MAX_BYTES && self.forget_oldest(session) {}
    }

    /// Forgets the session that was quiet the longest, other than `keep`. False if there is no other.
    fn forget_oldest(&mut self, keep: &str) -> bool {
        let others = self.runs.iter().filter(|(uid, _)| uid.as_str() != keep);
        let oldest = others
            .min_by_key(|(_, run)| run.seen_ns)
            .map(|(uid, _)| uid.clone());
        let run = oldest.and_then(|uid| self.runs.remove(&uid));
        self.bytes = self
            .bytes
            .saturating_sub(run.as_ref().map_or(0, Run::bytes));
        run.is_some()
    }

    fn sweep(&mut self, emit: &mut dyn FnMut(Record)) {
        let now_ns = self.newest_ns;
        self.swept_ns = now_ns;
        self.runs.retain(|uid, run| {
            let trace = run.trace;
            let mut emit = |join: Join| emit(link(uid, trace, join));
            run.settle(now_ns, &mut emit);
            let keep = now_ns.saturating_sub(run.seen_ns) < IDLE_NS;
            if !keep {
                run.close_all(&mut emit);
            }
            keep
        });
        self.bytes = self.runs.values().map(Run::bytes).sum();
    }
}

/// Whose request it is.
struct Owner<'a> {
    process: &'a Process,
    span: SpanId,
    request: SpanId,
}

/// A fixed number of ids by name. A name that falls on another's place takes it.
struct Cache<T> {
    slots: Vec<Option<(String, T)>>,
    hasher: RandomState,
}

impl<T: Copy> Cache<T> {
    fn new() -> Self {
        Self {
            slots: (0..CACHED_IDS).map(|_| None).collect(),
            hasher: RandomState::new(),
        }
    }

    fn get(&mut self, name: &str, derive: impl FnOnce(&str) -> T) -> T {
        let place = self.hasher.hash_one(name) as usize % CACHED_IDS;
        match &self.slots[place] {
            Some((known, id)) if known == name => *id,
            _ => {
                let id = derive(name);
                self.slots[place] = Some((name.to_owned(), id));
                id
            }
        }
    }
}

fn candidate(record: &Record, process: &Process, span: SpanId, what: What) -> Candidate {
    let refused = record.verdict.as_ref().is_some_and(|verdict| {
        verdict.result() == Result::Deny && verdict.enforcement == "refused"
    });
    Candidate {
        span,
        owner: SpanId::default(),
        process: process.uid.clone(),
        pid: process.pid,
        name: process.name.clone(),
        at_ns: record.boot_time_ns,
        time_dt: record.time_dt,
        workload: record.workload.clone(),
        refused,
        what,
    }
}

fn place(trace: TraceId, span: SpanId, parent: Option<SpanId>) -> Trace {
    Trace {
        trace_id: trace.0.to_vec(),
        span_id: span.0.to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.0.to_vec()),
    }
}

/// The record of a link. It has the time of what carried the call out.
fn link(session: &str, trace: TraceId, join: Join) -> Record {
    let by = join.by;
    let process = Process {
        pid: by.pid,
        uid: by.process.clone(),
        name: by.name,
        ..Process::default()
    };
    let actor = Actor {
        process: Some(process),
        session: Some(Session {
            uid: session.to_owned(),
        }),
        ..Actor::default()
    };
    Record {
        time_dt: by.time_dt,
        boot_time_ns: by.at_ns,
        kind: Kind::Link.into(),
        class_uid: API_ACTIVITY,
        activity_id: OTHER,
        workload: by.workload,
        actor: Some(Shared::new(actor)),
        trace: Some(place(trace, join.span, Some(join.request))),
        fact: Some(Fact::Link(Link {
            tool: join.tool,
            call_id: join.id,
            call_span_id: join.request.0.to_vec(),
            span_id: by.span.0.to_vec(),
            process: by.process,
            joined_by: by.joined_by.to_owned(),
            confidence: by.confidence,
        })),
        ..Record::default()
    }
}
