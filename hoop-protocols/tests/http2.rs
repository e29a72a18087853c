//! HTTP/2, as a real implementation speaks it, and as an attacker does.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use common::{Act, Received, Sent, lines, lines_of_every_cut, run, run_from, say};
use hoop_protocols::Limits;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// The client's end of a connection, that writes down what goes through.
struct Tap {
    inner: DuplexStream,
    acts: Arc<Mutex<Vec<Act>>>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.acts
            .lock()
            .unwrap()
            .push(say(Received, &buffer.filled()[before..]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        self.acts.lock().unwrap().push(say(Sent, &bytes[..written]));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// What a client and a server of the h2 crate say: a few exchanges at a time, each with its own
/// path and body, and trailers on the responses.
fn conversation(exchanges: usize, size: usize) -> Vec<Act> {
    let acts = Arc::new(Mutex::new(Vec::new()));
    let (client, server) = tokio::io::duplex(1 << 16);
    let tap = Tap {
        inner: client,
        acts: acts.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        tokio::task::spawn_local(serve(server, size));
        let (mut client, connection) = h2::client::handshake(tap).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut exchange = Vec::new();
        for number in 0..exchanges {
            let request = Request::post(format!("https://api.example/v1/{number}"))
                .header("authorization", "Bearer xyz")
                .header("x-number", number.to_string())
                .body(())
                .unwrap();
            client = client.ready().await.unwrap();
            let (response, mut body) = client.send_request(request, false).unwrap();
            body.send_data(Bytes::from(format!("question {number}")), true)
                .unwrap();
            exchange.push(response);
        }
        for response in exchange {
            let mut body = response.await.unwrap().into_body();
            while let Some(data) = body.data().await {
                body.flow_control()
                    .release_capacity(data.unwrap().len())
                    .unwrap();
            }
            body.trailers().await.unwrap();
        }
    });
    drop((local, runtime));
    Arc::try_unwrap(acts).unwrap().into_inner().unwrap()
}

async fn serve(stream: DuplexStream, size: usize) {
    let mut server = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = server.accept().await {
        tokio::task::spawn_local(async move {
            let mut body = request.into_body();
            let mut question = Vec::new();
            while let Some(data) = body.data().await {
                question.extend_from_slice(&data.unwrap());
            }
            let response = Response::builder().header("x-model", "m").body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            question.resize(size, b'.');
            stream.send_data(question.into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        });
    }
}

#[test]
fn reads_what_a_real_client_and_server_say() {
    let acts = conversation(3, 40);
    let lines = lines_of_every_cut(&acts, Limits::default());
    assert_eq!(lines[0], "protocol Http2 Some(Client)");
    for number in 0..3u64 {
        let stream = 1 + 2 * number;
        let question = format!("question {number}");
        for expected in [
            format!(
                "request {stream} Sent Http2 POST|https|api.example|/v1/{number} \
                 [(\"authorization\", \"Bearer xyz\"), (\"x-number\", \"{number}\")]"
            ),
            format!("request body {stream}: {question}"),
            format!("request end {stream} Complete 10"),
            format!("response {stream} Received Http2 Some(200) [(\"x-model\", \"m\")]"),
            format!("response body {stream}: {question:.<40}"),
            format!("response trailers {stream} [(\"grpc-status\", \"0\")]"),
            format!("response end {stream} Complete 40"),
        ] {
            assert_eq!(
                lines.iter().filter(|line| **line == expected).count(),
                1,
                "{expected}\n{lines:#?}"
            );
        }
    }
    assert!(
        !lines.iter().any(|line| line.starts_with("unreadable")),
        "{lines:#?}"
    );
}

#[test]
fn joins_a_real_connection_at_any_byte() {
    let acts = conversation(12, 300);
    let whole = lines(&acts);
    let sent: usize = acts.iter().map(|act| size(act, Sent)).sum();
    for start in (1..sent / 2).step_by(7) {
        // The server's side from its middle too.
        let late = cut_start(&acts, start, start * 20);
        let (log, _) = run_from(
            &late,
            &[usize::MAX],
            Limits::default(),
            [start as u64, 1000],
        );
        // What is told is what was said, or less, never something else.
        let mut found = 0;
        for line in &log.lines {
            let known = line.starts_with("request") || line.starts_with("response");
            if !known || line.contains("(unknown)") || line.contains("None") {
                continue;
            }
            assert!(whole.contains(line), "{start}: {line}\n{:#?}", log.lines);
            found += 1;
        }
        assert!(found > 10, "{start}: {:#?}", log.lines);
    }
}

#[test]
fn goes_on_behind_a_gap_anywhere() {
    let acts = conversation(12, 300);
    let whole = lines(&acts);
    let received: usize = acts.iter().map(|act| size(act, Received)).sum();
    for start in (30..received / 2).step_by(11) {
        let lossy = lose(&acts, start, 50);
        let (log, tallies) = run(&lossy, &[usize::MAX], Limits::default());
        assert_eq!(tallies[1].lost, 50);
        let mut found = 0;
        for line in log.lines.iter().filter(|line| line.starts_with("response")) {
            if line.contains("(unknown)") || line.contains("None") || line.contains("cut Lost") {
                continue;
            }
            if line.starts_with("response body") && !whole.contains(line) {
                // A part of one that is said to be cut.
                let stream = line.split([' ', ':']).nth(2).unwrap();
                let end = format!("response end {stream} ");
                let end = log
                    .lines
                    .iter()
                    .find(|line| line.starts_with(&end))
                    .unwrap();
                assert!(
                    end.contains("cut Lost"),
                    "{start}: {line}\n{:#?}",
                    log.lines
                );
                continue;
            }
            assert!(whole.contains(line), "{start}: {line}\n{:#?}", log.lines);
            found += 1;
        }
        assert!(found > 12, "{start}: {:#?}", log.lines);
    }
}

fn size(act: &Act, of: hoop_protocols::Direction) -> usize {
    match act {
        Act::Say(direction, bytes) if *direction == of => bytes.len(),
        _ => 0,
    }
}

/// What is left if so many bytes of each direction were not captured.
fn cut_start(acts: &[Act], sent: usize, received: usize) -> Vec<Act> {
    let mut skip = [sent, received];
    let mut left = Vec::new();
    for act in acts {
        let Act::Say(direction, bytes) = act else {
            continue;
        };
        let skip = &mut skip[usize::from(*direction == Received)];
        let cut = (*skip).min(bytes.len());
        *skip -= cut;
        if cut < bytes.len() {
            left.push(say(*direction, &bytes[cut..]));
        }
    }
    left
}

/// Loses bytes that are received.
fn lose(acts: &[Act], start: usize, length: usize) -> Vec<Act> {
    let mut at = 0;
    let mut left = Vec::new();
    for act in acts {
        let Act::Say(Received, bytes) = act else {
            left.push(act.clone());
            continue;
        };
        let begin = start.saturating_sub(at).min(bytes.len());
        let end = (start + length).saturating_sub(at).min(bytes.len());
        at += bytes.len();
        left.push(say(Received, &bytes[..begin]));
        left.push(Act::Lose(Received, (end - begin) as u64));
        left.push(say(Received, &bytes[end..]));
    }
    left
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn client(frames: &[Vec<u8>]) -> Act {
    say(
        Sent,
        [PREFACE, &frame(4, 0, 0, ""), &frames.concat()].concat(),
    )
}

fn server(frames: &[Vec<u8>]) -> Act {
    say(Received, [frame(4, 0, 0, ""), frames.concat()].concat())
}

#[test]
fn takes_padding_priority_and_continuation_off() {
    let acts = [
        client(&[
            frame(1, 0x28, 1, b"\x03\x80\0\0\0\x10\x83\x87\0\0\0"),
            frame(9, 0, 1, b"\x84\x41\x01a\x40\x01"),
            frame(9, 4, 1, b"x\x01y"),
            frame(0, 8, 1, b"\x02body\0\0"),
            frame(0, 9, 1, b"\x01!\0"),
        ]),
        server(&[
            frame(1, 4, 1, b"\x08\x03103"),
            frame(0xfa, 0xff, 1, b"a type that is not known"),
            frame(1, 5, 1, b"\x89"),
            frame(7, 0, 0, b"\0\0\0\x01\0\0\0\x02bye"),
        ]),
    ];
    assert_eq!(
        lines_of_every_cut(&acts, Limits::default())[1..],
        [
            r#"request 1 Sent Http2 POST|https|a|/ [("x", "y")]"#,
            "request body 1: body!",
            "request end 1 Complete 5",
            "interim 1 Received Some(103) []",
            "response 1 Received Http2 Some(204) []",
            "response end 1 Complete 0",
            "GoAway { direction: Received, last_stream: 1, code: 2 }",
        ]
    );
}

#[test]
fn tells_resets_promises_and_what_has_no_head() {
    let acts = [
        client(&[
            frame(1, 5, 1, b"\x82\x86\x84\x41\x01a"),
            frame(1, 4, 3, b"\x83\x86\x84\x41\x01a"),
            frame(0, 0, 9, b"of nothing"),
            frame(3, 0, 3, b"\0\0\0\x08"),
        ]),
        server(&[
            frame(5, 4, 1, b"\0\0\0\x02\x82\x86\x84\x41\x01a"),
            frame(1, 5, 2, b"\x88"),
            frame(1, 4, 1, b"\x88"),
        ]),
    ];
    assert_eq!(
        lines_of_every_cut(&acts, Limits::default())[1..],
        [
            "request 1 Sent Http2 GET|http|a|/ []",
            "request end 1 Complete 0",
            "request 3 Sent Http2 POST|http|a|/ []",
            "unreadable Sent in 9 NoHead: 10",
            "request end 3 Reset(8) 0",
            "request 2 Received Http2 GET|http|a|/ []",
            "request end 2 Complete 0",
            "response 2 Received Http2 Some(200) []",
            "response end 2 Complete 0",
            "response 1 Received Http2 Some(200) []",
            "response end 1 Closed 0",
        ]
    );
}

#[test]
fn entries_from_before_the_capture_are_unknown() {
    // The last frame of a request that was not seen, then one that refers to what was sent before it:
    // 62 is new, 63 was there before.
    let acts = [say(
        Sent,
        [
            frame(8, 0, 0, b"\0\0\x10\0"),
            frame(1, 5, 7, b"\x82\x87\x84\xbe\x40\x01a\x01b\xbe\xbf"),
            frame(0, 1, 5, b"rest"),
        ]
        .concat(),
    )];
    for cuts in [&[usize::MAX][..], &[1], &[10]] {
        let (log, _) = run_from(&acts, cuts, Limits::default(), [5000, 5000]);
        assert_eq!(
            log.lines,
            [
                "protocol Http2 None",
                r#"request 7 Sent Http2 GET|https||/ [("(unknown)", "(unknown)"), ("a", "b"), ("a", "b"), ("(unknown)", "(unknown)")]"#,
                "request end 7 Complete 0",
                "unreadable Sent in 5 NoHead: 4",
            ],
            "{cuts:?}"
        );
    }
}

#[test]
fn a_header_bomb_meets_the_limit() {
    // One field of 4 KiB, named a thousand times: RFC 7541 section 7.3.
    let mut block = b"\x82\x86\x84\x41\x01a\x40\x01x\x7f\xa1\x1e".to_vec();
    block.extend([b'y'; 4000]);
    block.extend([0xbe; 10_000]);
    let acts = [client(&[
        frame(1, 5, 1, &block),
        frame(1, 5, 3, b"\x82\x86\x84\xbe"),
    ])];
    let mut largest = 0;
    let mut connection = hoop_protocols::Connection::new(Limits::default());
    let Act::Say(_, bytes) = &acts[0] else { return };
    connection.push(Sent, 0, bytes, &mut |event| {
        if let hoop_protocols::Event::Request { head, .. } = event {
            let text: usize = head
                .headers
                .iter()
                .map(|it| it.name.unwrap().len() + it.value.unwrap().len())
                .sum();
            largest = largest.max(text);
            assert!(head.headers.omitted() > 9000 || head.headers.len() == 1);
        }
    });
    assert!(largest > 200_000 && largest <= 256 << 10, "{largest}");
}

#[test]
fn a_flood_of_continuation_meets_the_limit() {
    let mut frames = vec![frame(1, 0, 1, b"\x82\x86")];
    frames.extend((0..100).map(|_| frame(9, 0, 1, [0; 1000])));
    frames.push(frame(9, 4, 1, b""));
    frames.push(frame(1, 5, 3, b"\x82\x86\x84\xbe"));
    let limits = Limits {
        head: 10_000,
        ..Limits::default()
    };
    assert_eq!(
        lines_of_every_cut(&[client(&frames)], limits)[1..],
        [
            "unreadable Sent in 1 HeadTooLong: 100002",
            // And what it did to the table is not known.
            r#"request 3 Sent Http2 GET|http||/ [("(unknown)", "(unknown)")]"#,
            "request end 3 Complete 0",
        ]
    );
}

#[test]
fn the_oldest_stream_makes_room() {
    let limits = Limits {
        streams: 2,
        ..Limits::default()
    };
    let head = |stream| frame(1, 4, stream, b"\x83\x86\x84");
    let acts = [client(&[
        head(1),
        head(3),
        head(5),
        frame(0, 1, 1, "x"),
        frame(0, 1, 3, "y"),
    ])];
    assert_eq!(
        lines_of_every_cut(&acts, limits)[3..],
        [
            "request 5 Sent Http2 POST|http||/ []",
            "request end 1 Evicted 0",
            "unreadable Sent in 1 NoHead: 1",
            "request body 3: y",
            "request end 3 Complete 1",
            "request end 5 Closed 0",
        ]
    );
}
