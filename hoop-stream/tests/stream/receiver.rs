//! An HTTP receiver that answers as the test says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A request that came in.
pub(crate) struct Posted {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What it answers.
pub(crate) type Answer = Response<Full<Bytes>>;

/// The status of what is taken and not kept.
pub(crate) const ACCEPTED: u16 = 202;

/// A receiver. Dropping it closes its socket and its connections.
pub(crate) struct Receiver {
    _task: JoinSet<()>,
    pub(crate) address: SocketAddr,
    /// What was answered with success, unless that is [`ACCEPTED`].
    pub(crate) taken: Arc<Mutex<Vec<Posted>>>,
}

pub(crate) fn answer(status: u16) -> Answer {
    Response::builder()
        .status(status)
        .body(Full::default())
        .unwrap()
}

impl Receiver {
    /// One that answers everything with 204.
    pub(crate) async fn start() -> Self {
        Self::answering(None, "127.0.0.1:0".parse().unwrap(), |_| answer(204)).await
    }

    pub(crate) async fn answering(
        tls: Option<Arc<ServerConfig>>,
        address: SocketAddr,
        answer: impl FnMut(&Posted) -> Answer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new((Mutex::new(answer), Arc::clone(&taken)));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&state);
                let tls = tls.clone().map(TlsAcceptor::from);
                connections.spawn(async move {
                    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
                        let state = Arc::clone(&state);
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.unwrap().to_bytes();
                            let posted = Posted {
                                path: head.uri.path().to_owned(),
                                headers: head.headers,
                                body,
                            };
                            let answer = (state.0.lock().unwrap())(&posted);
                            if answer.status().is_success() && answer.status() != ACCEPTED {
                                state.1.lock().unwrap().push(posted);
                            }
                            Ok::<_, Infallible>(answer)
                        }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => {
                                http.serve_connection(TokioIo::new(stream), service).await
                            }
                            Err(_) => return,
                        },
                    };
                });
            }
        });
        Self {
            _task: task,
            address,
            taken,
        }
    }

    /// Numbers of the records it took, in the order of their arrival.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let taken = self.taken.lock().unwrap();
        taken
            .iter()
            .flat_map(|posted| super::node::numbers(&posted.body))
            .collect()
    }
}
