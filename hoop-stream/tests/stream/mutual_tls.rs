//! The gRPC stream over TCP: who is let in.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hoop_stream::grpc::{GrpcConfig, GrpcServer, Limits, TcpConfig};
use hoop_stream::memory::MemoryLog;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificates::{Authority, Identity, client};
use crate::client::{StreamRequest, http2, next, numbers, stream};
use crate::node::{DEADLINE, fill, until};

/// A server on TCP, whose clients' authority is `ours`.
struct Tls {
    directory: tempfile::TempDir,
    ours: Authority,
    server: GrpcServer,
    log: MemoryLog,
}

impl Tls {
    async fn start(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ours = Authority::new(directory.path(), "ours");
        let Identity { cert, key } = ours.issue("server");
        let log = MemoryLog::default();
        fill(&log, 3);
        let config = GrpcConfig {
            socket: None,
            tcp: Some(TcpConfig {
                listen: "127.0.0.1:0".parse().unwrap(),
                cert,
                key,
                client_ca: ours.file.clone(),
            }),
            limits,
        };
        let server = GrpcServer::start(&config, &log).await.unwrap();
        Self {
            directory,
            ours,
            server,
            log,
        }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.tcp_address().unwrap())
            .await
            .unwrap()
    }

    /// Everything that a client with that TLS gets to see after it spoke HTTP/2.
    async fn leaked(&self, config: Arc<ClientConfig>) -> Vec<u8> {
        let name = ServerName::try_from("localhost").unwrap();
        let Ok(mut stream) = TlsConnector::from(config)
            .connect(name, self.tcp().await)
            .await
        else {
            return Vec::new();
        };
        let _ = stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await;
        let mut read = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut read))
            .await
            .unwrap();
        read
    }
}

#[tokio::test]
async fn a_client_of_our_authority_is_served_over_tls_1_3_and_1_2() {
    let tls = Tls::start(Limits::default()).await;
    let soc = tls.ours.issue("soc");
    for version in [&TLS13, &TLS12] {
        let config = client(&tls.ours, Some(&soc), &[version]);
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config)
            .connect(name, tls.tcp().await)
            .await
            .unwrap();
        let client = http2(stream).await;
        assert_eq!(numbers(&client, StreamRequest::default()).await, [1, 2, 3]);
    }
}

#[tokio::test]
async fn bad_clients_are_refused_and_logged_and_learn_nothing() {
    let logged = Logged::default();
    let _guard = logged.collect();
    let tls = Tls::start(Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let theirs = Authority::new(tls.directory.path(), "theirs");
    let stranger = theirs.issue("stranger");
    let expired = tls.ours.issue_until("expired", 2020);
    let mut refused = 0;
    for version in [&TLS13, &TLS12] {
        for identity in [None, Some(&stranger), Some(&expired)] {
            let leaked = tls.leaked(client(&tls.ours, identity, &[version])).await;
            assert_eq!(leaked, b"", "{version:?}");
            refused += 1;
            logged.refused(refused).await;
        }
    }
    // TLS 1.1, plain HTTP/2, and noise.
    let tls_1_1 = b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\0\x04\xc0\x14\0\x35\x01\0";
    for bytes in [
        &tls_1_1[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x16; 4096],
    ] {
        let mut stream = tls.tcp().await;
        stream.write_all(bytes).await.unwrap();
        let mut read = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut read))
            .await
            .unwrap();
        assert!(read.len() <= 7, "no more than an alert: {read:?}");
        refused += 1;
        logged.refused(refused).await;
    }
    // One that says nothing is not waited for.
    let mut silent = tls.tcp().await;
    let read = tokio::time::timeout(DEADLINE, silent.read_u8())
        .await
        .unwrap();
    assert!(read.is_err());
    logged.refused(refused + 1).await;

    // All that while, the others are served.
    let soc = tls.ours.issue("soc");
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(client(&tls.ours, Some(&soc), &[&TLS13]));
    let stream = connector.connect(name, tls.tcp().await).await.unwrap();
    assert_eq!(
        numbers(&http2(stream).await, StreamRequest::default())
            .await
            .len(),
        3
    );
    assert_eq!(hoop_stream::source::Log::last(&tls.log), 3);
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_a_stream_too_many_waits() {
    let tls = Tls::start(Limits {
        connections: 2,
        streams: 1,
        ..Limits::default()
    })
    .await;
    let soc = tls.ours.issue("soc");
    let connect = async || {
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(client(&tls.ours, Some(&soc), &[&TLS13]));
        connector.connect(name, tls.tcp().await).await
    };
    let first = http2(connect().await.unwrap()).await;
    let second = http2(connect().await.unwrap()).await;
    assert!(connect().await.is_err());
    let follow = StreamRequest {
        follow: true,
        ..StreamRequest::default()
    };
    let mut following = stream(&first, follow).await.unwrap();
    assert_eq!(next(&mut following).await.record.unwrap().number, 1);
    let waiting = numbers(&first, StreamRequest::default());
    assert!(
        tokio::time::timeout(Duration::from_millis(100), waiting)
            .await
            .is_err()
    );
    drop(following);
    assert_eq!(numbers(&first, StreamRequest::default()).await.len(), 3);
    assert_eq!(numbers(&second, StreamRequest::default()).await.len(), 3);
    drop(second);
    let deadline = Instant::now() + DEADLINE;
    while connect().await.is_err() {
        assert!(Instant::now() < deadline, "the place is not free again");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let tls = Tls::start(Limits::default()).await;
    let next_authority = Authority::new(tls.directory.path(), "next");
    let next = next_authority.issue("next");
    let config = client(&next_authority, Some(&next), &[&TLS13]);
    assert!(tls.leaked(Arc::clone(&config)).await.is_empty());
    let server = tls.directory.path().join("server");
    std::fs::copy(&next.cert, server.with_extension("crt")).unwrap();
    std::fs::copy(&next.key, server.with_extension("key")).unwrap();
    std::fs::copy(&next_authority.file, &tls.ours.file).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(config)
        .connect(name, tls.tcp().await)
        .await
        .unwrap();
    assert_eq!(
        numbers(&http2(stream).await, StreamRequest::default())
            .await
            .len(),
        3
    );
}

/// What this thread logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<String>>>);

impl Logged {
    fn collect(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(Collect(self.clone()))
    }

    /// Waits until that many clients were refused, each with its address: a client may know it before the server
    /// has said it.
    async fn refused(&self, expected: usize) {
        let count = || {
            let lines = self.0.lock().unwrap();
            let refused = lines
                .iter()
                .filter(|line| line.contains("refused a client"));
            refused
                .inspect(|line| assert!(line.contains("127.0.0.1:"), "{line}"))
                .count()
        };
        until("the refusals are logged", || count() >= expected).await;
        assert_eq!(count(), expected);
    }
}

struct Collect(Logged);

impl tracing::Subscriber for Collect {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
