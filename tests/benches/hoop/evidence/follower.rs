//! A client of the daemon's gRPC stream.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hoop_agent::clock::boot_ns;
use hoop_records::Kind;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic_prost::ProstCodec;

use super::seen::Seen;

/// Microseconds that one step of a histogram is wide.
const STEP_US: u64 = 20;
/// Steps: up to ten seconds. What took longer is in the last.
const STEPS: usize = 500_000;

/// How long records took, by how many.
pub struct Latencies(Vec<u32>);

/// A client, in a thread of its own.
pub struct Follower {
    thread: JoinHandle<Result<Latencies>>,
    seen: Arc<Seen>,
    through: Arc<AtomicU64>,
}

impl Follower {
    /// Connects to the socket and begins to read with the record `from`.
    pub fn start(socket: &Path, from: u64) -> Result<Self> {
        let stream = std::os::unix::net::UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        let seen = Arc::new(Seen::from(from));
        let through = Arc::new(AtomicU64::new(u64::MAX));
        let (saw, stop) = (Arc::clone(&seen), Arc::clone(&through));
        let thread = std::thread::Builder::new().name("follower".into());
        let thread = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build()?;
            runtime.block_on(follow(stream, from, &saw, &stop))
        })?;
        Ok(Self {
            thread,
            seen,
            through,
        })
    }

    /// What arrived.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Ends once that record is there. How long it was from each connect to its record.
    pub fn finish(self, through: u64) -> Result<Latencies> {
        self.through.store(through, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("the client panicked"))?
    }
}

impl Latencies {
    /// Microseconds within which that part of the records was there.
    pub fn within(&self, part: f64) -> f64 {
        let count: u64 = self.0.iter().copied().map(u64::from).sum();
        let wanted = (count as f64 * part).ceil() as u64;
        let mut sum = 0;
        let step = self.0.iter().position(|&count| {
            sum += u64::from(count);
            sum >= wanted
        });
        step.map_or(0.0, |step| ((step as u64 + 1) * STEP_US) as f64)
    }
}

async fn follow(
    stream: std::os::unix::net::UnixStream,
    from: u64,
    seen: &Seen,
    through: &AtomicU64,
) -> Result<Latencies> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let io = TokioIo::new(UnixStream::from_std(stream)?);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    let origin = http::Uri::from_static("http://localhost");
    let mut client = tonic::client::Grpc::with_origin(Http2(sender), origin);
    client.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/hoop.v1.AuditService/Stream");
    let request = StreamRequest { from, follow: true };
    let codec = ProstCodec::<StreamRequest, StreamResponse>::new();
    let response = client.server_streaming(tonic::Request::new(request), path, codec);
    let mut responses = response.await?.into_inner();
    let mut latencies = Latencies(vec![0; STEPS]);
    while seen.last() < through.load(Ordering::Relaxed) {
        // Heartbeats come every ten seconds.
        let response = tokio::time::timeout(PATIENCE, responses.message());
        let response = response.await.context("the stream is silent")??;
        let response = response.context("the stream ended")?;
        if response.gone.is_some() {
            bail!("retention removed what was not read");
        }
        let Some(record) = response.record else {
            continue;
        };
        seen.saw(record.number);
        if record.kind == Kind::Connect as i32 {
            let took = boot_ns().saturating_sub(record.boot_time_ns) / 1000;
            let step = usize::try_from(took / STEP_US)?.min(STEPS - 1);
            latencies.0[step] += 1;
        }
    }
    Ok(latencies)
}

/// `hoop.v1.StreamRequest`, as far as it is needed here.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StreamRequest {
    #[prost(uint64, tag = "1")]
    from: u64,
    #[prost(bool, tag = "3")]
    follow: bool,
}

/// `hoop.v1.StreamResponse`, likewise.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StreamResponse {
    #[prost(message, optional, tag = "1")]
    record: Option<Head>,
    #[prost(message, optional, tag = "3")]
    gone: Option<Gone>,
}

/// `hoop.v1.Record`, likewise.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Head {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "3")]
    boot_time_ns: u64,
    #[prost(int32, tag = "4")]
    kind: i32,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Gone {}

#[derive(Clone)]
struct Http2(SendRequest<Body>);

impl Service<http::Request<Body>> for Http2 {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
