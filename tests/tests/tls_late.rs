//! Who speaks TLS in a workload is covered or said not to be: however late a library comes, however short
//! the process lives, however many there are, and whichever library it is.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::process::Command;

use hoop_tests::daemon::Record;
use hoop_tests::lab::Lab;
use hoop_tests::tls::{
    CAPTURE, HttpsServer, PYTHON, Program, Said, all_records, assert_said, said_by, succeed,
};
use hoop_tests::wait;

const SENT: &str = "a late order of four blue lamps";

/// Loads OpenSSL by `dlopen` from a path of the caller's, late, and speaks by `SSL_write` and `SSL_read`.
const BY_DLOPEN: &str = r#"
import ctypes, os, socket, sys, time
_, libssl, port, go, path, body = sys.argv
open(go + ".started", "w").close()
while not os.path.exists(go):
    time.sleep(0.01)
lib = ctypes.CDLL(libssl)
for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
    getattr(lib, name).restype = ctypes.c_void_p
pointer = ctypes.c_void_p
context = lib.SSL_CTX_new(pointer(lib.TLS_client_method()))
ssl = pointer(lib.SSL_new(pointer(context)))
plain = socket.create_connection(("127.0.0.1", int(port)))
assert lib.SSL_set_fd(ssl, plain.fileno()) == 1
assert lib.SSL_connect(ssl) == 1
time.sleep(0.5)
head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
text = (head + f"Content-Length: {len(body)}\r\n\r\n" + body).encode()
assert lib.SSL_write(ssl, text, len(text)) == len(text)
room = ctypes.create_string_buffer(4096)
seen = b""
while b"the answer" not in seen:
    count = lib.SSL_read(ssl, room, 4096)
    assert count > 0
    seen += room.raw[:count]
lib.SSL_free(ssl)
"#;

/// Waits for a file, and then speaks by the OpenSSL that it has had from its beginning.
const WAITING: &str = r#"
import http.client, os, ssl, sys, time
_, host, go, path, body = sys.argv
context = ssl._create_unverified_context()
open(go + ".started", "w").close()
while not os.path.exists(go):
    time.sleep(0.01)
connection = http.client.HTTPSConnection(host, context=context)
connection.request("POST", path, body, {"Content-Type": "text/plain"})
assert b"the answer" in connection.getresponse().read()
connection.close()
"#;

/// Begins TLS by hand: a `ClientHello` (RFC 8446, 4.1.2), and reads what comes.
const BY_HAND: &str = r#"
import os, socket, struct, sys
def vector(bits, data):
    return struct.pack({8: ">B", 16: ">H"}[bits], len(data)) + data
def extension(kind, data):
    return struct.pack(">H", kind) + vector(16, data)
extensions = (extension(43, vector(8, b"\x03\x04")) + extension(10, vector(16, b"\x00\x1d"))
    + extension(13, vector(16, b"\x04\x03\x08\x04"))
    + extension(51, vector(16, b"\x00\x1d" + vector(16, os.urandom(32)))))
hello = (b"\x03\x03" + os.urandom(32) + vector(8, os.urandom(32)) + vector(16, b"\x13\x01")
    + vector(8, b"\x00") + vector(16, extensions))
message = b"\x01" + struct.pack(">I", len(hello))[1:] + hello
plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
plain.sendall(b"\x16\x03\x01" + vector(16, message))
assert plain.recv(5)[0] == 22, "the server answers with its hello"
"#;

#[test]
fn a_library_that_comes_late_from_a_path_of_its_own() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let copied = lab.directory().join("plugin.bin");
    let libssl = [
        "/usr/lib/x86_64-linux-gnu/libssl.so.3",
        "/usr/lib/aarch64-linux-gnu/libssl.so.3",
    ];
    let libssl = libssl.iter().find(|path| fs::exists(path).unwrap_or(false));
    fs::copy(libssl.expect("OpenSSL 3"), &copied).expect("copy a library");
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    let go = lab.directory().join("go");
    let mut client = Command::new(PYTHON);
    client
        .args(["-c", BY_DLOPEN])
        .arg(&copied)
        .arg(server.port().to_string())
        .arg(&go)
        .args(["/late", SENT]);
    let client = Program::start(&lab, Some(&workload), &mut client);
    wait::until("the client", || {
        go.with_extension("started").exists().then_some(())
    });
    fs::write(&go, "").expect("let it go on");
    let pid = client.succeeds();
    assert_late(&all_records(&mut daemon), pid, &server);
}

#[test]
fn a_process_that_was_there_before_the_daemon() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let go = lab.directory().join("go");
    let client = waiting(&lab, Some(&workload), &server, &go);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    wait_for_probes(&daemon);
    fs::write(&go, "").expect("let it go on");
    let pid = client.succeeds();
    assert_late(&all_records(&mut daemon), pid, &server);
}

#[test]
fn a_process_that_was_there_before_the_tag() {
    let lab = Lab::new();
    let workload = lab.workload("by-hand");
    let server = HttpsServer::start(&lab);
    let go = lab.directory().join("go");
    let client = waiting(&lab, Some(&workload), &server, &go);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    daemon.tag(&workload, "agent");
    wait_for_probes(&daemon);
    fs::write(&go, "").expect("let it go on");
    let pid = client.succeeds();
    assert_late(&all_records(&mut daemon), pid, &server);
}

#[test]
fn a_process_that_lives_for_some_milliseconds() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    let pids: Vec<u32> = (0..20)
        .map(|turn| {
            let mut curl = Command::new("/usr/bin/curl");
            succeed(
                &lab,
                Some(&workload),
                curl.args(["-sk", &server.url(&format!("/{turn}"))]),
            )
        })
        .collect();
    let records = all_records(&mut daemon);
    let mut read = 0;
    for pid in pids {
        let said = said_by(&records, pid).len();
        let uncovered = coverage_of(&records, pid).len();
        assert_eq!(
            said + uncovered,
            1,
            "{said} exchanges, {uncovered} coverage records of {pid}"
        );
        read += said;
    }
    // Those that came before the library had probes: the first ones, if any.
    assert!(read >= 15, "{read} of 20 were read");
}

#[test]
fn two_hundred_at_once() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    let mut running: Vec<Program> = (0..200)
        .map(|turn| {
            let mut curl = Command::new("/usr/bin/curl");
            curl.args(["-sk", "--retry", "0", &server.url(&format!("/{turn}"))]);
            Program::start(&lab, Some(&workload), &mut curl)
        })
        .collect();
    let mut pids = HashSet::new();
    for curl in &mut running {
        assert_eq!(curl.ended(), 0);
        pids.insert(curl.pid());
    }
    let heard = server.heard().len();
    assert_eq!(heard, 200);
    let records = all_records(&mut daemon);
    let mut told: HashMap<u32, usize> = HashMap::new();
    let (mut read, mut uncovered) = (0, 0);
    for record in &records {
        if record.is("api") || record.is("coverage") {
            *told.entry(record.pid()).or_default() += 1;
            read += usize::from(record.is("api"));
            uncovered += usize::from(record.is("coverage"));
        }
    }
    let silent: Vec<_> = pids
        .iter()
        .filter(|pid| told.get(pid) != Some(&1))
        .collect();
    assert!(
        silent.is_empty(),
        "{read} read, {uncovered} said to be uncovered; not told once: {silent:?}"
    );
}

#[test]
fn a_library_that_nobody_knows() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    let mut client = Command::new(PYTHON);
    client.args(["-c", BY_HAND, &server.port().to_string()]);
    let pid = succeed(&lab, Some(&workload), &mut client);
    let records = all_records(&mut daemon);
    let told = coverage_of(&records, pid);
    let [record] = told[..] else {
        panic!("{} coverage records: {told:#?}", told.len());
    };
    let reason = record.text("coverage.reason");
    assert!(
        reason.contains("no TLS library that is known"),
        "{record:#?}"
    );
    assert_eq!(
        record.number("coverage.dst_endpoint.port"),
        u64::from(server.port())
    );
    assert!(
        record.text("actor.process.file.path").contains("python3"),
        "{record:#?}"
    );
    assert_eq!(said_by(&records, pid).len(), 0);
}

fn waiting(
    lab: &Lab,
    workload: Option<&hoop_tests::lab::Workload<'_>>,
    server: &HttpsServer,
    go: &std::path::Path,
) -> Program {
    let host = server.url("").replace("https://", "");
    let mut client = Command::new(PYTHON);
    client
        .args(["-c", WAITING, &host])
        .arg(go)
        .args(["/late", SENT]);
    let client = Program::start(lab, workload, &mut client);
    wait::until("the client", || {
        go.with_extension("started").exists().then_some(())
    });
    client
}

fn wait_for_probes(daemon: &hoop_tests::daemon::Daemon<'_>) {
    wait::until("probes at OpenSSL", || {
        let said = daemon.diagnostics();
        let mut lines = said.lines();
        lines.find(|line| line.contains("plaintext is read") && line.contains("libssl"))?;
        Some(())
    });
}

#[track_caller]
fn assert_late(records: &[Record], pid: u32, server: &HttpsServer) {
    let received = r#"{"answer": "the answer to /late"}"#;
    let said = Said {
        method: "POST",
        path: "/late",
        sent: SENT,
        status: 200,
        received,
    };
    assert_said(records, pid, server, &said);
}

fn coverage_of(records: &[Record], pid: u32) -> Vec<&Record> {
    let of_it = records
        .iter()
        .filter(|record| record.is("coverage") && record.pid() == pid);
    of_it.collect()
}
