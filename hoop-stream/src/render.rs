//! How sinks write a record.

use bytes::Bytes;
use hoop_ocsf::Node;
use hoop_records::Record;
use prost::Message as _;

use crate::config::{Encoding, Format};
use crate::runner::Failure;
use crate::source::Entry;

/// The records up to the first that is none, and what to return once those are delivered.
pub(crate) fn decode(entries: &[Entry]) -> (Vec<Record>, Result<(), Failure>) {
    let mut records = Vec::with_capacity(entries.len());
    for entry in entries {
        match Record::decode(entry.record.clone()) {
            Ok(record) => records.push(record),
            Err(error) => {
                let failure = Failure::refused(1, error).after(records.len());
                return (records, Err(failure));
            }
        }
    }
    (records, Ok(()))
}

/// Appends the record as one JSON object without a newline. The record's own JSON has its name in front, as
/// `id`.
pub(crate) fn json(record: &Record, format: Format, node: &Node, out: &mut Vec<u8>) {
    match format {
        Format::Json => {
            out.extend_from_slice(br#"{"id":"#);
            let id = serde_json::to_vec(&id(node, record.number));
            out.extend_from_slice(&id.unwrap_or_default());
            let brace = out.len();
            hoop_records::render(record, out);
            out[brace] = b',';
            out.pop();
        }
        Format::Ocsf => hoop_ocsf::render(record, node, out),
    }
}

/// The record as one message.
pub(crate) fn encode(record: &Record, entry: &Entry, encoding: Encoding, node: &Node) -> Bytes {
    let format = match encoding {
        Encoding::Protobuf => return entry.record.clone(),
        Encoding::Json => Format::Json,
        Encoding::Ocsf => Format::Ocsf,
    };
    let mut out = Vec::new();
    json(record, format, node, &mut out);
    out.into()
}

/// Name of a record by which a receiver knows that it has it already: unique over nodes, logs and time.
pub(crate) fn id(node: &Node, number: u64) -> String {
    hoop_ocsf::record_uid(node, number)
}
