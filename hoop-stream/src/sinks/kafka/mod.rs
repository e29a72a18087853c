//! Kafka: each record one message with its id, acknowledged by all replicas in sync.

mod config;
mod partition;
mod sink;

pub use config::{Config, Mechanism, Sasl};

pub(crate) use sink::sink;
