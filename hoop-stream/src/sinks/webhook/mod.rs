//! Batches of records, posted to an HTTP endpoint.

mod config;
mod sink;

pub use config::{Config, Framing};

pub(crate) use sink::sink;
