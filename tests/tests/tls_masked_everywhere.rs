//! Secrets through every library, both ways, however they are cut: nothing of any is in what the daemon wrote.

use std::path::Path;
use std::process::Command;

use hoop_tests::daemon::{self, Daemon, run, text};
use hoop_tests::lab::Lab;
use hoop_tests::tls::saying::{form_with, holds_nothing, json_with, message, post, text_with};
use hoop_tests::tls::secrets::Maker;
use hoop_tests::tls::{self, CAPTURE, HttpsServer, Talk, succeed, talker};
use hoop_tests::{long, wait};

/// How bodies are cut.
const CUTS: [usize; 6] = [1_000_000, 1, 7, 13, 64, 500];

/// Node and Bun.
const JAVASCRIPT: &str = r#"
const [port, plan] = process.argv.slice(-2);
const tls = require("tls"), talks = JSON.parse(require("fs").readFileSync(plan));
const next = () => {
  const talk = talks.shift();
  if (talk === undefined) process.exit(0);
  const socket = tls.connect({ host: "127.0.0.1", port: Number(port), rejectUnauthorized: false });
  let seen = "", done = false;
  const send = (pieces) => {
    if (pieces.length > 0) socket.write(Buffer.from(pieces[0], "latin1"), () => send(pieces.slice(1)));
  };
  socket.on("secureConnect", () => send(talk.send));
  socket.on("data", (data) => {
    seen += data.toString("latin1");
    if (!done && seen.includes(talk.until)) {
      done = true;
      socket.end();
    }
  });
  socket.on("error", () => {});
  socket.on("close", () => (done ? next() : process.exit(1)));
};
next();
"#;

const GO: &str = r#"package main

import (
	"crypto/tls"
	"encoding/json"
	"os"
	"strings"
)

type talk struct {
	Send  []string
	Until string
}

func latin1(text string) []byte {
	var bytes []byte
	for _, char := range text {
		bytes = append(bytes, byte(char))
	}
	return bytes
}

func main() {
	plan, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	var talks []talk
	if err := json.Unmarshal(plan, &talks); err != nil {
		panic(err)
	}
	for _, talk := range talks {
		connection, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[1], &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			panic(err)
		}
		for _, piece := range talk.Send {
			if _, err := connection.Write(latin1(piece)); err != nil {
				panic(err)
			}
		}
		seen, room := "", make([]byte, 65536)
		for !strings.Contains(seen, talk.Until) {
			count, err := connection.Read(room)
			if err != nil {
				panic(err)
			}
			seen += string(room[:count])
		}
		connection.Close()
	}
}
"#;

#[test]
fn by_openssl_in_python() {
    leaves_nothing(31, None, |lab, _, talks| vec![talker(lab, "plan", talks)]);
}

#[test]
fn by_openssl_in_node() {
    let Some(node) = tls::find("node") else {
        return;
    };
    by_javascript(32, &node, "/node");
}

#[test]
fn by_boringssl_in_bun() {
    let Some(bun) = tls::bun() else {
        return;
    };
    by_javascript(33, &bun, "/bun");
}

#[test]
fn by_gnutls_in_wget() {
    let Some(wget) = tls::find("wget") else {
        return;
    };
    leaves_nothing(34, None, |lab, server, talks| {
        let of_talk = |(number, talk): (usize, &Talk)| {
            let sent = talk.send.iter();
            let sent = sent.map(|piece| str::from_utf8(piece).expect("ASCII"));
            let (head, body): (Vec<_>, Vec<_>) = sent.enumerate().partition(|(at, _)| *at == 0);
            let chunked = head[0].1.contains("chunked");
            let body = body
                .into_iter()
                .map(|(_, piece)| match piece.split_once("\r\n") {
                    Some((_, rest)) if chunked => rest.strip_suffix("\r\n").unwrap_or(rest),
                    _ => piece,
                });
            let path = head[0].1.split(' ').nth(1).expect("a path");
            let body = tls::file(lab, &format!("body{number}"), &body.collect::<String>());
            let mut command = Command::new(&wget);
            command
                .args(["-q", "-O", "-", "--no-check-certificate", "--post-file"])
                .arg(body)
                .arg(server.url(path));
            command
        };
        talks.iter().enumerate().map(of_talk).collect()
    });
}

#[test]
fn by_go() {
    let Some(go) = tls::find("go") else {
        return;
    };
    leaves_nothing(35, Some("/client"), |lab, server, talks| {
        let source = tls::file(lab, "client.go", GO);
        let program = lab.directory().join("client");
        let mut build = Command::new(&go);
        build.arg("build").arg("-o").arg(&program).arg(source);
        let built = run(build.env("GO111MODULE", "off"));
        assert!(built.status.success(), "{}", text(&built));
        vec![with_plan(Command::new(program), lab, server, talks)]
    });
}

#[test]
fn by_rustls() {
    leaves_nothing(36, Some("/rustls-client"), |lab, server, talks| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rustls-client"));
        command.args([&format!("127.0.0.1:{}", server.port()), "--plan"]);
        command.arg(tls::plan(lab, "plan", talks));
        vec![command]
    });
}

fn by_javascript(seed: u64, program: &Path, name: &str) {
    leaves_nothing(seed, Some(name), |lab, server, talks| {
        let mut command = Command::new(program);
        command.arg(tls::file(lab, "client.cjs", JAVASCRIPT));
        vec![with_plan(command, lab, server, talks)]
    });
}

fn with_plan(mut command: Command, lab: &Lab, server: &HttpsServer, talks: &[Talk]) -> Command {
    command.arg(server.port().to_string());
    command.arg(tls::plan(lab, "plan", talks));
    command
}

/// Has secrets said by the commands that it makes, once the library in the file whose path contains `known` is known,
/// and looks for them.
#[track_caller]
fn leaves_nothing(
    seed: u64,
    known: Option<&str>,
    commands: impl Fn(&Lab, &HttpsServer, &[Talk]) -> Vec<Command>,
) {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    daemon::write_policy(&lab, &lab.policy("agent", CAPTURE));
    let mut daemon = Daemon::start_with(&lab, "trace");
    if let Some(file) = known {
        let nothing = [post("/first", "text/plain", b"nothing", 1000, false)];
        for mut command in commands(&lab, &server, &nothing) {
            succeed(&lab, Some(&workload), &mut command);
        }
        wait::until("probes at the program", || {
            let said = daemon.diagnostics();
            let mut lines = said.lines();
            lines.find(|line| line.contains("plaintext is read") && line.contains(file))?;
            Some(())
        });
    }
    let mut secrets = Maker::new(seed);
    let talks = talks(&mut secrets, &server);
    for mut command in commands(&lab, &server, &talks) {
        succeed(&lab, Some(&workload), &mut command);
    }
    let bodies = talks.len();
    wait::until("all that was said", || {
        let said = daemon.kept();
        let whole = said.iter().filter(|record| {
            record.text("api.http_request.url.path").starts_with("/of")
                && record.number("api.http_response.code") == 200
        });
        (whole.count() == bodies).then_some(())
    });
    holds_nothing(&lab, &mut daemon, &secrets);
}

/// Posts with secrets in them, which are answered with others.
fn talks(secrets: &mut Maker, server: &HttpsServer) -> Vec<Talk> {
    let rounds = long::either(CUTS.len(), 7 * CUTS.len());
    let of_round = |round: usize| {
        let cut = CUTS[round % CUTS.len()];
        let place = format!("round {round}, cut every {cut}");
        let (kind, body) = match round % 3 {
            0 => ("application/json", json_with(secrets, &place)),
            1 => ("text/plain", text_with(secrets, &place)),
            _ => (
                "application/x-www-form-urlencoded",
                form_with(secrets, &place),
            ),
        };
        let name = format!("of{round}");
        let answer = json_with(secrets, &format!("the answer to {place}"));
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
        let chunked = round % 2 == 1;
        let end = answer[answer.len() - 20..].to_owned();
        let answer = message(head, "application/json", answer.as_bytes(), cut, chunked);
        server.answer(&name, &answer);
        let mut talk = post(&format!("/{name}"), kind, body.as_bytes(), cut, chunked);
        talk.until = if chunked {
            "\r\n0\r\n\r\n".to_owned()
        } else {
            end
        };
        talk
    };
    (0..rounds).map(of_round).collect()
}
