//! Nothing that the daemon writes has a secret in it: not a record, not a line of its diagnostics at the
//! most talkative level, not an answer of its socket, whichever way the secret went.

use std::process::Command;

use hoop_tests::daemon::{self, Daemon};
use hoop_tests::lab::Lab;
use hoop_tests::tls::saying::{
    asking, events, form_with, get, holds_nothing, json_with, message, pieces, post, text_with,
};
use hoop_tests::tls::secrets::Maker;
use hoop_tests::tls::{CAPTURE, HttpsServer, Talk, succeed, talker};
use serde_json::json;

#[test]
fn in_heads() {
    let mut secrets = Maker::new(1);
    let mut talks = Vec::new();
    for secret in secrets.of_every_form("a header of its own") {
        talks.push(get("/plain", &format!("X-Note: {secret}\r\n")));
    }
    for name in [
        "Authorization: Bearer ",
        "Proxy-Authorization: Bearer ",
        "X-Api-Key: ",
        "Api-Key: ",
        "X-Goog-Api-Key: ",
        "X-Auth-Token: ",
        "Cookie: theme=dark; session=",
    ] {
        let random = secrets.random(name);
        talks.push(get("/plain", &format!("{name}{random}\r\n")));
    }
    for name in [
        "token",
        "api_key",
        "access_token",
        "password",
        "client_secret",
    ] {
        let random = secrets.random(&format!("the query's {name}"));
        talks.push(get(&format!("/plain?page=2&{name}={random}"), ""));
    }
    for secret in secrets.of_every_form("a query") {
        let secret = secret
            .replace('/', "%2F")
            .replace(':', "%3A")
            .replace('@', "%40");
        talks.push(get(&format!("/plain?q={secret}"), ""));
    }
    let session = secrets.random("a cookie that is set");
    let mut answers = vec![("set".to_owned(), vec![
        format!("HTTP/1.1 200 OK\r\nSet-Cookie: session={session}; HttpOnly\r\nContent-Length: 2\r\n\r\nok")
            .into_bytes(),
    ])];
    for (number, secret) in secrets
        .of_every_form("a header of an answer")
        .iter()
        .enumerate()
    {
        let head = format!("HTTP/1.1 200 OK\r\nX-Note: {secret}\r\nContent-Length: 2\r\n\r\nok");
        answers.push((format!("head{number}"), vec![head.into_bytes()]));
    }
    talks.extend(answers.iter().map(|(name, _)| asking(name, "ok")));
    leave_nothing(&secrets, &talks, &answers);
}

#[test]
fn in_bodies() {
    let mut secrets = Maker::new(2);
    let (mut talks, mut answers) = (Vec::new(), Vec::new());
    for round in 0..4 {
        // However a body is cut.
        let cut = [1_000_000, 7, 13, 1][round];
        let json = json_with(&mut secrets, &format!("JSON, cut every {cut}"));
        talks.push(post(
            "/json",
            "application/json",
            json.as_bytes(),
            cut,
            false,
        ));
        let json = json_with(&mut secrets, &format!("chunked JSON, cut every {cut}"));
        talks.push(post(
            "/json",
            "application/json",
            json.as_bytes(),
            cut,
            true,
        ));
        let text = text_with(&mut secrets, &format!("chunked text, cut every {cut}"));
        talks.push(post("/text", "text/plain", text.as_bytes(), cut, true));
        let form = form_with(&mut secrets, &format!("a form, cut every {cut}"));
        let kind = "application/x-www-form-urlencoded";
        talks.push(post("/form", kind, form.as_bytes(), cut, false));

        let json = json_with(&mut secrets, &format!("an answer in JSON, cut every {cut}"));
        answers.push((
            format!("json{round}"),
            message(
                "HTTP/1.1 200 OK\r\n",
                "application/json",
                json.as_bytes(),
                cut,
                false,
            ),
        ));
        let text = text_with(&mut secrets, &format!("an answer in text, cut every {cut}"));
        answers.push((
            format!("text{round}"),
            message(
                "HTTP/1.1 200 OK\r\n",
                "text/plain",
                text.as_bytes(),
                cut,
                true,
            ),
        ));
    }
    talks.extend(answers.iter().map(|(name, _)| {
        let until = if name.starts_with("text") {
            "\r\n0\r\n\r\n"
        } else {
            "the end."
        };
        asking(name, until)
    }));
    leave_nothing(&secrets, &talks, &answers);
}

#[test]
fn in_events_that_split_them() {
    let mut secrets = Maker::new(3);
    let mut answers: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    for size in [3, 9, 12] {
        for path in ["v1_chat_completions", "own_stream"] {
            let name = format!("of{size}_{path}");
            let text = secrets.of_every_form(&format!("OpenAI's deltas of {size} at {path}"));
            let text = text.join(" and ") + " the end.";
            let deltas = pieces(text.as_bytes(), size).into_iter().map(|delta| {
                let delta = String::from_utf8(delta).expect("ASCII");
                let data = json!({ "id": "c1", "object": "chat.completion.chunk", "model": "m-1",
                    "choices": [{ "index": 0, "delta": { "content": delta } }] });
                format!("data: {data}\n\n")
            });
            let done = ["data: [DONE]\n\n".to_owned()];
            answers.push((name, events(deltas.chain(done))));
        }
        let text = secrets.of_every_form(&format!("Anthropic's deltas of {size}"));
        let text = text.join(" and ") + " the end.";
        let deltas = pieces(text.as_bytes(), size).into_iter().map(|delta| {
            let delta = String::from_utf8(delta).expect("ASCII");
            let data = json!({ "type": "content_block_delta", "index": 0,
                "delta": { "type": "text_delta", "text": delta } });
            format!("event: content_block_delta\ndata: {data}\n\n")
        });
        let done = ["event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_owned()];
        answers.push((format!("of{size}_v1_messages"), events(deltas.chain(done))));
        let text = secrets.of_every_form(&format!("lines of {size} in events"));
        let text = text.join(" and ") + " the end.";
        let deltas = pieces(text.as_bytes(), size).into_iter().map(|delta| {
            let delta = String::from_utf8(delta).expect("ASCII");
            format!("data: {delta}\n\n")
        });
        answers.push((format!("of{size}_own_lines"), events(deltas)));
    }
    let body = br#"{"model":"m-1","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let talks: Vec<Talk> = answers
        .iter()
        .map(|(name, _)| {
            let path = format!("/{}", name.replace('_', "/"));
            let mut talk = post(&path, "application/json", body, 1_000_000, false);
            talk.until = "\r\n0\r\n\r\n".into();
            talk
        })
        .collect();
    leave_nothing(&secrets, &talks, &answers);
}

#[test]
fn in_websocket_messages_and_unknown_protocols() {
    let mut secrets = Maker::new(4);
    let mut talks = Vec::new();
    let mut send = vec![
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .to_vec(),
    ];
    for secret in secrets.of_every_form("a WebSocket message of the client") {
        let text = format!("{{\"say\": \"{secret}\"}}");
        // Masked by a key of zeros, which changes nothing (RFC 6455, 5.3).
        let frame = [
            &[0x81, 0x80 | 126],
            &(text.len() as u16).to_be_bytes()[..],
            &[0; 4],
        ];
        send.push([&frame.concat(), text.as_bytes()].concat());
    }
    talks.push(Talk {
        send,
        until: "the end.".into(),
    });
    let mut answer = vec![
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            .to_vec(),
    ];
    let mut texts = secrets.of_every_form("a WebSocket message of the server");
    texts.push("the end.".into());
    for text in texts {
        answer.push(text_frame(&text));
    }
    for secret in secrets.of_every_form("a protocol that nobody knows") {
        let line = format!("HELLO I am\r\nNOTE {secret}\r\nBYE\r\n");
        talks.push(Talk {
            send: vec![line.into_bytes()],
            until: String::new(),
        });
    }
    leave_nothing(&secrets, &talks, &[("ws".to_owned(), answer)]);
}

#[test]
fn in_websocket_messages_of_a_model() {
    let mut secrets = Maker::new(6);
    let mut talks = Vec::new();
    let mut answers = Vec::new();
    for (size, done) in [(3, true), (9, true), (12, true), (9, false)] {
        let open = format!(
            "GET /of{size}{done}/v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        talks.push(Talk {
            send: vec![open.into_bytes()],
            until: "the end.".into(),
        });
        let text = secrets.of_every_form(&format!("a model's messages of {size}"));
        let mut text = text.join(" and ");
        if !done {
            // The connection ends within the last of them.
            text.truncate(text.len() - 6);
        }
        let delta = |delta: Vec<u8>| {
            let delta = String::from_utf8(delta).expect("ASCII");
            json!({ "type": "response.output_text.delta", "item_id": "i", "output_index": 0,
                "content_index": 0, "delta": delta })
        };
        let ended = json!({ "type": "response.done", "response": { "id": "r", "status": "completed", "output": [] } });
        let messages = pieces(text.as_bytes(), size).into_iter().map(delta);
        let mut answer = vec![
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                .to_vec(),
        ];
        for message in messages.chain(done.then_some(ended)) {
            answer.push(text_frame(&message.to_string()));
        }
        answer.push(text_frame("the end."));
        answers.push((format!("of{size}{done}_v1_realtime"), answer));
    }
    leave_nothing(&secrets, &talks, &answers);
}

#[test]
fn in_command_lines() {
    let mut secrets = Maker::new(5);
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    daemon::write_policy(&lab, &lab.policy("agent", CAPTURE));
    let mut daemon = Daemon::start_with(&lab, "trace");
    let curl = |arguments: &[String]| {
        let mut curl = Command::new("/usr/bin/curl");
        succeed(&lab, Some(&workload), curl.arg("-sk").args(arguments));
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let url = server.url("/plain");
    for secret in secrets.of_every_form("an argument") {
        curl(&words(&["-H", &format!("X-Note: {secret}"), &url]));
        curl(&words(&["-d", &secret, &url]));
    }
    let random = secrets.random("curl -H Authorization");
    curl(&words(&[
        "-H",
        &format!("Authorization: Bearer {random}"),
        &url,
    ]));
    let random = secrets.random("curl --oauth2-bearer");
    curl(&words(&["--oauth2-bearer", &random, &url]));
    let random = secrets.random("curl -u");
    curl(&words(&["-u", &format!("alice:{random}"), &url]));
    let random = secrets.random("curl -b");
    curl(&words(&["-b", &format!("session={random}"), &url]));
    let random = secrets.random("a URL's password");
    let with_user = url.replace("https://", &format!("https://alice:{random}@"));
    curl(&words(&[&with_user]));
    let random = secrets.random("a query in a command line");
    curl(&words(&[&format!("{url}?access_token={random}")]));
    let pem = secrets.pem("an argument");
    curl(&words(&["-d", &pem, &url]));
    holds_nothing(&lab, &mut daemon, &secrets);
}

/// Says all of it in a workload, and looks for the secrets in everything that the daemon wrote.
#[track_caller]
fn leave_nothing(secrets: &Maker, talks: &[Talk], answers: &[(String, Vec<Vec<u8>>)]) {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    for (name, pieces) in answers {
        server.answer(name, pieces);
    }
    daemon::write_policy(&lab, &lab.policy("agent", CAPTURE));
    let mut daemon = Daemon::start_with(&lab, "trace");
    succeed(&lab, Some(&workload), &mut talker(&lab, "plan.json", talks));
    holds_nothing(&lab, &mut daemon, secrets);
}

/// A WebSocket message in one frame, as a server sends it (RFC 6455, 5.2).
fn text_frame(text: &str) -> Vec<u8> {
    let head = [&[0x81, 126], &(text.len() as u16).to_be_bytes()[..]].concat();
    [&head, text.as_bytes()].concat()
}
