//! How sinks write a record.

use hoop_ocsf::Node;
use hoop_records::Record;
use prost::Message as _;

use crate::config::Format;
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

/// Appends the record as one JSON object without a newline.
pub(crate) fn json(record: &Record, format: Format, node: &Node, out: &mut Vec<u8>) {
    match format {
        Format::Json => {
            hoop_records::render(record, out);
            out.pop();
        }
        Format::Ocsf => hoop_ocsf::render(record, node, out),
    }
}

/// Name of a record by which a receiver knows that it has it already: unique over nodes, logs and time.
pub(crate) fn id(node: &Node, number: u64) -> String {
    hoop_ocsf::record_uid(node, number)
}
