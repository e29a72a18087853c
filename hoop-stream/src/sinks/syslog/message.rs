//! A record as a message of RFC 5424.

use std::io::Write as _;

use hoop_ocsf::Node;
use hoop_records::{Kind, Record, Result as Verdict, Rfc3339};

use super::Config;
use crate::render;

/// Appends the message:
/// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG`.
///
/// `MSGID` is the kind of the record, `sequenceId` its number as far as that goes (RFC 5424, section 7.3.1).
pub(super) fn write(record: &Record, config: &Config, node: &Node, out: &mut Vec<u8>) {
    let priority = u32::from(config.facility) * 8 + severity(record);
    let time = Rfc3339(record.time_dt).to_string();
    // Nanoseconds are more than TIME-SECFRAC may have.
    let time = time.get(..26).unwrap_or(&time);
    let sequence = (record.number.saturating_sub(1) % 2_147_483_647) + 1;
    // Writing to a vector does not fail.
    let _ = write!(
        out,
        "<{priority}>1 {time}Z {host} {app} - {kind} [meta sequenceId=\"{sequence}\"] ",
        host = header(&node.hostname),
        app = config.app_name,
        kind = record.kind().word(),
    );
    render::json(record, config.format, node, out);
}

/// Cuts a message to so many bytes, between characters.
pub(super) fn cut(message: &mut Vec<u8>, most: usize) {
    if message.len() > most {
        let mut end = most;
        while end > 0 && message[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        message.truncate(end);
    }
}

/// The severity of RFC 5424, table 2.
fn severity(record: &Record) -> u32 {
    const ERROR: u32 = 3;
    const WARNING: u32 = 4;
    const NOTICE: u32 = 5;
    const INFORMATIONAL: u32 = 6;
    match record.kind() {
        Kind::Tamper => return ERROR,
        Kind::Gap => return WARNING,
        _ => {}
    }
    match &record.verdict {
        Some(verdict) if verdict.enforcement == "failed" => ERROR,
        Some(verdict) if verdict.result() == Verdict::Deny => WARNING,
        Some(verdict) if verdict.result() == Verdict::Shadow => NOTICE,
        _ => INFORMATIONAL,
    }
}

/// `HOSTNAME`: at most 255 printable characters of ASCII, `-` if there is none.
fn header(hostname: &str) -> String {
    let printable = hostname.chars().filter(char::is_ascii_graphic);
    let name: String = printable.take(255).collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(record: &Record, hostname: &str) -> String {
        let config = json!({ "address": "soc.test:514", "transport": "udp" });
        let node = Node {
            hostname: hostname.into(),
            log: "log".into(),
            version: String::new(),
        };
        let mut out = Vec::new();
        write(
            record,
            &serde_json::from_value(config).unwrap(),
            &node,
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_has_the_parts_of_rfc_5424() {
        let record = Record {
            number: 7,
            time_dt: 1_795_597_886_123_456_789,
            kind: Kind::Connect as i32,
            verdict: Some(hoop_records::Verdict {
                result: Verdict::Deny as i32,
                ..Default::default()
            }),
            ..Record::default()
        };
        let message = message(&record, "node 1\n\u{e9}");
        let (head, body) = message.split_once("] ").unwrap();
        assert_eq!(
            head,
            "<108>1 2026-11-25T09:11:26.123456Z node1 hoop - connect [meta sequenceId=\"7\""
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["number"], &body["id"]), (&json!(7), &json!("log/7")));
    }

    #[test]
    fn the_sequence_id_stays_in_its_range() {
        for (number, sequence) in [
            (1, 1),
            (2_147_483_647, 2_147_483_647),
            (2_147_483_648, 1),
            (u64::MAX, 3),
        ] {
            let record = Record {
                number,
                ..Record::default()
            };
            let message = message(&record, "");
            assert!(
                message.contains(&format!("sequenceId=\"{sequence}\"")),
                "{message}"
            );
            assert!(message.contains("Z - hoop - "), "{message}");
        }
    }

    #[test]
    fn a_cut_is_between_characters() {
        let mut message = "a\u{e9}\u{20ac}".to_owned().into_bytes();
        cut(&mut message, 6);
        assert_eq!(message.len(), 6);
        for (most, left) in [(5, 3), (4, 3), (3, 3), (2, 1), (1, 1)] {
            cut(&mut message, most);
            assert_eq!(message.len(), left);
        }
    }
}
