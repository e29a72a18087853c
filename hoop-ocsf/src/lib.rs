//! Audit records as events of the Open Cybersecurity Schema Framework.

use hoop_records::Record;

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

/// Appends the record as one JSON object, without a newline.
pub fn render(record: &Record, _node: &Node, out: &mut Vec<u8>) {
    hoop_records::render(record, out);
}
