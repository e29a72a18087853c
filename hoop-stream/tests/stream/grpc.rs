//! The gRPC stream over a Unix socket: who gets what.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use hoop_records::Kind;
use hoop_stream::grpc::{GrpcConfig, GrpcServer, Limits};
use hoop_stream::memory::MemoryLog;
use tokio::net::UnixStream;
use tonic::Code;

use crate::client::{Http2, Pair, StreamRequest, http2, next, numbers, stream};
use crate::node::{DEADLINE, fill, record};

async fn unix(log: &MemoryLog, directory: &Path, limits: Limits) -> (GrpcServer, Http2) {
    let socket = directory.join("audit.sock");
    let config = GrpcConfig {
        socket: Some(socket.clone()),
        tcp: None,
        limits,
    };
    let server = GrpcServer::start(&config, log).await.unwrap();
    (
        server,
        http2(UnixStream::connect(socket).await.unwrap()).await,
    )
}

#[tokio::test]
async fn a_client_gets_what_it_asks_for() {
    let directory = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    fill(&log, 1000);
    let (_server, client) = unix(&log, directory.path(), Limits::default()).await;
    let socket = std::fs::metadata(directory.path().join("audit.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);

    let all = StreamRequest::default();
    assert_eq!(
        numbers(&client, all.clone()).await,
        (1..=1000).collect::<Vec<_>>()
    );
    let mut first = stream(&client, all.clone()).await.unwrap();
    assert_eq!(next(&mut first).await.record, Some(record(1)));

    let from = StreamRequest {
        from: 990,
        ..all.clone()
    };
    assert_eq!(
        numbers(&client, from).await,
        (990..=1000).collect::<Vec<_>>()
    );
    let beyond = StreamRequest {
        from: 1001,
        ..all.clone()
    };
    assert!(numbers(&client, beyond).await.is_empty());
    let execs = StreamRequest {
        kinds: vec![Kind::Exec as i32],
        ..all.clone()
    };
    assert_eq!(
        numbers(&client, execs).await,
        (2..=1000).step_by(2).collect::<Vec<_>>()
    );
    let nobody = StreamRequest {
        workloads: vec!["/hoop".into()],
        ..all.clone()
    };
    assert!(numbers(&client, nobody).await.is_empty());

    for senseless in [
        StreamRequest {
            kinds: vec![99],
            ..all.clone()
        },
        StreamRequest {
            kinds: vec![0],
            ..all.clone()
        },
        StreamRequest {
            only_new: true,
            ..all.clone()
        },
        StreamRequest {
            only_new: true,
            follow: true,
            from: 3,
            ..all.clone()
        },
    ] {
        let status = stream(&client, senseless.clone()).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{senseless:?}");
    }
    let huge = StreamRequest {
        workloads: vec!["x".repeat(100_000)],
        ..all
    };
    assert!(stream(&client, huge).await.is_err());
}

#[tokio::test]
async fn a_client_that_follows_gets_what_is_written_and_heartbeats_between() {
    let directory = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    fill(&log, 10);
    let limits = Limits {
        heartbeat: Duration::from_millis(20),
        ..Limits::default()
    };
    let (server, client) = unix(&log, directory.path(), limits).await;
    let new = StreamRequest {
        only_new: true,
        follow: true,
        ..StreamRequest::default()
    };
    let mut new = stream(&client, new).await.unwrap();
    let heartbeat = Pair {
        first: 10,
        second: 10,
    };
    assert_eq!(next(&mut new).await.heartbeat, Some(heartbeat));
    fill(&log, 11);
    loop {
        let response = next(&mut new).await;
        if let Some(record) = response.record {
            assert_eq!(record.number, 11);
            break;
        }
        assert_eq!(response.heartbeat, Some(heartbeat));
    }
    // A filter that lets nothing through: the client still learns how far the stream is.
    let nothing = StreamRequest {
        follow: true,
        kinds: vec![Kind::Gap as i32],
        ..StreamRequest::default()
    };
    let mut nothing = stream(&client, nothing).await.unwrap();
    assert_eq!(
        next(&mut nothing).await.heartbeat,
        Some(Pair {
            first: 11,
            second: 11
        })
    );

    server.stop(Duration::from_secs(5)).await;
    let ended = loop {
        match new.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended as if the log had"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
}

#[tokio::test]
async fn what_retention_took_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    fill(&log, 10);
    log.remove_before(6);
    let (_server, client) = unix(&log, directory.path(), Limits::default()).await;
    // Whoever asks for the oldest misses nothing.
    assert_eq!(
        numbers(&client, StreamRequest::default()).await,
        [6, 7, 8, 9, 10]
    );
    let from = StreamRequest {
        from: 2,
        ..StreamRequest::default()
    };
    let mut stream = stream(&client, from).await.unwrap();
    assert_eq!(
        next(&mut stream).await.gone,
        Some(Pair {
            first: 6,
            second: 0
        })
    );
    assert_eq!(next(&mut stream).await.record.unwrap().number, 6);
}

#[tokio::test]
async fn a_socket_that_is_in_use_or_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let (server, _client) = unix(&log, directory.path(), Limits::default()).await;
    let config = |name: &str| GrpcConfig {
        socket: Some(directory.path().join(name)),
        ..GrpcConfig::default()
    };
    assert!(
        GrpcServer::start(&config("audit.sock"), &log)
            .await
            .is_err()
    );
    std::fs::write(directory.path().join("file"), "x").unwrap();
    assert!(GrpcServer::start(&config("file"), &log).await.is_err());
    // What a daemon that was killed left behind is taken over.
    drop(server);
    let deadline = Instant::now() + DEADLINE;
    while GrpcServer::start(&config("audit.sock"), &log)
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "the socket is not free");
        tokio::task::yield_now().await;
    }
}

/// Permissions of the socket are one defence; this is the one behind it. Needs root to become another user.
#[tokio::test]
async fn another_user_is_refused_even_where_the_socket_is_open_to_all() {
    let directory = tempfile::tempdir().unwrap();
    if std::fs::metadata(directory.path()).unwrap().uid() != 0 {
        return;
    }
    let log = MemoryLog::default();
    fill(&log, 3);
    let (_server, _client) = unix(&log, directory.path(), Limits::default()).await;
    let socket = directory.path().join("audit.sock");
    for path in [directory.path(), &socket] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let read = "import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
sys.exit(len(s.recv(1)))";
    for (user, got) in [(65534, 0), (0, 1)] {
        let mut client = tokio::process::Command::new("python3");
        client.args(["-c", read]).arg(&socket).uid(user);
        let ended = tokio::time::timeout(DEADLINE, client.status())
            .await
            .unwrap();
        // A server that serves speaks first, with its settings.
        assert_eq!(ended.unwrap().code(), Some(got), "user {user}");
    }
}
