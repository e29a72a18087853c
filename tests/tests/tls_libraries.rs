//! What programs say over TLS is on record, whichever library they use: once, whole, and joined to
//! its socket.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hoop_tests::daemon::{Record, run, text};
use hoop_tests::lab::Lab;
use hoop_tests::tls::{
    self, CAPTURE, HttpsServer, PYTHON, Program, Said, all_records, assert_said, succeed,
};
use hoop_tests::wait;

const SENT: &str = r#"{"order":"four blue lamps for the library"}"#;

const PYTHON_SYNC: &str = r#"
import http.client, ssl, sys
_, host, path, body = sys.argv
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection(host, context=context)
connection.request("POST", path, body, {"Content-Type": "application/json"})
assert b"the answer" in connection.getresponse().read()
"#;

const PYTHON_ASYNC: &str = r#"
import asyncio, ssl, sys
_, host, path, body = sys.argv
async def main():
    context = ssl._create_unverified_context()
    name, port = host.split(":")
    reader, writer = await asyncio.open_connection(name, int(port), ssl=context)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
    writer.write(body.encode())
    await writer.drain()
    assert b"the answer" in await reader.read()
    writer.close()
    await writer.wait_closed()
asyncio.run(main())
"#;

const PYTHON_OPENSSL_1_1: &str = r#"
import ctypes, glob, socket, sys
_, directory, host, path, body = sys.argv
load = lambda name: ctypes.CDLL(glob.glob(f"{directory}/*/{name}-*.so.1.1")[0], ctypes.RTLD_GLOBAL)
crypto, ssl = load("libcrypto"), load("libssl")
for function in ["TLS_client_method", "SSL_CTX_new", "SSL_new"]:
    getattr(ssl, function).restype = ctypes.c_void_p
pointer = ctypes.c_void_p
tls = pointer(ssl.SSL_new(pointer(ssl.SSL_CTX_new(pointer(ssl.TLS_client_method())))))
name, port = host.split(":")
connection = socket.create_connection((name, int(port)))
assert ssl.SSL_set_fd(tls, connection.fileno()) == 1
assert ssl.SSL_connect(tls) == 1
head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
assert ssl.SSL_write(tls, request, len(request)) == len(request)
seen, room = b"", ctypes.create_string_buffer(4096)
while b"the answer" not in seen:
    count = ssl.SSL_read(tls, room, len(room))
    assert count > 0, seen
    seen += room.raw[:count]
ssl.SSL_free(tls)
"#;

/// An HTTP/2 server that answers with gzip, and says its port.
const HTTP2_SERVER: &str = r#"
const [certificate] = process.argv.slice(-1);
const pem = require("fs").readFileSync(certificate), zlib = require("zlib");
const server = require("http2").createSecureServer({ key: pem, cert: pem });
server.on("stream", (stream, headers) => {
  const parts = [];
  stream.on("data", (data) => parts.push(data));
  stream.on("end", () => {
    const answer = JSON.stringify({ answer: `the answer to ${headers[":path"]}` });
    stream.respond({ ":status": 200, "content-type": "application/json", "content-encoding": "gzip" });
    stream.end(zlib.gzipSync(answer));
  });
});
server.listen(8443 + 1, "127.0.0.1", () => console.log("ready"));
"#;

const NODE: &str = r#"
const [url, body] = process.argv.slice(-2);
const options = { method: "POST", rejectUnauthorized: false,
  headers: { "Content-Type": "application/json", "Content-Length": body.length } };
const request = require("https").request(url, options, (response) => {
  let text = "";
  response.on("data", (data) => (text += data));
  response.on("end", () => process.exit(text.includes("the answer") ? 0 : 1));
});
request.end(body);
"#;

const BUN: &str = r#"
const [url, body] = process.argv.slice(-2);
const response = await fetch(url, { method: "POST", body, tls: { rejectUnauthorized: false },
  headers: { "Content-Type": "application/json" } });
const text = await response.text();
process.exit(text.includes("the answer") ? 0 : 1);
"#;

const GO: &str = r#"package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := &http.Client{Transport: transport}
	response, err := client.Post(os.Args[1], "application/json", strings.NewReader(os.Args[2]))
	if err != nil {
		panic(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(body), "the answer") {
		panic("no answer")
	}
}
"#;

#[test]
fn curl_by_openssl() {
    is_read("/of/curl", |_, url| curl(url));
}

#[test]
fn a_library_in_another_root() {
    is_read_once_known("/of/chroot", "/root/", |lab, url| {
        let root = lab.directory().join("root");
        copy_with_libraries(Path::new("/usr/bin/curl"), &root);
        let mut chroot = Command::new("/usr/sbin/chroot");
        let curl = curl(url);
        chroot.arg(&root).arg("/usr/bin/curl").args(curl.get_args());
        chroot
    });
}

#[test]
fn python_by_sockets() {
    is_read("/of/python", |_, url| python(PYTHON_SYNC, url));
}

#[test]
fn python_by_memory() {
    is_read("/of/asyncio", |_, url| python(PYTHON_ASYNC, url));
}

#[test]
fn python_by_openssl_1_1() {
    let Some(libraries) = tls::program("openssl-1.1") else {
        return;
    };
    is_read_once_known("/of/openssl/1.1", "/libssl-", |_, url| {
        let rest = url.strip_prefix("https://").expect("a URL");
        let (host, path) = rest.split_once('/').expect("a path");
        let mut command = Command::new(PYTHON);
        command.args(["-c", PYTHON_OPENSSL_1_1]).arg(libraries);
        command.args([host, &format!("/{path}"), SENT]);
        command
    });
}

#[test]
fn http2_with_gzip() {
    let Some(node) = tls::find("node") else {
        return;
    };
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let script = tls::file(&lab, "server.js", HTTP2_SERVER);
    let mut http2 = Command::new(node);
    http2.arg(script).arg(server.certificate());
    let http2 = Program::start(&lab, None, &mut http2);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    let url = format!("https://127.0.0.1:{}/of/http2", server.port() + 1);
    let mut curl = curl(&url);
    curl.args(["--http2", "--compressed", "--retry-connrefused"])
        .args(["--retry", "20", "--fail"]);
    let pid = succeed(&lab, Some(&workload), &mut curl);
    drop(http2);
    let records = all_records(&mut daemon);
    let [record] = tls::said_by(&records, pid)[..] else {
        panic!("{records:#?}");
    };
    let text = |path: &str| record.text(path);
    assert_eq!(text("api.protocol"), "h2", "{record:#?}");
    assert_eq!(text("api.http_request.url.path"), "/of/http2");
    assert_eq!(text("api.http_request.body.text"), SENT);
    assert_eq!(record.number("api.http_response.code"), 200);
    let received = r#"{"answer":"the answer to /of/http2"}"#;
    assert_eq!(text("api.http_response.body.text"), received);
    assert!(record.at("api.incomplete").is_null(), "{record:#?}");
}

#[test]
fn node_by_the_openssl_inside_it() {
    let Some(node) = tls::find("node") else {
        return;
    };
    is_read_once_known("/of/node", "/node", |lab, url| {
        let mut command = Command::new(node);
        command
            .arg(tls::file(lab, "client.js", NODE))
            .args([url, SENT]);
        command
    });
}

#[test]
fn wget_by_gnutls() {
    let Some(wget) = tls::find("wget") else {
        return;
    };
    is_read("/of/wget", |_, url| {
        let mut command = Command::new(wget);
        command
            .args(["-q", "-O", "-", "--no-check-certificate"])
            .args(["--header=Content-Type: application/json"])
            .args([&format!("--post-data={SENT}"), url]);
        command
    });
}

#[test]
fn go_by_crypto_tls() {
    is_read_of_go("/of/go", &[]);
}

#[test]
fn go_by_crypto_tls_without_symbols() {
    is_read_of_go("/of/go/stripped", &["-ldflags", "-s -w"]);
}

#[test]
fn bun_by_boringssl() {
    let Some(bun) = tls::bun() else {
        return;
    };
    is_read_once_known("/of/bun", "/bun", |lab, url| {
        let mut command = Command::new(bun);
        command
            .arg("run")
            .arg(tls::file(lab, "client.mjs", BUN))
            .args([url, SENT]);
        command
    });
}

#[test]
fn a_rust_program_by_rustls() {
    is_read_once_known("/of/rustls", "/rustls-client", |_, url| {
        let rest = url.strip_prefix("https://").expect("a URL");
        let (host, path) = rest.split_once('/').expect("a path");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rustls-client"));
        command.args([host, &format!("/{path}"), SENT]);
        command
    });
}

/// Runs what `command` makes of a URL in a workload, and holds the records to what it said.
#[track_caller]
fn is_read(path: &str, command: impl FnOnce(&Lab, &str) -> Command) {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let mut command = command(&lab, &server.url(path));
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    let pid = succeed(&lab, Some(&workload), &mut command);
    assert_eq!(server.heard().len(), 1);
    assert_one(&all_records(&mut daemon), pid, &server, path);
}

/// The same of a program that brings its library along, in a file whose path contains `file`. Its first run,
/// by which the daemon gets to know it, may be over before it has probes; then that is said.
#[track_caller]
fn is_read_once_known(path: &str, file: &str, command: impl FnOnce(&Lab, &str) -> Command) {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let mut command = command(&lab, &server.url(path));
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    let first = succeed(&lab, Some(&workload), &mut command);
    wait::until("probes at the program", || {
        let said = daemon.diagnostics();
        let mut lines = said.lines();
        lines.find(|line| line.contains("plaintext is read") && line.contains(file))?;
        Some(())
    });
    let second = succeed(&lab, Some(&workload), &mut command);
    assert_eq!(server.heard().len(), 2);
    let records = all_records(&mut daemon);
    let told = records
        .iter()
        .filter(|record| record.pid() == first)
        .any(|record| record.is("api") || record.is("coverage"));
    assert!(told, "nothing is said of the first run: {records:#?}");
    assert_one(&records, second, &server, path);
}

#[track_caller]
fn assert_one(records: &[Record], pid: u32, server: &HttpsServer, path: &str) {
    let received = format!(r#"{{"answer": "the answer to {path}"}}"#);
    let said = Said {
        method: "POST",
        path,
        sent: SENT,
        status: 200,
        received: &received,
    };
    assert_said(records, pid, server, &said);
}

#[track_caller]
fn is_read_of_go(path: &str, flags: &[&str]) {
    let Some(go) = tls::find("go") else {
        return;
    };
    is_read_once_known(path, "/client", |lab, url| {
        let source = tls::file(lab, "client.go", GO);
        let program = lab.directory().join("client");
        let mut build = Command::new(go);
        build.arg("build").args(flags).arg("-o").arg(&program);
        let built = run(build.arg(source).env("GO111MODULE", "off"));
        assert!(built.status.success(), "{}", text(&built));
        let mut command = Command::new(program);
        command.args([url, SENT]);
        command
    });
}

fn curl(url: &str) -> Command {
    let mut command = Command::new("/usr/bin/curl");
    command
        .args(["-sk", "-H", "Content-Type: application/json"])
        .args(["-d", SENT, url]);
    command
}

fn python(script: &str, url: &str) -> Command {
    let rest = url.strip_prefix("https://").expect("a URL");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut command = Command::new(PYTHON);
    command.args(["-c", script, host, &format!("/{path}"), SENT]);
    command
}

/// Copies a program and every library that it needs, to the same paths below `root`.
fn copy_with_libraries(program: &Path, root: &Path) {
    let needed = run(Command::new("ldd").arg(program));
    let needed = String::from_utf8_lossy(&needed.stdout).into_owned();
    let words = needed.split_whitespace();
    let libraries = words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from);
    for file in libraries.chain([program.to_owned()]) {
        let copy = root.join(file.strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(copy.parent().expect("a directory")).expect("mkdir");
        fs::copy(&file, &copy).expect("copy a library");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
}
