//! What programs of the tests say, with secrets in it, and the search for them in what the daemon wrote.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::secrets::Maker;
use super::{Talk, all_records, file};
use crate::daemon::{Daemon, run};
use crate::lab::Lab;

/// Ends the daemon, and looks for the secrets in everything that it wrote.
///
/// # Panics
///
/// When one is there.
#[track_caller]
pub fn holds_nothing(lab: &Lab, daemon: &mut Daemon<'_>, secrets: &Maker) {
    let answers = file(lab, "answers", "");
    let mut told = Vec::new();
    for command in [
        &["status", "--output", "json"][..],
        &["workload", "list", "--output", "json"],
        &["policy", "show"],
        &["events"],
        &["doctor"],
    ] {
        let output = run(daemon.cli().args(command));
        told.extend(output.stdout);
        told.extend(output.stderr);
    }
    fs::write(&answers, told).expect("write answers");
    let records = all_records(daemon);
    let read = records
        .iter()
        .filter(|record| ["api", "plaintext"].iter().any(|kind| record.is(kind)));
    assert!(read.count() > 0, "nothing was read, so nothing is shown");

    let mut written = vec![daemon.state(), answers];
    for entry in fs::read_dir(lab.directory()).expect("the lab") {
        let path: PathBuf = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if name.starts_with("stdout.") || name.starts_with("stderr.") {
            written.push(path);
        }
    }
    let found = secrets.found_in(written.iter().map(PathBuf::as_path));
    let number = secrets.count();
    assert!(
        found.is_empty(),
        "{} of {number} secrets:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Asks for a path, with these headers.
#[must_use]
pub fn get(path: &str, headers: &str) -> Talk {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    Talk {
        send: vec![request.into_bytes()],
        until: "the answer".into(),
    }
}

/// Asks for `/name`, and waits for this text in the answer.
#[must_use]
pub fn asking(name: &str, until: &str) -> Talk {
    let request = format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    Talk {
        send: vec![request.into_bytes()],
        until: until.into(),
    }
}

/// Posts a body that is cut into pieces of so many bytes, each with a call of its own.
#[must_use]
pub fn post(path: &str, kind: &str, body: &[u8], cut: usize, chunked: bool) -> Talk {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n");
    Talk {
        send: message(&head, kind, body, cut, chunked),
        until: "the answer".into(),
    }
}

/// A message whose body is cut into pieces of so many bytes, each with a call of its own.
#[must_use]
pub fn message(start: &str, kind: &str, body: &[u8], cut: usize, chunked: bool) -> Vec<Vec<u8>> {
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", body.len())
    };
    let head = format!("{start}Content-Type: {kind}\r\n{framing}\r\n\r\n");
    let mut all = vec![head.into_bytes()];
    for piece in pieces(body, cut) {
        all.push(if chunked { chunk(&piece) } else { piece });
    }
    if chunked {
        all.push(b"0\r\n\r\n".to_vec());
    }
    all
}

/// An answer of server-sent events, each by a call of its own.
#[must_use]
pub fn events(events: impl Iterator<Item = String>) -> Vec<Vec<u8>> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let mut all = vec![head.as_bytes().to_vec()];
    all.extend(events.map(|event| chunk(event.as_bytes())));
    all.push(b"0\r\n\r\n".to_vec());
    all
}

/// A chunk of a chunked body.
#[must_use]
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Pieces of so many bytes.
#[must_use]
pub fn pieces(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

/// JSON with secrets in it, which ends with `the end.`
#[must_use]
pub fn json_with(secrets: &mut Maker, place: &str) -> String {
    let notes = secrets.of_every_form(place);
    let (password, key) = (secrets.random(place), secrets.random(place));
    let pem = secrets.pem(place);
    let value = json!({ "notes": notes, "password": password, "nested": { "api_key": key },
        "files": [{ "name": "id", "content": pem }], "last": "the end." });
    value.to_string()
}

/// Text with secrets in it, likewise.
#[must_use]
pub fn text_with(secrets: &mut Maker, place: &str) -> String {
    let notes = secrets.of_every_form(place).join("\n- ");
    let pem = secrets.pem(place);
    let password = secrets.random(place);
    format!("What I was told:\n- {notes}\npassword: {password}\n{pem}\nthe end.")
}

/// A form with secrets in it.
#[must_use]
pub fn form_with(secrets: &mut Maker, place: &str) -> String {
    let mut form = String::from("page=2");
    for (number, secret) in secrets.of_every_form(place).iter().enumerate() {
        let secret = secret
            .replace('/', "%2F")
            .replace(':', "%3A")
            .replace('@', "%40");
        form += &format!("&note{number}={secret}");
    }
    let password = secrets.random(place);
    form + &format!("&password={password}&last=the+end.")
}
