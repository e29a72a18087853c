//! What takes audit records off the node: sinks with cursors, the gRPC stream, and metrics.
//!
//! Everything reads from a [`source::Log`] at its own pace. A sink that is away holds no memory and no other sink;
//! when it is back it goes on where it was, and each record arrives at least once, with an id to know it by.

pub mod config;
pub mod filter;
pub mod grpc;
pub mod http;
pub mod memory;
pub mod metrics;
pub mod secret;
pub mod sinks;
pub mod source;
pub mod status;
pub mod tls;

mod backoff;
mod cursor;
mod head;
mod render;
mod runner;
