//! Writes the example session: `demo show|json|otlp|html|replay|list`, to standard output.

use std::io::{self, Write as _};

use hoop_session::{Session, export, list, replay, show, testing};

fn main() -> io::Result<()> {
    let records = testing::demo();
    let session = Session::build(&testing::Maker::uid(4242), records.clone());
    let mut out = io::stdout().lock();
    match std::env::args().nth(1).as_deref() {
        Some("json") => export::json(&session, &mut out),
        Some("otlp") => export::otlp(&session, &mut out),
        Some("html") => export::html(&session, &mut out),
        Some("replay") => replay::run(&session),
        Some("list") => list(records)
            .iter()
            .try_for_each(|row| writeln!(out, "{row:?}")),
        _ => show(&session, &mut out, true),
    }
}
