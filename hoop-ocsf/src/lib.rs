//! Audit records as events of the Open Cybersecurity Schema Framework (OCSF) [`VERSION`],
//! <https://schema.ocsf.io>. Pure: a record and its node become one JSON object.
//!
//! | kind of record | class |
//! | --- | --- |
//! | whatever was denied; `tamper`; `coverage`; a `move` that escaped | 2004 Detection Finding |
//! | `fork`, `exec`, `exit`, `move`, `socket`, `link` | 1007 Process Activity |
//! | `connect`, `packet`, `reset`, `plaintext` | 4001 Network Activity |
//! | `api` | 6003 API Activity |
//! | `workload`, `policy`, `agent` | 6002 Application Lifecycle |
//! | `gap`, `log` | 1008 Event Log Activity |
//!
//! `metadata.uid` names the record: whoever sees one twice has the same event twice. `metadata.correlation_uid` is the
//! W3C trace id, which all events of one session share. What OCSF has no attribute for is under `unmapped`.

mod api;
mod event;
mod finding;
mod lifecycle;
mod log;
mod network;
mod object;
mod process;

use hoop_records::{Fact, Kind, Record};
use serde_json::Value;

use event::Event;

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

/// The node that records are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its host name.
    pub hostname: String,
    /// Name of its audit log, unique over nodes and over all the logs that a node ever had: with a record's
    /// number, it names the record.
    pub log: String,
    /// The version of Hoop that runs on it.
    pub version: String,
}

/// Name of a record that no other record has: by it, a receiver knows a record that it has already.
#[must_use]
pub fn record_uid(node: &Node, number: u64) -> String {
    format!("{}/{number}", node.log)
}

/// The record as an OCSF event.
#[must_use]
pub fn to_ocsf(record: &Record, node: &Node) -> Value {
    let event = if finding::is_one(record) {
        finding::event(record, node)
    } else {
        match &record.fact {
            Some(Fact::Process(fact)) => process::event(record, node, Some(fact)),
            Some(Fact::Network(fact)) => network::connection(record, node, fact),
            Some(Fact::Plaintext(fact)) => network::plaintext(record, node, fact),
            Some(Fact::Api(fact)) => api::event(record, node, fact),
            Some(Fact::Socket(fact)) => process::socket(record, node, fact),
            Some(Fact::Link(fact)) => process::link(record, node, fact),
            Some(Fact::Gap(fact)) => log::gap(record, node, fact),
            Some(Fact::Log(fact)) => log::change(record, node, fact),
            Some(Fact::Lifecycle(fact)) => lifecycle::event(record, node, fact),
            // Always a finding.
            Some(Fact::Coverage(_)) => finding::event(record, node),
            None => match record.kind() {
                Kind::Fork | Kind::Exec | Kind::Exit | Kind::Move => {
                    process::event(record, node, None)
                }
                _ => Event::base(record, node),
            },
        }
    };
    event.finish()
}

/// Appends the record as an OCSF event: one JSON object, without a newline.
pub fn render(record: &Record, node: &Node, out: &mut Vec<u8>) {
    out.extend_from_slice(to_ocsf(record, node).to_string().as_bytes());
}
