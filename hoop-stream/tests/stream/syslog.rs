//! Syslog, over TCP, TLS and UDP.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use hoop_records::Record;
use hoop_stream::memory::MemoryLog;
use prost::Message as _;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;
use crate::node::{DEADLINE, assert_each_in_order, fill, numbers, start, stored, until};

/// A receiver of octet-counted frames. Dropping it closes it.
struct Receiver {
    _task: JoinSet<()>,
    port: u16,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// `most` says how many bytes of a connection are read before it is dropped with the rest unread.
    async fn start(
        tls: Option<Arc<ServerConfig>>,
        mut most: impl FnMut() -> Option<usize> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let messages = Arc::clone(&taken);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let most = most();
                match &tls {
                    None => read(stream, most, &messages).await,
                    Some(tls) => {
                        let accepted = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await;
                        if let Ok(stream) = accepted {
                            read(stream, most, &messages).await;
                        }
                    }
                }
            }
        });
        Self {
            _task: task,
            port,
            taken,
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let taken = self.taken.lock().unwrap();
        let bodies = taken
            .iter()
            .map(|message| message.split_once("] ").unwrap().1);
        bodies.flat_map(|body| numbers(body.as_bytes())).collect()
    }
}

async fn read(
    mut stream: impl AsyncRead + Unpin,
    most: Option<usize>,
    messages: &Mutex<Vec<String>>,
) {
    let mut bytes = Vec::new();
    match most {
        None => {
            let _ = stream.read_to_end(&mut bytes).await;
        }
        Some(most) => {
            let _ = stream.take(most as u64).read_to_end(&mut bytes).await;
        }
    }
    let mut rest = &bytes[..];
    while let Some(space) = rest.iter().position(|&byte| byte == b' ') {
        let length: usize = str::from_utf8(&rest[..space]).unwrap().parse().unwrap();
        let Some((message, after)) = rest[space + 1..].split_at_checked(length) else {
            break;
        };
        messages
            .lock()
            .unwrap()
            .push(String::from_utf8(message.to_vec()).unwrap());
        rest = after;
    }
}

fn config(port: u16, transport: &str) -> Value {
    json!({
        "name": "soc",
        "kind": "syslog",
        "address": format!("localhost:{port}"),
        "transport": transport,
        "batch": { "records": 100, "delay": "1ms" },
        "backoff": { "min": "1ms", "max": "10ms" },
    })
}

#[tokio::test]
async fn frames_arrive_in_order_with_and_without_confirmation() {
    for confirm in [true, false] {
        let receiver = Receiver::start(None, || None).await;
        let cursors = tempfile::tempdir().unwrap();
        let log = MemoryLog::default();
        let mut config = config(receiver.port, "tcp");
        config["confirm"] = json!(confirm);
        let sinks = start(&log, cursors.path(), [config]);
        fill(&log, 3000);
        stored(&sinks, 3000).await;
        drop(sinks);
        until("all are read", || {
            receiver.taken.lock().unwrap().len() == 3000
        })
        .await;
        assert_eq!(receiver.numbers(), (1..=3000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_receiver_that_dies_with_unread_messages_gets_them_again() {
    let mut random = fastrand::Rng::with_seed(3);
    let receiver =
        Receiver::start(None, move || random.bool().then(|| random.usize(..20_000))).await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let sinks = start(&log, cursors.path(), [config(receiver.port, "tcp")]);
    fill(&log, 5000);
    stored(&sinks, 5000).await;
    assert!(sinks.statuses().iter().next().unwrap().retries() > 5);
    assert_each_in_order(&receiver.numbers(), 1..=5000);
}

#[tokio::test]
async fn over_tls_only_the_right_authority_gets_messages() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new(directory.path(), "ours");
    let theirs = Authority::new(directory.path(), "theirs");
    let right = Receiver::start(Some(ours.issue("right").server()), || None).await;
    let wrong = Receiver::start(Some(theirs.issue("wrong").server()), || None).await;
    let log = MemoryLog::default();
    let of = |name: &str, receiver: &Receiver| {
        let mut config = config(receiver.port, "tls");
        config["name"] = json!(name);
        config["tls"] = json!({ "ca": ours.file });
        config
    };
    let configs = [of("right", &right), of("wrong", &wrong)];
    let sinks = start(&log, &directory.path().join("cursors"), configs);
    fill(&log, 1000);
    let statuses = sinks.statuses();
    until("the right one has them", || {
        statuses.iter().next().unwrap().done() == 1000
    })
    .await;
    let refused = || statuses.iter().nth(1).unwrap();
    until("the wrong one is tried", || refused().retries() > 3).await;
    assert_eq!(refused().done(), 0);
    assert_eq!(right.numbers(), (1..=1000).collect::<Vec<_>>());
    assert!(wrong.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn datagrams_are_cut_to_what_a_receiver_takes() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let mut config = config(socket.local_addr().unwrap().port(), "udp");
    config["address"] = json!(socket.local_addr().unwrap().to_string());
    config["max_bytes"] = json!(600);
    let sinks = start(&log, cursors.path(), [config]);
    fill(&log, 20);
    let long = Record {
        number: 21,
        attribution: "\u{20ac}".repeat(1000),
        ..Record::default()
    };
    log.append(long.encode_to_vec());
    stored(&sinks, 21).await;
    let mut lengths = BTreeSet::new();
    for _ in 0..21 {
        let mut message = [0; 65536];
        let received = tokio::time::timeout(DEADLINE, socket.recv(&mut message));
        let length = received.await.unwrap().unwrap();
        assert!(str::from_utf8(&message[..length]).unwrap().starts_with('<'));
        lengths.insert(length);
    }
    let longest = *lengths.last().unwrap();
    assert!((598..=600).contains(&longest), "{longest}");
}
