//! 2004 Detection Finding: what a person should look at.

use hoop_records::{Fact, Kind, Record, Result as Verdict};
use serde_json::json;

use crate::event::{Event, FINDING, Severity, milliseconds};
use crate::network::connection_objects;
use crate::object::{Object, endpoint, id};
use crate::{Node, process, record_uid};

/// Whether the record is a finding.
pub(crate) fn is_one(record: &Record) -> bool {
    denied(record) || matches!(record.kind(), Kind::Tamper | Kind::Coverage) || escaped(record)
}

/// The finding.
pub(crate) fn event(record: &Record, node: &Node) -> Event {
    let mut event = Event::new(record, node, FINDING, (1, "Create"));
    let failed = (record.verdict.as_ref()).is_some_and(|verdict| verdict.enforcement == "failed");
    event.severity(if failed && denied(record) {
        Severity::Critical
    } else if record.kind() == Kind::Tamper || escaped(record) {
        Severity::High
    } else if record.kind() == Kind::Coverage {
        Severity::Low
    } else {
        Severity::Medium
    });
    event.attributes.set("is_alert", true);
    // Of a finding, not of what was found.
    event.attributes.set("status_id", 1);
    event.attributes.set("status", "New");
    event.attributes.set("finding_info", info(record, node));
    let evidence = evidence(&mut event, record);
    event.attributes.set("evidences", vec![evidence]);
    if let Some(workload) = &record.workload {
        let resource = json!({
            "uid": id(&workload.identity),
            "name": id(&workload.cgroup),
            "type": "AI workload",
        });
        event.attributes.set("resources", vec![resource]);
    }
    event
}

fn denied(record: &Record) -> bool {
    let verdict = record.verdict.as_ref().map(hoop_records::Verdict::result);
    verdict == Some(Verdict::Deny) || record.kind() == Kind::Reset
}

fn escaped(record: &Record) -> bool {
    matches!(&record.fact, Some(Fact::Process(fact)) if fact.escaped)
}

fn info(record: &Record, node: &Node) -> serde_json::Value {
    let (title, analytic) = match record.kind() {
        Kind::Tamper => ("A process reached beyond its workload", "tamper"),
        Kind::Move => ("A process left its workload", "escape"),
        Kind::Coverage => ("A process speaks TLS that is not read", "coverage"),
        Kind::Exec => ("A program was denied", "exec"),
        Kind::Connect | Kind::Packet => ("A destination was denied", "egress"),
        Kind::Reset => ("A connection was ended", "egress"),
        Kind::Socket => ("A socket was denied", "socket"),
        _ => ("An act was denied", "policy"),
    };
    let verdict = record.verdict.as_ref();
    let rule = verdict.map_or("", |verdict| verdict.rule.as_str());
    let mut info = Object::default();
    info.set("uid", record_uid(node, record.number));
    info.set("title", title);
    let because = verdict.map_or("", |verdict| verdict.because.as_str());
    let reason = match &record.fact {
        Some(Fact::Coverage(fact)) => &fact.reason,
        _ => because,
    };
    info.set_text("desc", reason);
    info.set("created_time", milliseconds(record.time_dt));
    info.set("types", vec![analytic]);
    let rule = if rule.is_empty() { analytic } else { rule };
    let analytic = json!({
        "name": rule,
        "uid": rule,
        "type_id": 1,
        "type": "Rule",
    });
    info.set("analytic", analytic);
    info.set("data_sources", vec!["Hoop"]);
    info.into_value()
}

fn evidence(event: &mut Event, record: &Record) -> serde_json::Value {
    let mut evidence = Object::default();
    if let Some(process) = process::subject(record) {
        evidence.set("process", process);
    }
    match &record.fact {
        Some(Fact::Network(fact)) => {
            for (name, value) in connection_objects(fact) {
                evidence.set(name, value);
            }
        }
        Some(Fact::Process(fact)) => {
            if let Some(program) = process::program(fact) {
                evidence.set("file", program);
            }
            evidence.set_json("data", &process::rest(fact));
        }
        Some(Fact::Socket(fact)) => evidence.set_json("data", fact),
        Some(Fact::Coverage(fact)) => {
            if let Some(endpoint) = endpoint(fact.dst_endpoint.as_ref()) {
                evidence.set("dst_endpoint", endpoint.into_value());
            }
            evidence.set_json("data", fact);
        }
        Some(Fact::Api(fact)) => event.unmapped.set_json("api", &**fact),
        Some(Fact::Plaintext(fact)) => event.unmapped.set_json("plaintext", &**fact),
        Some(Fact::Lifecycle(fact)) => event.unmapped.set_json("lifecycle", fact),
        Some(Fact::Gap(fact)) => event.unmapped.set_json("gap", fact),
        Some(Fact::Link(fact)) => event.unmapped.set_json("link", fact),
        Some(Fact::Log(fact)) => event.unmapped.set_json("log", fact),
        None => {}
    }
    if evidence.0.is_empty() {
        evidence.set("data", json!({ "kind": record.kind().word() }));
    }
    evidence.into_value()
}
