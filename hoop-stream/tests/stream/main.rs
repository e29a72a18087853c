//! What the stream promises, over real sockets: receivers that fail, go away and come back.
#![expect(clippy::unwrap_used, reason = "tests")]

mod away;
mod certificates;
mod client;
mod file;
mod grpc;
mod kafka;
mod metrics;
mod mutual_tls;
mod nats;
mod node;
mod otlp;
mod receiver;
mod syslog;
mod webhook;
