//! One connection: HTTP/2 within limits.

use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use super::config::Limits;
use super::proto::audit_service_server::AuditServiceServer;
use super::service::Audit;
use crate::source::Log;

/// The largest request: filters of some thousand values.
const REQUEST: usize = 64 << 10;

/// What a stream may have on its way to a client that does not read.
const IN_FLIGHT: usize = 256 << 10;

/// A client that does not answer for so long is gone.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until the client or an error ends it.
pub(super) async fn serve<L: Log>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    audit: Audit<L>,
    limits: Limits,
) -> Result<(), hyper::Error> {
    let service = AuditServiceServer::new(audit).max_decoding_message_size(REQUEST);
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(16 << 10)
        .max_send_buf_size(IN_FLIGHT)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await
}
