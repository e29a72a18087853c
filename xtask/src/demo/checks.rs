//! What must have been seen for the demonstration to have shown what it claims.

use serde_json::Value;

use super::items::{Item, Seen};
use super::{ARTEFACTS, COLLECTOR, PERSONAL, STRANGER};

/// One expectation.
pub(crate) struct Check {
    /// What was expected.
    pub(crate) expected: &'static str,
    /// What was seen.
    pub(crate) seen: String,
    /// Whether the two agree.
    pub(crate) passed: bool,
}

/// What the checks look at.
pub(crate) struct Evidence<'a> {
    /// The agent's process id.
    pub(crate) agent_pid: u64,
    /// What was reported.
    pub(crate) seen: &'a Seen,
    /// What arrived at the far side.
    pub(crate) packets: Packets,
    /// `status` once the agent had ended.
    pub(crate) status: Value,
    /// `status` once the newcomer had ended.
    pub(crate) shadow_status: Value,
    /// Whether the newcomer reached the collector.
    pub(crate) newcomer_connected: bool,
}

/// Packets at the far side by destination, around the run of the agent.
pub(crate) struct Packets {
    pub(crate) before: Value,
    pub(crate) after: Value,
}

/// Checks everything that can be checked while the stage stands.
pub(crate) fn check(evidence: &Evidence<'_>) -> Vec<Check> {
    let agents = |item: &Item| item.text("/workload/policy") == "demo-agent";
    let about = |item: &Item, result: &str, kind: &str, to: &str, rule: &str| {
        item.result() == result
            && item.kind() == kind
            && item.destination() == to
            && item.text("/verdict/rule") == rule
    };
    let collector = format!("tcp/{COLLECTOR}:443");
    let stranger = format!("udp/{STRANGER}:53");
    let artefacts = format!("tcp/{ARTEFACTS}:80");
    let by = |item: &Item, pid| item.number("/actor/process/pid") == Some(pid);
    let pid = evidence.agent_pid;
    let session = evidence.record(|item| agents(item) && by(item, pid));
    let session = session.map_or("", |item| item.text("/actor/session/uid"));

    let record = |expected, like: &dyn Fn(&Item) -> bool| {
        let found = evidence.record(|item| agents(item) && like(item));
        let seen = found.map(|item| format!("record {}", item.number("/number").unwrap_or(0)));
        Check {
            expected,
            passed: seen.is_some(),
            seen: seen.unwrap_or("no such record".to_owned()),
        }
    };
    vec![
        record("the agent's program, on behalf of alice", &|item| {
            item.kind() == "exec"
                && by(item, pid)
                && item.text("/actor/process/cmd_line").contains("agent.py")
                && item.text("/workload/on_behalf_of") == "user:alice@example.org"
        }),
        record("a command of the model, below the agent", &|item| {
            item.kind() == "exec"
                && item.text("/actor/process/name") == "uname"
                && item.text("/actor/session/uid") == session
        }),
        record("the model: allowed by `model`", &|item| {
            about(item, "allow", "connect", "tcp/192.0.2.10:8443", "model")
        }),
        record("the release notes: allowed by `artefacts`", &|item| {
            about(item, "allow", "connect", &artefacts, "artefacts")
        }),
        record("the collector: denied by `collectors`", &|item| {
            about(item, "deny", "connect", &collector, "collectors") && by(item, pid)
        }),
        record(
            "the collector from a shell: denied, same session",
            &|item| {
                about(item, "deny", "connect", &collector, "collectors")
                    && !by(item, pid)
                    && item.text("/actor/session/uid") == session
                    && item.ancestors() >= 2
            },
        ),
        record("a datagram to a stranger: denied by default", &|item| {
            about(item, "deny", "connect", &stranger, "default")
                && item.text("/verdict/hook") == "sendmsg4"
        }),
        record("a raw socket: denied", &|item| {
            item.kind() == "socket" && item.result() == "deny" && item.text("/socket/kind") == "raw"
        }),
        record("over TLS: the prompt, masked, and who gave it", &|item| {
            let said = item.attribute("gen_ai.input.messages");
            said.contains("Summarise the release notes")
                && said.contains("[EMAIL:")
                && item.text("/workload/on_behalf_of") == "user:alice@example.org"
                && by(item, pid)
        }),
        record("over TLS: the tool call that the model asks for", &|item| {
            let said = item.attribute("gen_ai.output.messages");
            said.contains("fetch_url") && said.contains("[EMAIL:")
        }),
        record("over TLS: the model's last reply", &|item| {
            let said = item.attribute("gen_ai.output.messages");
            said.contains("Release 4.2 starts faster")
                && item.text("/api/connection/dst_endpoint/ip") == "192.0.2.10"
        }),
        record("a private key: denied by `private-keys`", &|item| {
            item.kind() == "exec"
                && item.result() == "deny"
                && item.text("/verdict/rule") == "private-keys"
                && item.text("/verdict/enforcement") == "killed"
        }),
        record(
            "the open download: ended by the change of policy",
            &|item| about(item, "deny", "reset", &artefacts, "default"),
        ),
        evidence.told(
            "the agent is told at once: EPERM",
            "Operation not permitted",
            3,
        ),
        evidence.told("the command never ran: SIGKILL", "ended by SIGKILL", 1),
        evidence.told("the agent's download fails, it does not hang", "abort", 1),
        evidence.nothing_arrived("nothing from the agent at the collector", COLLECTOR),
        evidence.nothing_arrived("nothing from the agent at the stranger", STRANGER),
        evidence.shadow(&collector),
        evidence.complete(),
        evidence.masked(),
    ]
}

/// The last check, on what is left once everything is taken down.
pub(crate) fn nothing_left(left: &[String]) -> Check {
    let passed = left.is_empty();
    let seen = if passed {
        "nothing".to_owned()
    } else {
        left.join(", ")
    };
    Check {
        expected: "left behind: no cgroup, mount, pin or process",
        passed,
        seen,
    }
}

impl Evidence<'_> {
    fn record(&self, like: impl Fn(&Item) -> bool) -> Option<&Item> {
        self.seen.records.iter().find(|item| like(item))
    }

    /// The results that the agent got and that contain `text`, at least `least` of them.
    fn told(&self, expected: &'static str, text: &str, least: usize) -> Check {
        let results = self.seen.agent("result");
        let count = results
            .filter(|event| event.text("/text").contains(text))
            .count();
        Check {
            expected,
            passed: count >= least,
            seen: format!("in {count} results"),
        }
    }

    fn nothing_arrived(&self, expected: &'static str, address: &str) -> Check {
        let count = |packets: &Value| packets[address].as_u64().unwrap_or(0);
        let arrived = count(&self.packets.after) - count(&self.packets.before);
        Check {
            expected,
            passed: arrived == 0,
            seen: format!("{arrived} packets"),
        }
    }

    /// A shadow is recorded, denies nothing and is counted by itself.
    fn shadow(&self, collector: &str) -> Check {
        let recorded = self.record(|item| {
            item.text("/workload/policy") == "demo-shadow"
                && item.result() == "shadow"
                && item.destination() == collector
        });
        let count = |status: &Value, name: &str| status["verdicts"][name].as_u64();
        let denials = count(&self.status, "deny");
        let passed = recorded.is_some()
            && self.newcomer_connected
            && denials.is_some()
            && denials == count(&self.shadow_status, "deny")
            && count(&self.shadow_status, "shadow") > Some(0);
        let seen = match recorded {
            Some(item) => format!("record {}", item.number("/number").unwrap_or(0)),
            None => "no such record".to_owned(),
        };
        Check {
            expected: "in shadow mode: recorded, connected, not counted",
            passed,
            seen,
        }
    }

    fn masked(&self) -> Check {
        let holds = |item: &&Item| item.0.to_string().contains(PERSONAL);
        let count = self.seen.records.iter().filter(holds).count();
        Check {
            expected: "the reader's address is in no record",
            passed: count == 0,
            seen: format!("in {count} records"),
        }
    }

    fn complete(&self) -> Check {
        let count = |name: &str| self.shadow_status["events"][name].as_u64();
        let (numbered, recorded) = (count("numbered"), count("recorded"));
        Check {
            expected: "every event of the kernel is in a record",
            passed: numbered.is_some() && numbered == recorded && count("lost") == Some(0),
            seen: format!("{} of {}", recorded.unwrap_or(0), numbered.unwrap_or(0)),
        }
    }
}
