//! The audit stream over gRPC: `hoop.v1.AuditService` of `audit.proto`.

pub(crate) mod codec;
mod config;
mod connection;
mod listen;
mod refusals;
mod service;
mod stream;

#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::doc_markdown,
    clippy::allow_attributes_without_reason,
    clippy::allow_attributes,
    reason = "generated"
)]
pub(crate) mod proto {
    tonic::include_proto!("hoop.v1");
}

pub use config::{GrpcConfig, Limits, TcpConfig};
pub use listen::{GrpcError, GrpcServer};
