//! From the ring's bytes to records.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, sync::Arc};

use hoop_common::payload::{
    PieceHeader, PieceKind, RECEIVED, SENT, STANDARD_OUTPUT, SocketPair, TlsCall,
};
use hoop_mask::{Config, Key, Masker};
use zerocopy::{FromZeros, IntoBytes};

use super::{Conversations, Directory, Settings, coverage::Libraries, piece};
use crate::clock::ClockOffset;
use hoop_records::{Fact, Kind, Record, Shared, Workload};

const WORKLOAD: u64 = 7;

/// Captures one workload.
struct Known(Arc<Settings>);

impl Directory for Known {
    fn captured(&self, cgroup_id: u64) -> Option<(Shared<Workload>, Arc<Settings>)> {
        (cgroup_id == WORKLOAD).then(|| (Shared::new(Workload::default()), Arc::clone(&self.0)))
    }

    fn libraries(&self, _tgid: u32) -> Libraries {
        Libraries {
            covered: BTreeSet::new(),
            uncovered: BTreeSet::from(["rustls in /bin/agent: stripped".to_owned()]),
        }
    }
}

struct Bench {
    known: Known,
    conversations: Conversations,
    records: Vec<Record>,
}

impl Bench {
    fn new(max_body: usize) -> Self {
        let masker = Masker::new(&Config::default(), Key::new("test", &[1; 32])).unwrap();
        Self {
            known: Known(Arc::new(Settings {
                stdio: true,
                masker: Arc::new(masker),
                max_body,
            })),
            conversations: Conversations::default(),
            records: Vec::new(),
        }
    }

    fn take(&mut self, header: PieceHeader, rest: &[u8]) -> &mut Self {
        let bytes = [header.as_bytes(), rest].concat();
        let piece = piece::decode(&bytes).unwrap();
        let records = &mut self.records;
        self.conversations
            .take(&piece, &self.known, ClockOffset(0), &mut |(record, _)| {
                records.push(record);
            });
        self
    }

    fn data(&mut self, direction: u8, offset: u64, bytes: &[u8]) -> &mut Self {
        let header = PieceHeader {
            offset,
            len: bytes.len() as u32,
            direction,
            call: TlsCall::Write as u8,
            ..header(PieceKind::Data)
        };
        self.take(header, bytes)
    }

    fn ended(&mut self) -> &mut Self {
        self.take(header(PieceKind::Ended), &[])
    }

    fn lines(&self) -> String {
        let line = |record: &Record| serde_json::to_string(record).unwrap();
        self.records.iter().map(line).collect()
    }
}

fn header(kind: PieceKind) -> PieceHeader {
    PieceHeader {
        boot_ns: 1_000,
        workload: WORKLOAD,
        start_ns: 5,
        tgid: 100,
        object: 0xabc,
        since_ns: 900,
        kind: kind as u8,
        ..PieceHeader::new_zeroed()
    }
}

fn post(body: &str) -> String {
    format!(
        "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn an_exchange_is_one_record_however_its_pieces_are_cut() {
    let address = ["alice", "example.org"].join("@");
    let request = post(&format!(r#"{{"to":"{address}"}}"#));
    let mut whole = Bench::new(4096);
    whole.data(SENT, 0, request.as_bytes());
    whole.data(RECEIVED, 0, OK.as_bytes());
    assert_eq!(whole.records.len(), 1);
    assert_eq!(whole.records[0].kind(), Kind::Api);
    assert!(!whole.lines().contains(&address));
    assert!(whole.lines().contains(r#""class":"EMAIL","count":1"#));
    for cut in 1..request.len() {
        let mut bench = Bench::new(4096);
        bench
            .data(SENT, 0, &request.as_bytes()[..cut])
            .data(SENT, cut as u64, &request.as_bytes()[cut..])
            .data(RECEIVED, 0, OK.as_bytes());
        assert_eq!(bench.lines(), whole.lines(), "cut at {cut}");
    }
}

#[test]
fn what_is_beyond_the_limit_of_a_body_leaves_no_half_of_a_secret() {
    let card = ["4111", "1111", "1111", "1111"].concat();
    let request = post(&format!("{}{card}", "word ".repeat(100)));
    for max_body in 480..520 {
        let mut bench = Bench::new(max_body);
        bench
            .data(SENT, 0, request.as_bytes())
            .data(RECEIVED, 0, OK.as_bytes());
        let lines = bench.lines();
        assert!(!lines.contains("4111"), "{max_body}: {lines}");
        let truncated = max_body < 500 + card.len();
        assert_eq!(
            lines.contains(r#""truncated":true"#),
            truncated,
            "{max_body}"
        );
    }
}

#[test]
fn what_no_piece_has_is_said() {
    let request = post("some text");
    let mut bench = Bench::new(4096);
    let header = PieceHeader {
        len: 30,
        skipped: request.len() as u32 - 30,
        direction: SENT,
        ..header(PieceKind::Data)
    };
    bench
        .take(header, &request.as_bytes()[..30])
        .data(RECEIVED, 0, OK.as_bytes())
        .ended();
    assert!(bench.lines().contains("bytes of a call were not taken"));
}

#[test]
fn a_protocol_that_is_not_known_is_told_at_the_end() {
    let mut bench = Bench::new(4096);
    bench
        .data(SENT, 0, b"HELO there, my address is bob@example.org\n")
        .data(RECEIVED, 0, b"250 fine\n");
    assert_eq!(bench.records.len(), 0);
    bench.ended();
    let [record] = bench.records.as_slice() else {
        panic!("{}", bench.lines());
    };
    let Some(Fact::Plaintext(plain)) = &record.fact else {
        panic!("{record:?}");
    };
    assert_eq!(plain.format, "text");
    let sent = plain.sent.as_ref().unwrap();
    assert!(sent.text.starts_with("HELO there, my address is [EMAIL:"));
    assert_eq!(plain.received.as_ref().unwrap().text, "250 fine\n");
}

#[test]
fn server_sent_events_that_nothing_joins_are_only_counted() {
    let body = "data: {\"t\":\"4111 1111\"}\n\ndata: {\"t\":\" 1111 1111\"}\n\n";
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut bench = Bench::new(4096);
    bench
        .data(SENT, 0, post("{}").as_bytes())
        .data(RECEIVED, 0, response.as_bytes());
    assert_eq!(bench.records.len(), 1);
    assert!(!bench.lines().contains("1111"), "{}", bench.lines());
    assert!(bench.lines().contains(&format!(r#""size":{}"#, body.len())));
}

#[test]
fn a_connection_of_which_nothing_is_read_is_said_and_one_that_is_read_is_not() {
    let pair = SocketPair {
        family: 2,
        remote: {
            let mut remote = [0; 16];
            remote[..4].copy_from_slice(&[192, 0, 2, 1]);
            remote
        },
        remote_port: 443,
        ..SocketPair::new_zeroed()
    };
    let hello = |cookie| PieceHeader {
        other: cookie,
        ..header(PieceKind::Hello)
    };
    let joined = PieceHeader {
        other: 1,
        join: 1,
        ..header(PieceKind::Joined)
    };
    let mut bench = Bench::new(4096);
    bench
        .take(hello(1), pair.as_bytes())
        .take(hello(2), pair.as_bytes())
        .data(SENT, 0, post("{}").as_bytes())
        .take(joined, pair.as_bytes())
        .data(RECEIVED, 0, OK.as_bytes())
        .ended();
    let coverage: Vec<_> = bench
        .records
        .iter()
        .filter_map(|record| match &record.fact {
            Some(Fact::Coverage(coverage)) => Some(coverage),
            _ => None,
        })
        .collect();
    let [coverage] = coverage.as_slice() else {
        panic!("{}", bench.lines());
    };
    assert_eq!(coverage.socket, 2);
    assert_eq!(coverage.dst_endpoint.as_ref().unwrap().ip, "192.0.2.1");
    assert_eq!(coverage.uncovered, ["rustls in /bin/agent: stripped"]);
}

#[test]
fn of_other_workloads_nothing_is_kept() {
    let mut bench = Bench::new(4096);
    let header = PieceHeader {
        workload: WORKLOAD + 1,
        len: OK.len() as u32,
        ..header(PieceKind::Data)
    };
    bench.take(header, OK.as_bytes()).ended();
    assert_eq!(bench.records.len(), 0);
}

/// A server that reads channel 10 and writes channel 20.
fn piped(bench: &mut Bench, tgid: u32, from_server: bool, offset: u64, message: &str) {
    let header = PieceHeader {
        tgid,
        offset,
        len: message.len() as u32,
        object: if from_server { 20 } else { 10 },
        other: if from_server { 10 } else { 0 },
        join: if from_server { STANDARD_OUTPUT } else { 0 },
        ..header(PieceKind::Piped)
    };
    bench.take(header, message.as_bytes());
}

const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look_up","arguments":{"note":"NOTE"}}}"#;
const ANSWER: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"NOTE"}]}}"#;

#[test]
fn a_tool_over_pipes_is_one_record_of_its_client_whichever_way_is_seen_first() {
    let address = ["alice", "example.org"].join("@");
    let (ask, answer) = (
        ASK.replace("NOTE", &address) + "\n",
        ANSWER.replace("NOTE", &address) + "\n",
    );
    for answer_first in [false, true] {
        for cut in [1, 30, ask.len() - 1] {
            let mut bench = Bench::new(4096);
            if answer_first {
                piped(&mut bench, 101, true, 0, &answer);
            }
            piped(&mut bench, 100, false, 0, &ask[..cut]);
            piped(&mut bench, 100, false, cut as u64, &ask[cut..]);
            if !answer_first {
                piped(&mut bench, 101, true, 0, &answer);
            }
            let lines = bench.lines();
            assert_eq!(bench.records.len(), 1, "{lines}");
            assert!(lines.contains(r#""protocol":"stdio""#), "{lines}");
            assert!(lines.contains(r#""count":2"#), "{lines}");
            assert!(!lines.contains(&address), "{lines}");
            assert!(!lines.contains("incomplete"), "{lines}");
            assert_eq!(bench.conversations.refused().count(), 0);
        }
    }
}

#[test]
fn a_request_over_pipes_that_nobody_answers_is_told_when_an_end_is_gone() {
    let mut bench = Bench::new(4096);
    piped(&mut bench, 100, false, 0, &format!("{ASK}\n"));
    assert_eq!(bench.records.len(), 0);
    bench.ended();
    assert!(bench.lines().contains("hoop.mcp.unanswered"));
}

#[test]
fn bytes_that_are_missing_in_a_pipe_are_said_to_be() {
    let mut bench = Bench::new(4096);
    piped(&mut bench, 100, false, 0, &ASK[..20]);
    piped(
        &mut bench,
        100,
        false,
        40,
        &format!("{}\n{ASK}\n", &ASK[40..]),
    );
    piped(&mut bench, 101, true, 0, &format!("{ANSWER}\n"));
    let lines = bench.lines();
    assert_eq!(bench.records.len(), 1, "{lines}");
    assert!(lines.contains(r#""incomplete":["incomplete"]"#), "{lines}");
}

#[test]
fn half_of_a_secret_at_the_end_of_a_long_message_is_left_out() {
    let secret = ["gh", "p_", "u1V5nT3aRkQ8sZ2bXw6YcE9dLm4HfJ7pGq0K"].concat();
    let first = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n";
    let ask = format!("{}\n", ASK.replace("NOTE", &secret));
    for keep in first.len()..ask.len() - 5 {
        let mut bench = Bench::new(keep);
        piped(&mut bench, 100, false, 0, first);
        piped(&mut bench, 100, false, first.len() as u64, &ask);
        bench.ended();
        let lines = bench.lines();
        assert!(lines.contains("request_truncated"), "{keep}: {lines}");
        assert!(!lines.contains(&secret[4..10]), "{keep}: {lines}");
    }
}

#[test]
fn a_channel_of_other_json_is_refused() {
    let mut bench = Bench::new(4096);
    let line = "{\"id\":1,\"level\":\"info\"}\n";
    for number in 0..16 {
        piped(&mut bench, 100, false, number * line.len() as u64, line);
    }
    assert_eq!(bench.conversations.refused().collect::<Vec<_>>(), [10]);
    assert_eq!(bench.records.len(), 0);
}

/// A WebSocket to a model, over which the server says so many texts, a message for each.
fn realtime(deltas: &[&str], done: bool) -> Bench {
    let mut bench = Bench::new(4096);
    let open = "GET /v1/realtime?model=m-1 HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    bench.data(SENT, 0, open.as_bytes());
    let mut answer =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            .to_vec();
    let delta = |delta: &&str| {
        format!(
            r#"{{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"{delta}"}}"#
        )
    };
    let last = r#"{"type":"response.done","response":{"id":"r","status":"completed","output":[]}}"#;
    let messages = deltas.iter().map(delta);
    for text in messages.chain(done.then(|| last.to_owned())) {
        answer.extend([0x81, 126]);
        answer.extend((text.len() as u16).to_be_bytes());
        answer.extend(text.as_bytes());
    }
    bench.data(RECEIVED, 0, &answer);
    bench.take(header(PieceKind::Closed), &[]);
    bench
}

#[test]
fn a_secret_over_two_messages_of_a_model_is_masked() {
    let secret = ["gh", "p_", "u1V5nT3aRkQ8sZ2bXw6YcE9dLm4HfJ7pGq0K"].concat();
    for cut in 1..secret.len() {
        let bench = realtime(&["It is ", &secret[..cut], &secret[cut..], " now."], true);
        let lines = bench.lines();
        assert!(lines.contains("It is [GITHUB_TOKEN:"), "{lines}");
        assert!(lines.contains("] now."), "{lines}");
        assert_eq!(bench.records.len(), 2, "{lines}");
        let lines = realtime(&["It is ", &secret[..cut]], false).lines();
        assert!(
            !lines.contains(&secret[..cut.clamp(5, 10)]),
            "{cut}: {lines}"
        );
        assert!(lines.contains("gen_ai.output.messages"), "{lines}");
    }
}
