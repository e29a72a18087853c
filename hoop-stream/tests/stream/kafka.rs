//! Kafka, by librdkafka's mock cluster.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hoop_records::{Actor, Record, Session};
use hoop_stream::memory::MemoryLog;
use prost::Message as _;
use serde_json::{Value, json};

use crate::node::{record, start, stored};

struct Cluster {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    brokers: Vec<String>,
}

impl Cluster {
    fn start() -> Self {
        let python = std::env::var("HOOP_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut child = Command::new(&python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/stream/kafka.py"
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut brokers = String::new();
        output.read_line(&mut brokers).unwrap();
        assert!(
            !brokers.is_empty(),
            "{python} (HOOP_PYTHON) needs the package confluent-kafka"
        );
        Self {
            child,
            input,
            output,
            brokers: brokers.trim().split(',').map(str::to_owned).collect(),
        }
    }

    fn read(&mut self, messages: usize) -> Vec<Value> {
        writeln!(self.input, "{messages}").unwrap();
        let lines = self.output.by_ref().lines().take(messages);
        lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn each_session_is_in_one_partition_and_in_order() {
    let mut cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let config = json!({
        "name": "kafka",
        "kind": "kafka",
        "brokers": cluster.brokers,
        "topic": "audit",
        "max_message_bytes": 10_000,
        "batch": { "records": 300, "delay": "1ms" },
        "backoff": { "min": "10ms", "max": "100ms" },
    });
    let sinks = start(&log, cursors.path(), [config]);
    for number in 1..=5000 {
        let session = Actor {
            session: Some(Session {
                uid: format!("{}-7", number % 17),
            }),
            ..Actor::default()
        };
        let huge = if number == 1234 { 20_000 } else { 0 };
        let record = Record {
            actor: Some(session.into()),
            attribution: "x".repeat(huge),
            ..record(number)
        };
        log.append(record.encode_to_vec());
    }
    stored(&sinks, 5000).await;
    assert_eq!(sinks.statuses().iter().next().unwrap().refused(), 1);

    let messages = tokio::task::spawn_blocking(move || cluster.read(4999))
        .await
        .unwrap();
    assert_eq!(messages.len(), 4999);
    let mut places = BTreeMap::new();
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in &messages {
        let key = message["key"].as_str().unwrap().to_owned();
        let number = message["number"].as_u64().unwrap();
        assert_eq!(message["id"], format!("node-1-7f3a/{number}"));
        let place = places.entry(key.clone()).or_insert(&message["partition"]);
        assert_eq!(*place, &message["partition"]);
        numbers.entry(key).or_default().push(number);
    }
    assert_eq!(numbers.len(), 17);
    assert!(numbers.values().all(|numbers| numbers.is_sorted()));
    let partitions: std::collections::BTreeSet<_> = places.values().map(|at| at.as_i64()).collect();
    assert!(partitions.len() > 1, "all keys are in one partition");
}
