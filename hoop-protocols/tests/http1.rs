//! HTTP/1.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::Write as _;

use common::{Act, Received, Sent, lines_of_every_cut, run, run_from, say};
use hoop_protocols::Limits;

fn told(acts: &[Act]) -> Vec<String> {
    lines_of_every_cut(acts, Limits::default())
}

#[test]
fn reads_a_request_and_its_response() {
    let acts = [
        say(
            Sent,
            "POST /v1/messages HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n\r\nhello",
        ),
        say(
            Received,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nbye",
        ),
    ];
    assert_eq!(
        told(&acts),
        [
            "protocol Http1 Some(Client)",
            r#"request 0 Sent Http11 POST||api.example|/v1/messages [("Host", "api.example"), ("Content-Length", "5")]"#,
            "request body 0: hello",
            "request end 0 Complete 5",
            r#"response 0 Received Http11 Some(200) [("Content-Type", "text/plain"), ("Content-Length", "3")]"#,
            "response body 0: bye",
            "response end 0 Complete 3",
        ]
    );
}

#[test]
fn a_server_receives_requests() {
    let acts = [say(Received, "GET http://a.example/x?y HTTP/1.0\n\n")];
    assert_eq!(
        told(&acts),
        [
            "protocol Http1 Some(Server)",
            "request 0 Received Http10 GET|http|a.example|/x?y []",
            "request end 0 Complete 0",
        ]
    );
}

#[test]
fn pairs_pipelined_requests_and_knows_what_has_no_body() {
    let acts = [
        say(
            Sent,
            "HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n\r\nPOST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        say(
            Sent,
            "5;x=y\r\nhello\r\nA\r\n, and more\r\n0\r\nDigest: 1\r\n\r\n",
        ),
        say(
            Received,
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
        ),
        say(Received, "HTTP/1.1 200 OK\r\n\r\nuntil the end"),
    ];
    assert_eq!(
        told(&acts)[1..],
        [
            "request 0 Sent Http11 HEAD|||/a []",
            "request end 0 Complete 0",
            "request 1 Sent Http11 GET|||/b []",
            "request end 1 Complete 0",
            r#"request 2 Sent Http11 POST|||/c [("Transfer-Encoding", "chunked")]"#,
            "request body 2: hello, and more",
            r#"request trailers 2 [("Digest", "1")]"#,
            "request end 2 Complete 15",
            r#"response 0 Received Http11 Some(200) [("Content-Length", "100")]"#,
            "response end 0 Complete 0",
            r#"interim 1 Received Some(103) [("Link", "x")]"#,
            r#"response 1 Received Http11 Some(304) [("Content-Length", "3")]"#,
            "response end 1 Complete 0",
            "response 2 Received Http11 Some(200) []",
            "response body 2: until the end",
            "response end 2 Complete 13",
        ]
    );
}

/// RFC 9112 section 6.3: what decides between several lengths, and what can not be decided.
#[test]
fn frames_as_the_standard_demands() {
    let response = |fields: &str| {
        let acts = [say(
            Received,
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n"),
        )];
        told(&acts)[2..].join(", ")
    };
    let chunked = "response body 0: hello, response end 0 Complete 5";
    assert_eq!(
        response("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
        chunked
    );
    assert_eq!(
        response("Transfer-Encoding: identity\r\nTransfer-Encoding: Chunked\r\n"),
        chunked
    );
    let all = "response body 0: 5\r\nhello\r\n0\r\n\r\n, response end 0 Complete 15";
    assert_eq!(response("Transfer-Encoding: identity\r\n"), all);
    assert_eq!(
        response("Content-Length: 15, 15\r\nContent-Length: 15\r\n"),
        all
    );
    let broken = "response end 0 Malformed 0, unreadable Received Malformed: 15, Resynchronized { direction: Received, found: None, skipped: 15 }";
    for fields in [
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        assert_eq!(response(fields), broken, "{fields}");
    }
}

#[test]
fn holds_what_follows_a_request_to_upgrade() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n";
    let acts = [
        say(Sent, request),
        say(Sent, "GET /next HTTP/1.1\r\n\r\n"),
        say(Received, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let lines = told(&acts);
    assert!(lines[3].starts_with("response 0"), "{lines:#?}");
    assert_eq!(lines[5], "request 1 Sent Http11 GET|||/next []");
}

#[test]
fn looks_into_a_tunnel() {
    let acts = [
        say(
            Sent,
            "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
        ),
        say(Received, "HTTP/1.1 200 Connection established\r\n\r\n"),
        say(Sent, "GET /inner HTTP/1.1\r\n\r\n"),
        say(Received, b"\x16\x03\x03\x00\x01\x00"),
    ];
    let lines = told(&acts);
    assert_eq!(
        lines[5..],
        [
            "protocol Http1 Some(Client)",
            "request 0 Sent Http11 GET|||/inner []",
            "request end 0 Complete 0",
            "unreadable Received Malformed: 6",
            "Resynchronized { direction: Received, found: None, skipped: 6 }",
        ]
    );
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn raw(text: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &*text, &mut encoded, &parameters).unwrap();
    encoded
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
    zstd_safe::compress(&mut encoded, text, 3).unwrap();
    encoded
}

fn coded(coding: &str, body: &[u8]) -> Act {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    say(Received, [head.as_bytes(), body].concat())
}

#[test]
fn takes_content_codings_off() {
    let text = b"a body that says the same, the same, the same again".as_slice();
    let members = [gzip(&text[..20]), gzip(&text[20..])].concat();
    let frames = [
        zstd(&text[..20]),
        b"\x50\x2a\x4d\x18\x02\0\0\0xy".to_vec(),
        zstd(&text[20..]),
    ]
    .concat();
    let cases = [
        ("gzip", gzip(text)),
        ("X-GZIP", members),
        ("deflate", zlib(text)),
        ("deflate", raw(text)),
        ("br", brotli(text)),
        ("zstd", zstd(text)),
        ("zstd", frames),
        ("identity", text.to_vec()),
        ("gzip, br", brotli(&gzip(text))),
        (
            "deflate, identity\r\nContent-Encoding: zstd, gzip",
            gzip(&zstd(&zlib(text))),
        ),
    ];
    let body = format!("response body 0: {}", String::from_utf8_lossy(text));
    let end = format!("response end 0 Complete {}", text.len());
    for (coding, body_sent) in cases {
        let lines = told(&[coded(coding, &body_sent)]);
        assert_eq!(lines[2..], [&*body, &*end], "{coding}");
        // The first half of it is told as far as it goes, and said not to be all.
        let half = &body_sent[..body_sent.len() / 2];
        let lines = told(&[coded(coding, half)]);
        let complete = coding == "identity";
        assert_eq!(
            lines.last().unwrap().contains("cut BrokenCoding"),
            !complete,
            "{lines:?}"
        );
        // So is what follows its end.
        let more = [&*body_sent, b"more"].concat();
        let lines = told(&[coded(coding, &more)]);
        assert_eq!(
            lines.last().unwrap().contains("cut BrokenCoding"),
            !complete,
            "{lines:?}"
        );
    }
    let lines = told(&[coded("aws-chunked", b"as it is")]);
    assert_eq!(
        lines[2..],
        [
            "response body 0: as it is",
            "response end 0 Complete 8 cut UnknownCoding"
        ]
    );
}

#[test]
fn bombs_end_at_the_limits() {
    let zeros = vec![0; 4 << 20];
    let limits = Limits {
        body: 3 << 20,
        ..Limits::default()
    };
    for (coding, bomb) in [
        ("gzip", gzip(&zeros)),
        ("br", brotli(&zeros)),
        ("zstd", zstd(&zeros)),
        ("br, br", brotli(&brotli(&zeros))),
    ] {
        let acts = [coded(coding, &bomb)];
        let (log, _) = run(&acts, &[usize::MAX], limits);
        assert!(log.told <= 3 << 20, "{coding} {}", log.told);
        let end = log.lines.last().unwrap();
        assert!(
            end.contains("cut TooLong") || end.contains("cut Bomb"),
            "{coding} {end}"
        );
        assert_eq!(
            run(&acts, &[1000, 1], limits).0.lines,
            log.lines,
            "{coding}"
        );
    }
    let nested = [coded("gzip, gzip, gzip, gzip, gzip", &gzip(b"x"))];
    assert!(told(&nested).last().unwrap().contains("cut UnknownCoding"));
}

#[test]
fn decoders_share_what_memory_there_is() {
    let limits = Limits {
        decoder_memory: 1 << 20,
        ..Limits::default()
    };
    // A window of 8 MiB, asked for by a frame header.
    let acts = [
        coded("zstd", b"\x28\xb5\x2f\xfd\x00\x68"),
        coded("gzip", &gzip(b"small")),
    ];
    let (log, _) = run(&acts, &[usize::MAX], limits);
    assert_eq!(
        log.lines[2..4],
        [
            "unreadable Received in 0 DecoderMemory: 6",
            "response end 0 Complete 0 cut DecoderMemory"
        ]
    );
    assert_eq!(log.lines[5], "response body 1: small");
}

#[test]
fn tells_server_sent_events() {
    let stream = "event: delta\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n: ping\n\ndata: [DONE]\n\n";
    let sent = gzip(stream.as_bytes());
    let acts = [say(Received, [
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", sent.len()).as_bytes(), &sent].concat())];
    let lines: Vec<_> = told(&acts)
        .into_iter()
        .filter(|line| line.starts_with("sse"))
        .collect();
    assert_eq!(
        lines,
        [
            "sse 0 delta|{\"a\":\n1}| true",
            "sse 0 message|[DONE]| true"
        ]
    );
}

#[test]
fn goes_on_behind_a_gap() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let next = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    // Within a body of known length nothing else is lost.
    let acts = [
        say(Received, format!("{head}abc")),
        Act::Lose(Received, 4),
        say(Received, format!("xyz{next}")),
    ];
    assert_eq!(
        told(&acts)[2..6],
        [
            "response body 0: abc",
            "unreadable Received Lost: 4",
            "response body 0: xyz",
            "response end 0 Complete 6 lost 4 cut Lost",
        ]
    );
    assert!(told(&acts)[6].starts_with("response 1 Received Http11 Some(404)"));
    // Its end may be what was lost.
    let acts = [
        say(Received, format!("{head}abc")),
        Act::Lose(Received, 40),
        say(Received, format!("the rest {next}")),
    ];
    assert_eq!(
        told(&acts)[3..7],
        [
            "unreadable Received Lost: 40",
            "response end 0 Lost 3 cut Lost",
            "unreadable Received Resynchronizing: 9",
            "Resynchronized { direction: Received, found: Some(Head), skipped: 9 }",
        ]
    );
    // Half a head is no head.
    let acts = [
        say(Received, &head[..20]),
        Act::Lose(Received, 1),
        say(Received, &head[21..]),
    ];
    assert_eq!(
        told(&acts)[1..],
        [
            "unreadable Received Fragment: 20",
            "unreadable Received Lost: 1",
            "unreadable Received Resynchronizing: 18",
            "Resynchronized { direction: Received, found: None, skipped: 18 }",
        ]
    );
}

#[test]
fn joins_late() {
    let acts = [
        say(
            Sent,
            "of a body, HTTP/1.1 200 and POST / HTTP/1.1\r\nnot a head\r\n\r\n{}POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        ),
        say(Received, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    let expected = [
        "unknown Sent Text",
        "unreadable Sent NotFromStart: 61",
        "Resynchronized { direction: Sent, found: Some(Head), skipped: 61 }",
        "protocol Http1 Some(Client)",
        r#"request 0 Sent Http11 POST||a|/v1 [("Host", "a"), ("Content-Length", "0")]"#,
        "request end 0 Complete 0",
    ];
    for cuts in [&[usize::MAX][..], &[1], &[3], &[7, 2]] {
        let (log, _) = run_from(&acts, cuts, Limits::default(), [1000, 0]);
        assert_eq!(log.lines[..6], expected, "{cuts:?}");
        assert!(log.lines[6].starts_with("response 0"));
    }
}

#[test]
fn says_once_that_a_protocol_is_unknown() {
    let acts = [
        say(Sent, "{\"jsonrpc\":\"2.0\"}\n"),
        say(Sent, "{}\n"),
        say(Received, b"\x16\x03\x01\x02\x00\x01\x00"),
    ];
    assert_eq!(
        told(&acts),
        [
            "unknown Sent Json",
            "unknown Received Tls",
            "unreadable Sent UnknownProtocol: 21",
            "unreadable Received UnknownProtocol: 7",
        ]
    );
}

#[test]
fn heads_end_at_the_limit() {
    let limits = Limits {
        head: 100,
        ..Limits::default()
    };
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100));
    let acts = [say(
        Sent,
        format!("{long}GET /ok HTTP/1.1\r\nHost: b\r\n\r\n"),
    )];
    assert_eq!(
        lines_of_every_cut(&acts, limits)[1..4],
        [
            "unreadable Sent HeadTooLong: 100",
            "unreadable Sent Resynchronizing: 23",
            "Resynchronized { direction: Sent, found: Some(Head), skipped: 123 }",
        ]
    );
}

#[test]
fn puts_chunks_in_order_by_their_offsets() {
    let mut log = common::Log::default();
    let mut connection = hoop_protocols::Connection::new(Limits::default());
    let mut push = |offset, text: &str| {
        connection.push(Sent, offset, text.as_bytes(), &mut |event| log.take(&event));
    };
    push(0, "PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\n012");
    // Twice, overlapping, and behind a gap of two bytes.
    push(0, "PUT /");
    push(38, "01234");
    push(45, "789");
    push(50, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.end(&mut |event| log.take(&event));
    log.flush();
    assert_eq!(
        log.lines[2..7],
        [
            "request body 0: 012",
            "unreadable Sent Duplicate: 8",
            "request body 0: 34",
            "unreadable Sent Lost: 2",
            "request body 0: 789",
        ]
    );
    assert_eq!(log.lines[7], "request end 0 Complete 8 lost 2 cut Lost");
    assert_eq!(log.lines[8], "unreadable Sent Lost: 2");
    assert!(
        log.lines
            .contains(&"request 1 Sent Http11 GET||a|/next [(\"Host\", \"a\")]".into())
    );
    let tally = connection.tally(Sent);
    assert_eq!((tally.pushed, tally.lost), (85, 4));
    assert_eq!(tally.pushed, tally.read + tally.unreadable);
}
