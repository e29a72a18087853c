//! Calls of the Model Context Protocol (revisions 2024-11-05 to 2025-11-25): JSON-RPC 2.0 over
//! pipes, [`Stdio`], and over HTTP, [`Http`].
//!
//! Requests are paired with their responses; each pair, and each notification, is a [`Call`].
//! Strings come out as they were sent: mask each by [`Call::texts_mut`], then take
//! [`Call::attributes`].

mod attributes;
mod call;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod http;
mod jsonrpc;
mod session;
mod stdio;
#[cfg(test)]
mod tests;

pub use call::{Call, Implementation, Outcome, RpcError, Side, Transport};
#[cfg(feature = "fuzzing")]
pub use fuzzing::fuzz;
pub use http::{Exchange, Http, HttpRequest};
pub use session::Limits;
pub use stdio::Stdio;
