//! Plaintext to JSON lines, masked, on one thread and without I/O.

#[path = "../../../hoop-mask/benches/texts/mod.rs"]
mod texts;

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use hoop_agent::clock::ClockOffset;
use hoop_agent::pipeline::payload::coverage::Libraries;
use hoop_agent::pipeline::payload::{Conversations, Directory, Settings, piece};
use hoop_common::payload::{PieceHeader, PieceKind, RECEIVED, SENT, TlsCall};
use hoop_mask::{Config, Key, Masker};
use hoop_records::{Shared, Workload};
use serde_json::{Value, json};
use zerocopy::IntoBytes as _;

use crate::pipeline::cpu_time;
use crate::report::{Bound, Report, Row};
use crate::stats::Samples;
use crate::{Settings as Run, stop};

/// Bytes of plaintext in a piece: a TLS record's.
const PIECE: usize = 16 << 10;
/// Bytes of a request's body, about: an agent sends its whole session each time.
const BODY: usize = 64 << 10;
/// The most that a record keeps of a body, as a policy has it that says nothing of it.
const MAX_BODY: usize = 256 << 10;

/// Measures calls of a model and other JSON, with and without what is to be masked.
pub fn measure(run: &Run, report: &mut Report) -> Result<()> {
    let texts = texts::all();
    let masker = Masker::new(&Config::default(), Key::new("bench", &[7; 32]))?;
    let names = Names {
        workload: Shared::new(Workload {
            cgroup_id: 4242,
            cgroup: "/hoop/copilot-1".into(),
            policy: "coding-copilots".into(),
            identity: "spiffe://example.org/agents/copilot".into(),
            on_behalf_of: String::new(),
        }),
        settings: Arc::new(Settings {
            stdio: false,
            masker: Arc::new(masker),
            max_body: MAX_BODY,
        }),
    };
    for (text, findings) in [
        ("LLM JSON, none", "no finding"),
        ("LLM JSON, one per KiB", "a finding a KiB"),
    ] {
        let lines = texts.iter().find(|(name, _)| name == text);
        let bodies = bodies(&lines.context("the text is there")?.1)?;
        for (kind, host, path) in [
            ("calls of a model", "api.openai.com", "/v1/chat/completions"),
            ("other JSON", "api.example.com", "/v1/sessions"),
        ] {
            let pieces = pieces(&bodies, host, path);
            let mut speeds = Samples::default();
            let mut masked = 0;
            for _ in 0..if run.quick { 5 } else { 15 } {
                stop::unless_asked()?;
                let pass = pass(&pieces, &names)?;
                speeds.push(pass.bytes as f64 / 1e6 / pass.seconds);
                masked = pass.masked;
                ensure!(pass.records == bodies.len(), "{} records", pass.records);
            }
            report.add(Row {
                what: format!("payload to JSON lines, {kind}, {findings}, MB/s"),
                unit: "MB/s",
                bound: Bound::AtLeast(150.0),
                measured: speeds.summary(),
                note: format!(
                    "of the thread's CPU time; {:.2} findings a KiB",
                    f64::from(masked) / bodies.iter().map(String::len).sum::<usize>() as f64
                        * 1024.0
                ),
            });
        }
    }
    Ok(())
}

struct Names {
    workload: Shared<Workload>,
    settings: Arc<Settings>,
}

impl Directory for Names {
    fn captured(&self, _cgroup_id: u64) -> Option<(Shared<Workload>, Arc<Settings>)> {
        Some((self.workload.clone(), Arc::clone(&self.settings)))
    }

    fn libraries(&self, _tgid: u32) -> Libraries {
        Libraries::default()
    }
}

/// What one pass over all pieces gave.
struct Pass {
    seconds: f64,
    /// Of plaintext.
    bytes: u64,
    records: usize,
    masked: u32,
}

fn pass(pieces: &[Vec<u8>], names: &Names) -> Result<Pass> {
    let mut conversations = Conversations::default();
    let offset = ClockOffset::measure();
    let (mut line, mut lines, mut records, mut masked) = (Vec::new(), 0_usize, 0, 0);
    let start = cpu_time()?;
    for bytes in pieces {
        let piece = piece::decode(bytes)?;
        conversations.take(&piece, names, offset, &mut |(record, _process)| {
            hoop_records::render(&record, &mut line);
            lines += line.len();
            line.clear();
            records += 1;
            if let Some(hoop_records::Fact::Api(api)) = &record.fact {
                masked += api.masked.iter().map(|class| class.count).sum::<u32>();
            }
        });
    }
    let seconds = (cpu_time()? - start).as_secs_f64();
    let bytes = conversations.stats().bytes;
    ensure!(lines as u64 > bytes / 2, "the texts are missing");
    Ok(Pass {
        seconds,
        bytes,
        records,
        masked,
    })
}

/// Requests to a model, with the messages of `lines`: documents that have both questions and answers.
fn bodies(lines: &[u8]) -> Result<Vec<String>> {
    let mut bodies = Vec::new();
    let (mut messages, mut size) = (Vec::new(), 0);
    for line in lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        size += line.len();
        let document: Value = serde_json::from_slice(line)?;
        messages.push(document["messages"][1].clone());
        messages.push(document["choices"][0]["message"].clone());
        if size > BODY {
            let request = json!({
                "model": "gpt-4o-2024-08-06",
                "temperature": 0.7,
                "messages": std::mem::take(&mut messages),
            });
            bodies.push(request.to_string());
            size = 0;
        }
    }
    Ok(bodies)
}

/// The pieces of requests with these bodies and their answers on one connection, as the ring has them.
fn pieces(bodies: &[String], host: &str, path: &str) -> Vec<Vec<u8>> {
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
        "choices": [{ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": "The table of the deployment is ready." } }],
        "usage": { "prompt_tokens": 11_000, "completion_tokens": 9, "total_tokens": 11_009 },
    })
    .to_string();
    let kind = "content-type: application/json\r\n";
    let mut pieces = Vec::new();
    let mut offsets = [0, 0];
    let mut call = |direction: u8, bytes: &[u8]| {
        for bytes in bytes.chunks(PIECE) {
            let offset = &mut offsets[usize::from(direction)];
            pieces.push([header(direction, *offset, bytes).as_bytes(), bytes].concat());
            *offset += bytes.len() as u64;
        }
    };
    let mut head = String::new();
    for body in bodies {
        head.clear();
        let _ = write!(
            head,
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: agent/1\r\naccept: */*\r\n{kind}content-length: {}\r\n\r\n",
            body.len()
        );
        call(SENT, head.as_bytes());
        call(SENT, body.as_bytes());
        head.clear();
        let _ = write!(
            head,
            "HTTP/1.1 200 OK\r\n{kind}content-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        call(RECEIVED, head.as_bytes());
    }
    pieces
}

fn header(direction: u8, offset: u64, bytes: &[u8]) -> PieceHeader {
    PieceHeader {
        boot_ns: 1_000_000_000_000,
        workload: 4242,
        start_ns: 101_000_000_707,
        tgid: 101,
        tid: 101,
        object: 0x55d0_1234_5670,
        since_ns: 999_000_000_000,
        offset,
        other: 0,
        len: bytes.len() as u32,
        skipped: 0,
        kind: PieceKind::Data as u8,
        direction,
        join: 0,
        call: if direction == SENT {
            TlsCall::Write
        } else {
            TlsCall::Read
        } as u8,
        cpu: 0,
    }
}
