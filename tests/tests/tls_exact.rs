//! What is on record of a call is what the call moved: all of it, once, and of nobody else.

use std::process::Command;

use hoop_tests::daemon::Daemon;
use hoop_tests::lab::Lab;
use hoop_tests::tls::{
    CAPTURE, HttpsServer, PYTHON, Said, Talk, all_records, assert_said, said_by, succeed, talker,
};
use hoop_tests::wait;

/// A policy that keeps all of a body.
const LARGE: &str = "mode: enforce\negress: { default: allow }\n\
                     capture: { tls: true, maxBytesPerCall: 262144, maxBodyBytes: 1048576 }";
/// One that takes little of a call.
const SMALL: &str = "mode: enforce\negress: { default: allow }\n\
                     capture: { tls: true, maxBytesPerCall: 32768, maxBodyBytes: 1048576 }";

/// Writes in calls that fail until the socket has room, each tried again with the same bytes, to a
/// server that reads slowly.
const NON_BLOCKING: &str = r#"
import select, socket, ssl, sys
_, port, path, body = sys.argv
body = open(body, "rb").read()
plain = socket.create_connection(("127.0.0.1", int(port)))
plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
connection = ssl._create_unverified_context().wrap_socket(plain)
connection.setblocking(False)
head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
left = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
refused = 0
while left:
    try:
        left = left[connection.send(left[:50000]):]
    except ssl.SSLWantWriteError:
        refused += 1
        select.select([], [connection], [])
assert refused > 3, refused
seen = b""
while not seen.endswith(b"}"):
    try:
        seen += connection.recv(100)
    except ssl.SSLWantReadError:
        select.select([connection], [], [])
"#;

#[test]
fn a_write_of_256_kib_arrives_whole() {
    let (lab, text) = (Lab::new(), words(256 << 10));
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", LARGE));
    let pid = say(&lab, Some(&workload), "/large", &text);
    let received = r#"{"answer": "the answer to /large"}"#;
    let said = Said {
        method: "POST",
        path: "/large",
        sent: &text,
        status: 200,
        received,
    };
    assert_said(&all_records(&mut daemon), pid, &server, &said);
}

#[test]
fn a_call_that_is_longer_than_the_policy_takes_is_told() {
    let (lab, text) = (Lab::new(), words(100 << 10));
    let workload = lab.workload("agent");
    let _server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", SMALL));
    let pid = say(&lab, Some(&workload), "/large", &text);
    let records = all_records(&mut daemon);
    let said = said_by(&records, pid);
    let record = said.first().expect("a record");
    let why = record.at("api.incomplete").to_string();
    let lost = (100 << 10) - (32 << 10);
    assert!(why.contains(&format!("{lost} bytes")), "{record:#?}");
    let kept = record.text("api.http_request.body.text");
    assert_eq!(kept, &text[..kept.len()]);
    assert_eq!(kept.len(), 32 << 10, "{why}");
    assert_eq!(record.number("api.http_response.code"), 200, "{why}");
}

#[test]
fn a_write_that_is_tried_again_is_there_once() {
    let (lab, text) = (Lab::new(), words(600 << 10));
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", LARGE));
    let body = hoop_tests::tls::file(&lab, "body", &text);
    let mut client = Command::new(PYTHON);
    client
        .args(["-c", NON_BLOCKING, &server.port().to_string(), "/slow"])
        .arg(body);
    let pid = succeed(&lab, Some(&workload), &mut client);
    let received = r#"{"answer": "the answer to /slow"}"#;
    let said = Said {
        method: "POST",
        path: "/slow",
        sent: &text,
        status: 200,
        received,
    };
    assert_said(&all_records(&mut daemon), pid, &server, &said);
}

#[test]
fn nothing_is_read_of_who_is_not_in_a_workload() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    // The probes are at the library that both use.
    let inside = say(&lab, Some(&workload), "/inside", "by an agent");
    daemon.wait_for("what the agent said", |record| {
        record.pid() == inside && record.is("api")
    });
    let text = words(50_000);
    for number in 0..10 {
        say(&lab, None, &format!("/outside/{number}"), &text);
    }
    // A fence: what comes after it in the ring has been read.
    let inside = say(&lab, Some(&workload), "/inside", "by an agent");
    daemon.wait_for("what the agent said", |record| {
        record.pid() == inside && record.is("api")
    });
    // What both said, and what both were answered.
    let sent: usize = talk("/inside", "by an agent")
        .send
        .iter()
        .map(Vec::len)
        .sum();
    let answer = r#"{"answer": "the answer to /inside"}"#;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    let both = 2 * (sent + head.len() + answer.len()) as u64;
    wait::until("the counters", || {
        (bytes_read(&daemon) >= both).then_some(())
    });
    assert_eq!(bytes_read(&daemon), both);
    let records = all_records(&mut daemon);
    let outside = records
        .iter()
        .any(|record| record.0.to_string().contains("/outside/"));
    assert!(!outside, "an outsider is on record");
}

#[test]
fn who_is_not_in_a_workload_is_not_read_at_the_same_time_either() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (lab, workload) = (&lab, &workload);
            scope.spawn(move || {
                let talks: Vec<Talk> = (0..100)
                    .map(|turn| talk(&format!("/in/{number}/{turn}"), "by an agent"))
                    .collect();
                succeed(
                    lab,
                    Some(workload),
                    &mut talker(lab, &format!("in{number}"), &talks),
                );
            });
            scope.spawn(move || {
                let talks: Vec<Talk> = (0..100)
                    .map(|turn| talk(&format!("/out/{number}/{turn}"), "by nobody"))
                    .collect();
                succeed(lab, None, &mut talker(lab, &format!("out{number}"), &talks));
            });
        }
    });
    let records = all_records(&mut daemon);
    let said = |path: &str| {
        let records = records.iter().filter(|record| record.is("api"));
        let of =
            records.filter(|record| record.text("api.http_request.url.path").starts_with(path));
        of.count()
    };
    assert_eq!((said("/in/"), said("/out/")), (200, 0));
}

fn say(lab: &Lab, workload: Option<&hoop_tests::lab::Workload<'_>>, path: &str, text: &str) -> u32 {
    succeed(lab, workload, &mut talker(lab, "plan", &[talk(path, text)]))
}

/// Head and body, each by one call.
fn talk(path: &str, text: &str) -> Talk {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n",
        text.len()
    );
    Talk {
        send: vec![head.into_bytes(), text.as_bytes().to_vec()],
        until: "the answer".into(),
    }
}

/// Text of so many bytes in which every place is told from the others.
fn words(len: usize) -> String {
    let mut text = String::with_capacity(len + 16);
    let mut number = 0_u32;
    while text.len() < len {
        text += &format!("line {number} of it\n");
        number += 1;
    }
    text.truncate(len);
    text
}

fn bytes_read(daemon: &Daemon<'_>) -> u64 {
    let status = daemon.status();
    status["plaintext"]["read"]["bytes"]
        .as_u64()
        .expect("a number")
}
