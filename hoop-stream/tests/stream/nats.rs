//! NATS `JetStream`, by Debian's nats-server.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context};
use hoop_records::Record;
use hoop_stream::memory::MemoryLog;
use prost::Message as _;
use serde_json::json;

use crate::node::{DEADLINE, fill, record, start, stored, until};

/// A server that keeps its streams in a directory. Dropping it kills it.
struct Server(Child);

impl Server {
    fn start(directory: &Path, port: u16) -> Self {
        let config = directory.join("nats.conf");
        std::fs::write(&config, "max_payload: 16384\n").unwrap();
        let child = Command::new("nats-server")
            .args([
                "--jetstream",
                "--addr",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--store_dir",
            ])
            .arg(directory.join("store"))
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("nats-server, of Debian's package of that name"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn context(port: u16) -> Context {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match async_nats::connect(format!("nats://127.0.0.1:{port}")).await {
            Ok(client) => return jetstream::new(client),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn create(context: &Context) {
    let config = jetstream::stream::Config {
        name: "AUDIT".into(),
        subjects: vec!["hoop.records.>".into()],
        ..Default::default()
    };
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = context.create_stream(config.clone()).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn each_record_is_in_the_stream_once_although_the_server_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let log = MemoryLog::default();
    let config = json!({
        "name": "nats",
        "kind": "nats",
        "servers": [format!("nats://127.0.0.1:{port}")],
        "timeout": "2s",
        "batch": { "records": 200, "delay": "1ms" },
        "backoff": { "min": "1ms", "max": "50ms" },
    });
    // It is there before the server, and before the stream.
    let sinks = start(&log, &directory.path().join("cursors"), [config]);
    fill(&log, 499);
    let statuses = sinks.statuses();
    let sink = || statuses.iter().next().unwrap();
    until("it is tried", || sink().retries() > 1).await;
    let mut server = Server::start(directory.path(), port);
    let client = context(port).await;
    until("it is tried without a stream", || sink().retries() > 4).await;
    create(&client).await;
    stored(&sinks, 499).await;

    // The server takes no message of that size.
    let huge = Record {
        attribution: "x".repeat(20_000),
        ..record(500)
    };
    log.append(huge.encode_to_vec());
    let mut random = fastrand::Rng::with_seed(13);
    for round in 1..=3 {
        let before = sink().done();
        fill(&log, 500 + round * 1500);
        let killed = before + 1 + random.u64(..600);
        until("some are delivered", || sink().done() >= killed).await;
        drop(server);
        server = Server::start(directory.path(), port);
    }
    stored(&sinks, 5000).await;
    assert_eq!(sink().refused(), 1);

    let client = context(port).await;
    let stream = client.get_stream("AUDIT").await.unwrap();
    let mut numbers = Vec::new();
    for sequence in 1..=stream.get_info().await.unwrap().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        let id = message.headers.get("Nats-Msg-Id").unwrap().as_str();
        assert_eq!(body["id"], id);
        assert!(matches!(
            &*message.subject,
            "hoop.records.exec" | "hoop.records.connect"
        ));
        numbers.push(body["number"].as_u64().unwrap());
    }
    let wanted: Vec<_> = (1..=5000).filter(|&number| number != 500).collect();
    assert!(
        numbers.is_sorted(),
        "{:?}",
        numbers.windows(2).find(|pair| pair[0] > pair[1])
    );
    assert!(numbers == wanted, "{} of {}", numbers.len(), wanted.len());
    drop(server);
}
