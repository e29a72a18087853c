//! Metrics, health and readiness.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hoop_stream::memory::MemoryLog;
use hoop_stream::metrics::{
    Gauges, Lost, MetricsConfig, MetricsServer, Program, Ready, Snapshot, Verdicts,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::node::{fill, start, stored};
use crate::receiver::Receiver;

struct Daemon;

impl Gauges for Daemon {
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: "0.1.0".into(),
            events_lost: vec![Lost {
                ring: "payload",
                cause: "ring full".into(),
                count: 3,
            }],
            verdicts: vec![Verdicts {
                policy: "copilots".into(),
                rule: "a \"quoted\"\\\nrule".into(),
                result: "deny",
                count: 7,
            }],
            programs: vec![Program {
                program: "connect4".into(),
                runs: 9,
                seconds: 0.25,
            }],
            log_bytes: 4096,
            ..Snapshot::default()
        }
    }
}

async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer[9..12].parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

#[tokio::test]
async fn metrics_have_their_names_and_ready_is_what_the_daemon_says() {
    let receiver = Receiver::start().await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let url = format!("http://{}/", receiver.address);
    let sink = json!({ "name": "soc", "kind": "webhook", "url": url, "batch": { "delay": "1ms" } });
    let sinks = start(&log, cursors.path(), [sink]);
    fill(&log, 5);
    stored(&sinks, 5).await;

    let enforcing = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&enforcing);
    let ready: Ready = Arc::new(move || {
        let enforcing = asked.load(Ordering::Relaxed);
        enforcing
            .then_some(())
            .ok_or_else(|| "no policy".to_owned())
    });
    let config = MetricsConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let server = MetricsServer::start(config, Arc::new(Daemon), sinks.statuses(), ready);
    let server = server.await.unwrap();
    let (status, page) = ask(server.address(), "GET /metrics").await;
    assert_eq!(status, 200);
    for line in [
        "hoop_build_info{version=\"0.1.0\"} 1",
        "hoop_events_lost_total{ring=\"payload\",cause=\"ring full\"} 3",
        "hoop_verdicts_total{policy=\"copilots\",rule=\"a \\\"quoted\\\"\\\\\\nrule\",result=\"deny\"} 7",
        "hoop_bpf_runs_total{program=\"connect4\"} 9",
        "hoop_bpf_run_seconds_total{program=\"connect4\"} 0.25",
        "hoop_log_size_bytes 4096",
        "hoop_sink_lag_records{sink=\"soc\"} 0",
        "hoop_sink_lag_seconds{sink=\"soc\"} 0.0",
        "hoop_sink_delivered_records_total{sink=\"soc\"} 5",
        "hoop_sink_retries_total{sink=\"soc\"} 0",
        "hoop_sink_refused_records_total{sink=\"soc\"} 0",
        "hoop_sink_missed_records_total{sink=\"soc\"} 0",
        "# TYPE hoop_sink_retries counter",
        "# EOF",
    ] {
        assert!(page.lines().any(|has| has == line), "{line}\n{page}");
    }

    assert_eq!(
        ask(server.address(), "GET /healthz").await,
        (200, "ok\n".into())
    );
    assert_eq!(
        ask(server.address(), "GET /readyz").await,
        (503, "not ready: no policy\n".into())
    );
    enforcing.store(true, Ordering::Relaxed);
    assert_eq!(ask(server.address(), "GET /readyz").await.0, 200);
    assert_eq!(ask(server.address(), "GET /").await.0, 404);
    assert_eq!(ask(server.address(), "POST /metrics").await.0, 405);
}
