//! Records become a session.

use std::collections::HashMap;

use hoop_records::{Fact, Kind, Link as Joined, Record, Result, Verdict};

use super::{
    CallResult, Connection, Denial, Gap, Link, Process, Program, Request, Session, Time, Uncovered,
    event, turn,
};
use crate::ids::{Ids, SpanId, TraceId};
use crate::messages;

impl Session {
    /// Puts one session together from its records, and those about Hoop of the same time. Records of other
    /// sessions are passed over. `uid` is the whole name.
    #[must_use]
    pub fn build(uid: &str, records: impl IntoIterator<Item = Record>) -> Self {
        let mut records: Vec<Record> = records.into_iter().collect();
        // Almost in order already: an API's record has the time at which it began.
        records.sort_by_key(|record| (record.boot_time_ns, record.number));
        let mut build = Build::new(uid);
        for record in records
            .iter()
            .filter(|record| session_of(record) == Some(uid))
        {
            build.take(record);
        }
        let mut session = build.join();
        for record in &records {
            session.take_surroundings(record);
        }
        session
            .events
            .sort_by_key(|event| (event.time, event.number));
        session
    }

    /// Takes a record about Hoop that is of its time.
    fn take_surroundings(&mut self, record: &Record) {
        let time = Time(record.time_dt);
        if session_of(record).is_some() || time < self.start || time > self.end {
            return;
        }
        match &record.fact {
            Some(Fact::Gap(gap)) => self.gaps.push(Gap {
                number: record.number,
                time,
                count: gap.count,
                cause: gap.cause.clone(),
            }),
            Some(Fact::Lifecycle(lifecycle)) if lifecycle.subject == self.policy => {}
            Some(Fact::Network(_)) if self.is_of_workload(record) => {
                self.connect(record, None);
            }
            _ => return,
        }
        self.events.push(event::of(record, None));
    }

    fn is_of_workload(&self, record: &Record) -> bool {
        let workload = record.workload.as_ref();
        workload
            .is_some_and(|workload| !workload.cgroup.is_empty() && workload.cgroup == self.cgroup)
    }

    /// Takes a verdict; its index if it is a denial.
    fn deny(&mut self, record: &Record, subject: String, process: Option<usize>) -> Option<usize> {
        let verdict = record.verdict.as_ref()?;
        note(&mut self.modes, &verdict.mode);
        if !matches!(verdict.result(), Result::Deny | Result::Shadow) {
            return None;
        }
        let Verdict {
            rule,
            because,
            mode,
            hook,
            enforcement,
            ..
        } = verdict.clone();
        self.denials.push(Denial {
            number: record.number,
            time: Time(record.time_dt),
            process,
            kind: record.kind().word().to_owned(),
            subject,
            result: verdict.result().word().to_owned(),
            rule,
            because,
            mode,
            hook,
            enforcement,
        });
        Some(self.denials.len() - 1)
    }

    fn connect(&mut self, record: &Record, process: Option<usize>) {
        let Some(Fact::Network(network)) = &record.fact else {
            return;
        };
        let destination = event::destination(network);
        let denial = self.deny(record, destination.clone(), process);
        let verdict = record.verdict.as_ref();
        self.connections.push(Connection {
            number: record.number,
            time: Time(record.time_dt),
            process,
            kind: record.kind().word().to_owned(),
            destination,
            rule: verdict.map_or_else(String::new, |verdict| verdict.rule.clone()),
            result: verdict
                .map_or("", |verdict| verdict.result().word())
                .to_owned(),
            denial,
        });
    }
}

/// The session that a record belongs to.
pub(super) fn session_of(record: &Record) -> Option<&str> {
    let session = record.actor.as_ref()?.session.as_ref()?;
    (!session.uid.is_empty()).then_some(&session.uid)
}

/// A session that is being put together.
struct Build {
    session: Session,
    ids: Ids,
    /// Processes by uid, with the uid of the parent.
    processes: HashMap<String, usize>,
    parents: Vec<String>,
    /// Calls that have no result yet, by id, the latest last: turn and call.
    open: HashMap<String, Vec<(usize, usize)>>,
    links: Vec<(SpanId, Joined)>,
    unplaced: u64,
}

impl Build {
    fn new(uid: &str) -> Self {
        Self {
            session: Session {
                uid: uid.to_owned(),
                ..Session::default()
            },
            ids: Ids::new([0; 16]),
            processes: HashMap::new(),
            parents: Vec::new(),
            open: HashMap::new(),
            links: Vec::new(),
            unplaced: 0,
        }
    }

    fn take(&mut self, record: &Record) {
        self.head(record);
        let process = self.process(record);
        self.fact(record, process);
        let known = process.map(|index| (index, &self.session.processes[index]));
        self.session.events.push(event::of(record, known));
    }

    fn head(&mut self, record: &Record) {
        let session = &mut self.session;
        let (start, mut end) = (Time(record.time_dt), Time(record.time_dt));
        if let Some(api) = turn::api(record) {
            end.0 = end.0.saturating_add_unsigned(api.duration_ns);
        }
        if session.records == (0, 0) {
            (session.start, session.end) = (start, end);
            session.records = (record.number, record.number);
            session.trace_id = self.ids.trace(&session.uid);
        }
        (session.start, session.end) = (session.start.min(start), session.end.max(end));
        let (first, last) = session.records;
        session.records = (first.min(record.number), last.max(record.number));
        if let Some(trace) = record
            .trace
            .as_ref()
            .and_then(|trace| TraceId::read(&trace.trace_id))
        {
            session.trace_id = trace;
        }
        if let Some(workload) = &record.workload {
            for (field, value) in [
                (&mut session.identity, &workload.identity),
                (&mut session.on_behalf_of, &workload.on_behalf_of),
                (&mut session.policy, &workload.policy),
                (&mut session.cgroup, &workload.cgroup),
            ] {
                if field.is_empty() {
                    field.clone_from(value);
                }
            }
        }
    }

    /// The index of the process that a record is of.
    fn process(&mut self, record: &Record) -> Option<usize> {
        let said = record.actor.as_ref()?.process.as_ref()?;
        let index = *self.processes.entry(said.uid.clone()).or_insert_with(|| {
            self.session.processes.push(Process {
                uid: said.uid.clone(),
                pid: said.pid,
                span: self.ids.process(&said.uid),
                start: Time(record.time_dt),
                ..Process::default()
            });
            self.parents.push(String::new());
            self.session.processes.len() - 1
        });
        let process = &mut self.session.processes[index];
        let about_process = !matches!(record.fact, Some(Fact::Api(_) | Fact::Link(_)));
        let span = record
            .trace
            .as_ref()
            .and_then(|trace| SpanId::read(&trace.span_id));
        if let Some(span) = span.filter(|_| about_process) {
            process.span = span;
        }
        if record.kind() != Kind::Link {
            process.name.clone_from(&said.name);
        }
        if let Some(file) = &said.file {
            process.path.clone_from(&file.path);
        }
        if !said.cmd_line.is_empty() {
            // Other records have less of a long one.
            if record.kind() == Kind::Exec || process.cmd_line.is_empty() {
                process.cmd_line.clone_from(&said.cmd_line);
                process.cmd_line_truncated = said.cmd_line_truncated;
            }
            process
                .working_directory
                .clone_from(&said.working_directory);
        }
        if let Some(user) = &said.user {
            process.user = user.uid;
        }
        if let Some(parent) = &said.parent_process {
            self.parents[index].clone_from(&parent.uid);
        }
        Some(index)
    }

    fn fact(&mut self, record: &Record, process: Option<usize>) {
        let time = Time(record.time_dt);
        match &record.fact {
            Some(Fact::Process(activity)) => {
                let known = process.map(|index| &self.session.processes[index]);
                let subject = match (&activity.program, record.kind()) {
                    (Some(program), _) => program.path.clone(),
                    (None, Kind::Exec) => {
                        known.map_or_else(String::new, |known| known.cmd_line.clone())
                    }
                    _ => event::of(record, None).text,
                };
                let denial = self.session.deny(record, subject.clone(), process);
                let Some(process) = process.map(|index| &mut self.session.processes[index]) else {
                    return;
                };
                match record.kind() {
                    Kind::Exec => process.programs.push(Program {
                        time,
                        cmd_line: subject,
                        denial,
                    }),
                    Kind::Exit => {
                        process.end = Some(time);
                        process.ended = event::ended(activity);
                    }
                    _ => {}
                }
            }
            Some(Fact::Network(_)) => self.session.connect(record, process),
            Some(Fact::Coverage(coverage)) => self.session.coverage.push(Uncovered {
                number: record.number,
                time,
                process,
                reason: coverage.reason.clone(),
                libraries: coverage.uncovered.clone(),
            }),
            Some(Fact::Api(_)) => self.api(record, process),
            Some(Fact::Link(link)) => {
                let span = record
                    .trace
                    .as_ref()
                    .and_then(|trace| SpanId::read(&trace.span_id));
                self.links.push((span.unwrap_or_default(), link.clone()));
            }
            _ => {
                let subject = event::of(record, None).text;
                self.session.deny(record, subject, process);
            }
        }
    }

    fn api(&mut self, record: &Record, process: Option<usize>) {
        let Some(api) = turn::api(record) else {
            return;
        };
        let span = record
            .trace
            .as_ref()
            .and_then(|trace| SpanId::read(&trace.span_id));
        let span = span.unwrap_or_else(|| {
            self.unplaced += 1;
            self.ids
                .request(&self.session.uid, "", record.boot_time_ns, self.unplaced)
        });
        if !messages::is_model(api) {
            let code = api
                .http_response
                .as_ref()
                .map_or(0, |response| response.code);
            self.session.requests.push(Request {
                number: record.number,
                span,
                process,
                time: Time(record.time_dt),
                end: Time(record.time_dt.saturating_add_unsigned(api.duration_ns)),
                summary: event::request(api),
                status: code,
                attributes: turn::attributes(api),
            });
            return;
        }
        let (turn, sent) = turn::of(record, api, span, process);
        for sent in sent {
            let key = if sent.id.is_empty() {
                &sent.tool
            } else {
                &sent.id
            };
            let Some((asked, place)) = self.open.get_mut(key).and_then(Vec::pop) else {
                continue;
            };
            self.session.turns[asked].calls[place].result = Some(CallResult {
                time: turn.start,
                text: sent.text,
                is_error: sent.is_error,
            });
        }
        let index = self.session.turns.len();
        for (place, call) in turn.calls.iter().enumerate().rev() {
            let key = if call.id.is_empty() {
                &call.tool
            } else {
                &call.id
            };
            self.open
                .entry(key.clone())
                .or_default()
                .push((index, place));
        }
        note(&mut self.session.models, &turn.model);
        self.session.turns.push(turn);
    }

    /// Joins what refers to one another.
    fn join(mut self) -> Session {
        let parents = std::mem::take(&mut self.parents);
        for (index, uid) in parents.iter().enumerate() {
            let parent = self.processes.get(uid).copied();
            self.session.processes[index].parent = parent.filter(|parent| *parent != index);
        }
        self.break_circles();
        let mut calls: HashMap<SpanId, (usize, usize)> = HashMap::new();
        for (turn_index, turn) in self.session.turns.iter().enumerate() {
            for (place, call) in turn.calls.iter().enumerate() {
                calls.insert(call.span, (turn_index, place));
            }
        }
        let requests = self.session.requests.iter().enumerate();
        let requests: HashMap<SpanId, usize> = requests
            .map(|(index, request)| (request.span, index))
            .collect();
        for (span, link) in self.links {
            let Some((turn, place)) = calls.get(&span).copied() else {
                continue;
            };
            let to = SpanId::read(&link.span_id).unwrap_or_default();
            self.session.turns[turn].calls[place].links.push(Link {
                span: to,
                process: self.processes.get(&link.process).copied(),
                request: requests.get(&to).copied(),
                joined_by: link.joined_by,
                confidence: link.confidence,
            });
        }
        self.session
    }

    /// Records may come from anywhere: a process that is above itself would be walked for ever.
    fn break_circles(&mut self) {
        let processes = &mut self.session.processes;
        // 0: not walked, 1: being walked, 2: known to end.
        let mut state = vec![0_u8; processes.len()];
        for start in 0..processes.len() {
            let mut path = Vec::new();
            let mut at = Some(start);
            while let Some(index) = at.filter(|index| state[*index] == 0) {
                state[index] = 1;
                path.push(index);
                at = processes[index].parent;
                if at.is_some_and(|parent| state[parent] == 1) {
                    processes[index].parent = None;
                    at = None;
                }
            }
            for index in path {
                state[index] = 2;
            }
        }
    }
}

fn note(all: &mut Vec<String>, one: &str) {
    if !one.is_empty() && !all.iter().any(|known| known == one) {
        all.push(one.to_owned());
    }
}
