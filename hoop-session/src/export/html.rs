//! A session as one page that needs nothing else: it opens from disk, asks no network and runs no script but its
//! own.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::json::SCHEMA;
use crate::session::Session;

const PAGE: &str = include_str!("../../assets/page.html");
const STYLE: &str = include_str!("../../assets/page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("../../assets/model.js"),
    include_str!("../../assets/timeline.js"),
    include_str!("../../assets/graph.js"),
    include_str!("../../assets/page.js"),
];

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    session: &'a Session,
}

/// Writes the page: who, when, under which policy and with which model; the timeline, the lineage, what was
/// denied, and every record in a list that can be filtered and searched. Its content security policy allows
/// nothing but the one style and the one script whose hashes it has.
///
/// # Errors
///
/// The writer's.
pub fn html(session: &Session, out: &mut impl Write) -> io::Result<()> {
    let script = SCRIPTS.join("\n");
    let data = embedded(&serde_json::to_string(&Document {
        schema: SCHEMA,
        session,
    })?);
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        base64(&Sha256::digest(&script)),
        base64(&Sha256::digest(STYLE)),
    );
    let mut rest = PAGE;
    for (mark, text) in [
        ("{{policy}}", policy.as_str()),
        ("{{style}}", STYLE),
        ("{{data}}", &data),
        ("{{script}}", &script),
    ] {
        // One after another, so that a mark in the data stands for nothing.
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        out.write_all(before.as_bytes())?;
        out.write_all(text.as_bytes())?;
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

/// JSON that may stand in a `script` element: nothing in it can end the element or begin a comment (WHATWG HTML,
/// "Restrictions for contents of script elements"), and it is a JavaScript literal in every edition.
fn embedded(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 16);
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{:04x}", character as u32);
            }
            _ => out.push(character),
        }
    }
    out
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            if place > chunk.len() {
                out.push('=');
            } else {
                out.push(char::from(
                    ALPHABET[(bits >> (18 - 6 * place) & 63) as usize],
                ));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_written_as_rfc_4648_has_them() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn nothing_in_the_data_ends_its_element() {
        let text = embedded(r#"{"a":"</script><!--<script>&\u{2028}"}"#);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        assert_eq!(embedded("\u{2028}"), r"\u2028");
    }
}
