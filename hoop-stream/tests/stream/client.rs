//! A gRPC client of the audit stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hoop_records::Record;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use crate::node::DEADLINE;

/// `StreamRequest`, written anew from its definition.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) from: u64,
    #[prost(bool, tag = "2")]
    pub(crate) only_new: bool,
    #[prost(bool, tag = "3")]
    pub(crate) follow: bool,
    #[prost(int32, repeated, tag = "4")]
    pub(crate) kinds: Vec<i32>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) workloads: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) record: Option<Record>,
    #[prost(message, optional, tag = "2")]
    pub(crate) heartbeat: Option<Pair>,
    #[prost(message, optional, tag = "3")]
    pub(crate) gone: Option<Pair>,
}

/// `Heartbeat` and `Gone`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Pair {
    #[prost(uint64, tag = "1")]
    pub(crate) first: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) second: u64,
}

#[derive(Clone)]
pub(crate) struct Http2(SendRequest<Body>);

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

pub(crate) async fn http2(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Http2 {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    Http2(sender)
}

pub(crate) async fn stream(
    http2: &Http2,
    request: StreamRequest,
) -> Result<Streaming<StreamResponse>, Status> {
    let origin = http::Uri::from_static("http://localhost");
    let mut client = tonic::client::Grpc::with_origin(http2.clone(), origin);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/hoop.v1.AuditService/Stream");
    let codec = ProstCodec::<StreamRequest, StreamResponse>::new();
    let response = client.server_streaming(tonic::Request::new(request), path, codec);
    response.await.map(tonic::Response::into_inner)
}

pub(crate) async fn next(stream: &mut Streaming<StreamResponse>) -> StreamResponse {
    let next = tokio::time::timeout(DEADLINE, stream.message());
    next.await.unwrap().unwrap().unwrap()
}

/// Numbers of the records up to the end of the stream.
pub(crate) async fn numbers(http2: &Http2, request: StreamRequest) -> Vec<u64> {
    let mut stream = stream(http2, request).await.unwrap();
    let mut numbers = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        numbers.push(response.record.unwrap().number);
    }
    numbers
}
