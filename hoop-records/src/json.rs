//! A record becomes one line of JSON.

use crate::Record;

/// Appends the record as one JSON object and a newline. The object itself has no newline.
pub fn render(record: &Record, line: &mut Vec<u8>) {
    let start = line.len();
    if let Err(error) = serde_json::to_writer(&mut *line, record) {
        // Unreachable, and a record is never dropped in silence.
        line.truncate(start);
        line.extend_from_slice(
            format!(r#"{{"number":{},"kind":"unspecified","#, record.number).as_bytes(),
        );
        line.extend_from_slice(format!(r#""attribution":"not rendered: {error:?}"}}"#).as_bytes());
    }
    line.push(b'\n');
}
