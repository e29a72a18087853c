//! A session as one JSON document.

use std::io::{self, Write};

use serde::Serialize;

use crate::session::Session;

/// Names the schema in the member `schema`. Members are only ever added under one name.
pub const SCHEMA: &str = "hoop.session/v1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    session: &'a Session,
}

/// Writes `{"schema": "hoop.session/v1", "session": {...}}` and a line break. `session` has the members of
/// [`Session`] by their names: times by RFC 3339 in UTC, ids in hexadecimal digits, what is an index is one into
/// the array that its description names, what is not known is `null` or empty.
///
/// # Errors
///
/// The writer's.
pub fn json(session: &Session, out: &mut impl Write) -> io::Result<()> {
    let document = Document {
        schema: SCHEMA,
        session,
    };
    serde_json::to_writer(&mut *out, &document)?;
    out.write_all(b"\n")
}
