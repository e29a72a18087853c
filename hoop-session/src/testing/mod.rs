//! Records of sessions, made up: for tests, and to look at pictures of.

mod demo;

use hoop_records::{
    Actor, Ancestor, ApiActivity, Attribute, ConnectionInfo, Coverage, Endpoint, Fact, File, Gap,
    HttpRequest, HttpResponse, Kind, Lifecycle, NetworkActivity, ParentProcess, Process,
    ProcessActivity, Record, Result, Session, TlsConnection, Url, Verdict, Workload,
};
use serde_json::{Value, json};

use crate::lineage::Lineage;

pub use demo::demo;

/// When the made sessions begin: nanoseconds since 1970, and since boot.
pub const START_UTC_NS: i64 = 1_795_597_886_000_000_000;
/// See [`START_UTC_NS`].
pub const START_BOOT_NS: u64 = 500_000_000_000;

/// Makes the records of one session. Times are milliseconds from its start.
pub struct Maker {
    session: u32,
    workload: Workload,
    processes: Vec<Process>,
    records: Vec<Record>,
}

impl Maker {
    /// A session whose first process is `agent`, with this pid.
    #[must_use]
    pub fn new(pid: u32, agent: &str) -> Self {
        let mut maker = Self {
            session: pid,
            workload: Workload {
                cgroup_id: 77,
                cgroup: "/hoop/demo-agent".into(),
                policy: "demo-agent".into(),
                identity: "spiffe://example.org/agents/release-notes".into(),
                on_behalf_of: "user:alice@example.org".into(),
            },
            processes: Vec::new(),
            records: Vec::new(),
        };
        maker.exec(0, pid, 1, agent);
        maker
    }

    /// What was made, in the order of making.
    #[must_use]
    pub fn records(self) -> Vec<Record> {
        self.records
    }

    /// The uid of a process.
    #[must_use]
    pub fn uid(pid: u32) -> String {
        format!("{pid}-{}", START_BOOT_NS + u64::from(pid))
    }

    /// The last record, to be changed.
    #[must_use]
    pub fn last(&mut self) -> &mut Record {
        let last = self.records.len() - 1;
        &mut self.records[last]
    }

    /// Another workload from here on.
    pub fn workload(&mut self, workload: Workload) {
        self.workload = workload;
    }

    /// A process runs a command, as a record has it. It is created if it is new.
    pub fn exec(&mut self, at_ms: u64, pid: u32, parent: u32, cmd_line: &str) -> &mut Record {
        let program = cmd_line.split(' ').next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        let path = if program.starts_with('/') {
            program.to_owned()
        } else {
            format!("/usr/bin/{program}")
        };
        self.processes.retain(|known| known.pid != pid);
        let parent_name = self.process(parent).map(|parent| parent.name.clone());
        self.processes.push(Process {
            pid,
            uid: Self::uid(pid),
            name,
            file: Some(File {
                path,
                truncated: false,
            }),
            cmd_line: cmd_line.to_owned(),
            working_directory: "/srv/notes".into(),
            parent_process: Some(ParentProcess {
                pid: parent,
                uid: Self::uid(parent),
                name: parent_name.unwrap_or_default(),
            }),
            ..Process::default()
        });
        let fact = Fact::Process(ProcessActivity::default());
        self.push(at_ms, pid, Kind::Exec, 1007, fact);
        self.judged(Result::Allow, "default", "", "")
    }

    /// A process is created, and is what its parent is.
    pub fn fork(&mut self, at_ms: u64, pid: u32, parent: u32) -> &mut Record {
        let mut process = self.process(parent).cloned().unwrap_or_default();
        process.parent_process = Some(ParentProcess {
            pid: parent,
            uid: Self::uid(parent),
            name: process.name.clone(),
        });
        (process.pid, process.uid) = (pid, Self::uid(pid));
        self.processes.retain(|known| known.pid != pid);
        self.processes.push(process);
        let fact = Fact::Process(ProcessActivity::default());
        self.push(at_ms, pid, Kind::Fork, 1007, fact)
    }

    /// A process ends.
    pub fn exit(&mut self, at_ms: u64, pid: u32, code: i32) -> &mut Record {
        let activity = ProcessActivity {
            exit_code: Some(code),
            ..ProcessActivity::default()
        };
        self.push(at_ms, pid, Kind::Exit, 1007, Fact::Process(activity))
    }

    /// A process is ended by a signal.
    pub fn killed(&mut self, at_ms: u64, pid: u32, signal: i32) -> &mut Record {
        let activity = ProcessActivity {
            signal: Some(signal),
            ..ProcessActivity::default()
        };
        self.push(at_ms, pid, Kind::Exit, 1007, Fact::Process(activity))
    }

    /// A destination is judged, and allowed.
    pub fn connect(
        &mut self,
        at_ms: u64,
        pid: u32,
        protocol: &str,
        ip: &str,
        port: u32,
    ) -> &mut Record {
        let fact = Fact::Network(NetworkActivity {
            dst_endpoint: Some(Endpoint {
                ip: ip.into(),
                port: Some(port),
            }),
            src_endpoint: None,
            connection_info: Some(ConnectionInfo {
                uid: 9000 + at_ms,
                protocol_name: protocol.into(),
                direction: "Outbound".into(),
                ..ConnectionInfo::default()
            }),
        });
        self.push(at_ms, pid, Kind::Connect, 4001, fact);
        self.judged(Result::Allow, "model", "", "")
    }

    /// Gives the last record a verdict.
    pub fn judged(&mut self, result: Result, rule: &str, because: &str, how: &str) -> &mut Record {
        let last = self.last();
        last.verdict = Some(Verdict {
            result: result.into(),
            rule: rule.into(),
            because: because.into(),
            mode: "enforce".into(),
            hook: if last.kind() == Kind::Exec {
                "exec"
            } else {
                "connect4"
            }
            .into(),
            epoch: 3,
            enforcement: how.into(),
        });
        last
    }

    /// A model is asked: messages as attributes have them.
    pub fn model(
        &mut self,
        at_ms: u64,
        lasts_ms: u64,
        pid: u32,
        input: &Value,
        output: &Value,
    ) -> &mut Record {
        let attributes = [
            ("gen_ai.operation.name", json!("chat")),
            ("gen_ai.provider.name", json!("openai")),
            ("gen_ai.request.model", json!("demo-1")),
            ("gen_ai.input.messages", input.clone()),
            ("gen_ai.response.model", json!("demo-1")),
            ("gen_ai.usage.input_tokens", json!(412)),
            ("gen_ai.usage.output_tokens", json!(57)),
            ("gen_ai.output.messages", output.clone()),
        ];
        let url = ("https", "192.0.2.10:8443", "/v1/chat/completions");
        self.api(at_ms, lasts_ms, pid, "POST", url, &attributes)
    }

    /// A tool is called by MCP.
    pub fn mcp(
        &mut self,
        at_ms: u64,
        pid: u32,
        tool: &str,
        arguments: &Value,
        result: &Value,
    ) -> &mut Record {
        let attributes = [
            ("mcp.method.name", json!("tools/call")),
            ("gen_ai.operation.name", json!("execute_tool")),
            ("gen_ai.tool.name", json!(tool)),
            ("gen_ai.tool.call.arguments", arguments.clone()),
            ("hoop.mcp.caller", json!("client")),
            ("gen_ai.tool.call.result", result.clone()),
        ];
        self.api(at_ms, 0, pid, "", ("", "", ""), &attributes);
        if let Some(Fact::Api(api)) = &mut self.last().fact {
            api.protocol = "mcp".into();
            (api.http_request, api.http_response) = (None, None);
        }
        self.last()
    }

    /// Something is asked of an API.
    pub fn api(
        &mut self,
        at_ms: u64,
        lasts_ms: u64,
        pid: u32,
        method: &str,
        (scheme, hostname, path): (&str, &str, &str),
        attributes: &[(&str, Value)],
    ) -> &mut Record {
        let api = ApiActivity {
            protocol: "http/1.1".into(),
            http_request: Some(HttpRequest {
                http_method: method.into(),
                url: Some(Url {
                    scheme: scheme.into(),
                    hostname: hostname.into(),
                    path: path.into(),
                }),
                ..HttpRequest::default()
            }),
            http_response: Some(HttpResponse {
                code: 200,
                ..HttpResponse::default()
            }),
            connection: Some(TlsConnection {
                uid: format!("{pid}-7f00-1"),
                dst_endpoint: Some(Endpoint {
                    ip: "192.0.2.10".into(),
                    port: Some(8443),
                }),
                ..TlsConnection::default()
            }),
            attributes: attributes
                .iter()
                .map(|(key, value)| Attribute {
                    key: (*key).into(),
                    value: value.to_string(),
                })
                .collect(),
            duration_ns: lasts_ms * 1_000_000,
            ..ApiActivity::default()
        };
        self.push(at_ms, pid, Kind::Api, 6003, Fact::Api(Box::new(api)))
    }

    /// Plaintext was not read.
    pub fn coverage(&mut self, at_ms: u64, pid: u32, reason: &str) -> &mut Record {
        let fact = Fact::Coverage(Coverage {
            reason: reason.into(),
            uncovered: vec!["rustls: no symbols".into()],
            ..Coverage::default()
        });
        self.push(at_ms, pid, Kind::Coverage, 4001, fact)
    }

    /// Events were lost.
    pub fn gap(&mut self, at_ms: u64, count: u64) -> &mut Record {
        let fact = Fact::Gap(Gap {
            cpu: 1,
            first: 100,
            last: 99 + count,
            count,
            cause: "ring full".into(),
        });
        self.about_hoop(at_ms, Kind::Gap, fact)
    }

    /// A policy came into force.
    pub fn policy(&mut self, at_ms: u64, detail: &str) -> &mut Record {
        let fact = Fact::Lifecycle(Lifecycle {
            activity: "loaded".into(),
            subject: self.workload.policy.clone(),
            detail: detail.into(),
            hooks: Vec::new(),
        });
        self.about_hoop(at_ms, Kind::Policy, fact)
    }

    fn about_hoop(&mut self, at_ms: u64, kind: Kind, fact: Fact) -> &mut Record {
        self.push(at_ms, 0, kind, 6002, fact);
        let last = self.last();
        (last.actor, last.workload) = (None, None);
        last
    }

    fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }

    fn ancestry(&self, pid: u32) -> Vec<Ancestor> {
        let parent = |pid: u32| {
            self.process(pid)?
                .parent_process
                .as_ref()
                .map(|parent| parent.pid)
        };
        // Made-up processes may be above themselves.
        std::iter::successors(parent(pid), |pid| parent(*pid))
            .take(16)
            .filter_map(|pid| self.process(pid))
            .map(|process| Ancestor {
                pid: process.pid,
                name: process.name.clone(),
            })
            .collect()
    }

    fn push(
        &mut self,
        at_ms: u64,
        pid: u32,
        kind: Kind,
        class_uid: u32,
        fact: Fact,
    ) -> &mut Record {
        let actor = Actor {
            process: self.process(pid).cloned(),
            session: Some(Session {
                uid: Self::uid(self.session),
            }),
            ancestry: self.ancestry(pid),
        };
        let number = self.records.len() as u64 + 1;
        self.records.push(Record {
            number,
            time_dt: START_UTC_NS + (at_ms * 1_000_000).cast_signed(),
            boot_time_ns: START_BOOT_NS + at_ms * 1_000_000,
            kind: kind.into(),
            class_uid,
            workload: Some(self.workload.clone().into()),
            actor: Some(actor.into()),
            fact: Some(fact),
            ..Record::default()
        });
        self.last()
    }
}

/// A message of a conversation with one text.
#[must_use]
pub fn said(role: &str, text: &str) -> Value {
    json!({"role": role, "parts": [{"type": "text", "content": text}]})
}

/// A reply that calls tools: their ids, names and arguments.
#[must_use]
pub fn calls(text: &str, calls: &[(&str, &str, Value)]) -> Value {
    let mut parts = vec![json!({"type": "text", "content": text})];
    parts.extend(calls.iter().map(|(id, name, arguments)| {
        json!({"type": "tool_call", "id": id, "name": name, "arguments": arguments})
    }));
    json!({"role": "assistant", "parts": parts, "finish_reason": "tool_call"})
}

/// The result of a call.
#[must_use]
pub fn result(id: &str, text: &str) -> Value {
    let part = json!({"type": "tool_call_response", "id": id, "response": text});
    json!({"role": "tool", "parts": [part]})
}

/// Places records as the daemon does, numbers them anew and puts links behind what decided them.
#[must_use]
pub fn placed(records: Vec<Record>) -> Vec<Record> {
    let mut lineage = Lineage::new([7; 16]);
    let mut out = Vec::with_capacity(records.len());
    for mut record in records {
        let mut links = Vec::new();
        lineage.observe(&mut record, &mut |link| links.push(link));
        out.push(record);
        out.append(&mut links);
    }
    lineage.finish(&mut |link| out.push(link));
    for (number, record) in (1..).zip(&mut out) {
        record.number = number;
    }
    out
}
