//! The HTTP server of the metrics.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::collect::Metrics;
use super::{Gauges, MetricsConfig};
use crate::sinks::Statuses;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 16;

/// A connection is closed after so long, busy or not.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether the daemon enforces; if not, why.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
#[error("metrics.listen: {address}: {source}")]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

/// The server. Dropping it ends it.
#[derive(Debug)]
pub struct MetricsServer {
    /// Aborts what it holds when dropped.
    _task: JoinSet<()>,
    address: SocketAddr,
}

impl MetricsServer {
    /// Listens. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn start(
        config: MetricsConfig,
        gauges: Arc<dyn Gauges>,
        sinks: Statuses,
        ready: Ready,
    ) -> Result<Self, MetricsError> {
        let bound = async {
            let listener = TcpListener::bind(config.listen).await?;
            let address = listener.local_addr()?;
            io::Result::Ok((listener, address))
        };
        let (listener, address) = bound.await.map_err(|source| MetricsError {
            address: config.listen,
            source,
        })?;
        let answers = Arc::new(Answers {
            metrics: Metrics::new(gauges, sinks),
            ready,
        });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, answers));
        Ok(Self {
            _task: task,
            address,
        })
    }

    /// The address, for a configuration that leaves the port to the kernel.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, answers: Arc<Answers>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut clients = JoinSet::new();
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        while clients.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a client of the metrics cannot be taken");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let answers = Arc::clone(&answers);
        clients.spawn(async move {
            let service = service_fn(|request| {
                let answer = answers.answer(&request);
                async { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // Clients come and go; what becomes of one is nobody's concern.
            let _ = timeout(LONGEST, served).await;
            drop(place);
        });
    }
}

struct Answers {
    metrics: Metrics,
    ready: Ready,
}

impl Answers {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
            let allow = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allow);
            return answer;
        }
        match request.uri().path() {
            "/metrics" => match self.metrics.render() {
                Ok(page) => {
                    let mut answer = text(StatusCode::OK, page);
                    let form = HeaderValue::from_static(
                        "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    );
                    answer.headers_mut().insert(CONTENT_TYPE, form);
                    answer
                }
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match (self.ready)() {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(why) => text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("not ready: {why}\n"),
                ),
            },
            _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz and /readyz\n"),
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}
