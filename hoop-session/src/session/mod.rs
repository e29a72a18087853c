//! One session, put together from its records.

mod build;
mod event;
mod find;
#[cfg(test)]
mod tests;
mod turn;

use serde::{Serialize, Serializer};

use hoop_records::Rfc3339;

use crate::ids::{SpanId, TraceId};

pub use event::{Category, Event};
pub use find::{FindError, Row, list};

/// A session: one run of an agent. Texts are as the records have them, masked; they come from hostile bytes, so
/// escape them for wherever they go.
#[derive(Debug, Default, Serialize)]
pub struct Session {
    /// The process key of its first process.
    pub uid: String,
    /// The trace that it is, as records have it, or derived without a seed if they have none.
    pub trace_id: TraceId,
    /// SPIFFE ID of the workload.
    pub identity: String,
    /// Whom the workload acts for.
    pub on_behalf_of: String,
    /// Name of the policy.
    pub policy: String,
    /// The policy's modes, as verdicts have them: more than one if it changed.
    pub modes: Vec<String>,
    /// The workload's cgroup, below the cgroup v2 mount.
    pub cgroup: String,
    /// Models that answered.
    pub models: Vec<String>,
    /// First and last record.
    pub start: Time,
    /// See `start`.
    pub end: Time,
    /// Numbers of the first and the last record: the range of the audit log to verify.
    pub records: (u64, u64),
    /// Requests to models, in the order in which they began.
    pub turns: Vec<Turn>,
    /// Processes, in the order in which they were first seen. The first of a session is its agent.
    pub processes: Vec<Process>,
    /// Destinations that were judged, or whose connection was ended.
    pub connections: Vec<Connection>,
    /// Requests to APIs that are no models, and of MCP.
    pub requests: Vec<Request>,
    /// What the policy refused, or would have.
    pub denials: Vec<Denial>,
    /// Losses of events that were found while it ran: any of them may be of this session.
    pub gaps: Vec<Gap>,
    /// Plaintext that was not read.
    pub coverage: Vec<Uncovered>,
    /// Everything, in order of time, a line each.
    pub events: Vec<Event>,
}

/// Nanoseconds since 1970 in UTC. Serialized by RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

/// A request to a model, and its reply.
#[derive(Debug, Default, Serialize)]
pub struct Turn {
    /// Number of its record.
    pub number: u64,
    /// The request.
    pub span: SpanId,
    /// Index of the process that sent it.
    pub process: Option<usize>,
    /// From its first byte to its last.
    pub start: Time,
    /// See `start`.
    pub end: Time,
    /// `gen_ai.provider.name`.
    pub provider: String,
    /// `gen_ai.operation.name`.
    pub operation: String,
    /// The model that answered, or that was asked.
    pub model: String,
    /// Where it is: host, or address and port.
    pub destination: String,
    /// Messages that were sent again, and told of in earlier turns.
    pub history: usize,
    /// What is new in the request.
    pub input: Vec<Said>,
    /// What the model said. Calls are in `calls`.
    pub output: Vec<Said>,
    /// The tools that it called.
    pub calls: Vec<Call>,
    /// Tokens, as the provider counted.
    pub input_tokens: Option<u64>,
    /// See `input_tokens`.
    pub output_tokens: Option<u64>,
    /// HTTP status; 0 if it was not seen.
    pub status: u32,
    /// Why there is no reply; empty if there is.
    pub error: String,
    /// Why the record is not whole.
    pub incomplete: Vec<String>,
    /// What was masked: class and count.
    pub masked: Vec<(String, u32)>,
    /// All attributes of the record, values as JSON.
    #[serde(skip)]
    pub attributes: Vec<(String, String)>,
}

/// A part of a message.
#[derive(Debug, Default, Serialize)]
pub struct Said {
    /// `system`, `user`, `assistant`, `tool`, or in the provider's words another.
    pub role: String,
    /// `text`, `reasoning`, `tool_call_response`, ...
    pub kind: String,
    /// For a result: the call that it is of.
    pub call: String,
    /// What is said.
    pub text: String,
}

/// A call of a tool that a model asked for.
#[derive(Debug, Default, Serialize)]
pub struct Call {
    /// The call.
    pub span: SpanId,
    /// Its id; empty if it has none.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// JSON.
    pub arguments: String,
    /// What carried it out. None is known if it is empty: the agent may have done it itself.
    pub links: Vec<Link>,
    /// What the model was told of it.
    pub result: Option<CallResult>,
}

/// What carried out a call.
#[derive(Debug, Serialize)]
pub struct Link {
    /// The process, or the request.
    pub span: SpanId,
    /// Index of the process that carried it out, or sent the request.
    pub process: Option<usize>,
    /// Index in `requests`, if it is a request of MCP.
    pub request: Option<usize>,
    /// `command`, `program`, `mcp` or `time`.
    pub joined_by: String,
    /// From 0 to 1.
    pub confidence: f64,
}

/// The result of a call, as a later request sent it.
#[derive(Debug, Serialize)]
pub struct CallResult {
    /// When that request began.
    pub time: Time,
    /// What it says.
    pub text: String,
    /// Whether it says that it is an error.
    pub is_error: bool,
}

/// A process.
#[derive(Debug, Default, Serialize)]
pub struct Process {
    /// Process key.
    pub uid: String,
    /// Process id in the initial PID namespace.
    pub pid: u32,
    /// The process.
    pub span: SpanId,
    /// Last component of the path of its last program.
    pub name: String,
    /// Path of its last program.
    pub path: String,
    /// The last command line. If there are more, `programs` has them.
    pub cmd_line: String,
    /// Whether `cmd_line` is not all of it.
    pub cmd_line_truncated: bool,
    /// Working directory.
    pub working_directory: String,
    /// Real user id.
    pub user: Option<u32>,
    /// Index of the process that created it, if that is in the session.
    pub parent: Option<usize>,
    /// First record of it.
    pub start: Time,
    /// When it ended; `None` if that was not seen.
    pub end: Option<Time>,
    /// `exit 0`, `signal 9`; empty if its end was not seen.
    pub ended: String,
    /// Programs that it ran, one after another.
    pub programs: Vec<Program>,
}

/// A program that a process ran, or that was refused to it.
#[derive(Debug, Serialize)]
pub struct Program {
    /// When.
    pub time: Time,
    /// Its command line, or its path if it was refused.
    pub cmd_line: String,
    /// Index in `denials`, if it was refused or would have been.
    pub denial: Option<usize>,
}

/// A destination that was judged.
#[derive(Debug, Serialize)]
pub struct Connection {
    /// Number of its record.
    pub number: u64,
    /// When.
    pub time: Time,
    /// Index of the process.
    pub process: Option<usize>,
    /// `connect`, `packet` or `reset`.
    pub kind: String,
    /// `tcp 192.0.2.1:443`.
    pub destination: String,
    /// The rule.
    pub rule: String,
    /// `allow`, `deny` or `shadow`.
    pub result: String,
    /// Index in `denials`, if it was refused or would have been.
    pub denial: Option<usize>,
}

/// A request to an API.
#[derive(Debug, Serialize)]
pub struct Request {
    /// Number of its record.
    pub number: u64,
    /// The request.
    pub span: SpanId,
    /// Index of the process.
    pub process: Option<usize>,
    /// When it began.
    pub time: Time,
    /// When it ended.
    pub end: Time,
    /// `GET https://example.org/`, `mcp tools/call search`.
    pub summary: String,
    /// HTTP status; 0 if it was not seen.
    pub status: u32,
    /// All attributes of the record, values as JSON.
    #[serde(skip)]
    pub attributes: Vec<(String, String)>,
}

/// What the policy refused, or would have.
#[derive(Debug, Serialize)]
pub struct Denial {
    /// Number of its record.
    pub number: u64,
    /// When.
    pub time: Time,
    /// Index of the process.
    pub process: Option<usize>,
    /// The kind of record: `connect`, `exec`, ...
    pub kind: String,
    /// What was judged: a destination, a command.
    pub subject: String,
    /// `deny`, or `shadow`: it would have been.
    pub result: String,
    /// The rule.
    pub rule: String,
    /// The rule's reason.
    pub because: String,
    /// The policy's mode.
    pub mode: String,
    /// The kernel hook that judged.
    pub hook: String,
    /// What made it not happen: `refused`, `killed`, `dropped`, `reset`, or `failed`.
    pub enforcement: String,
}

/// A loss of events.
#[derive(Debug, Serialize)]
pub struct Gap {
    /// Number of its record.
    pub number: u64,
    /// When it was found.
    pub time: Time,
    /// How many events.
    pub count: u64,
    /// Why.
    pub cause: String,
}

/// Plaintext that was not read.
#[derive(Debug, Serialize)]
pub struct Uncovered {
    /// Number of its record.
    pub number: u64,
    /// When.
    pub time: Time,
    /// Index of the process.
    pub process: Option<usize>,
    /// Why.
    pub reason: String,
    /// TLS libraries that are not read, each with the reason.
    pub libraries: Vec<String>,
}

impl Session {
    /// Indices of the processes that a process created, in order.
    pub fn children(&self, process: usize) -> impl Iterator<Item = usize> {
        let all = self.processes.iter().enumerate();
        all.filter(move |(_, child)| child.parent == Some(process))
            .map(|(index, _)| index)
    }

    /// What a process is called: its command line, name or pid.
    #[must_use]
    pub fn process_name(&self, process: Option<usize>) -> String {
        match process.and_then(|process| self.processes.get(process)) {
            Some(process) if process.name.is_empty() => format!("pid {}", process.pid),
            Some(process) => format!("{}[{}]", process.name, process.pid),
            None => "a process that is not known".to_owned(),
        }
    }

    /// How many calls of tools the models asked for.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.turns.iter().map(|turn| turn.calls.len()).sum()
    }

    /// How many things were refused, without what only would have been.
    #[must_use]
    pub fn denied(&self) -> usize {
        self.denials
            .iter()
            .filter(|denial| denial.result == "deny")
            .count()
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Rfc3339(self.0).serialize(serializer)
    }
}
