//! NATS `JetStream`: each record one message with its id, so that the stream drops what it has already.

mod config;
mod sink;

pub use config::Config;

pub(crate) use sink::sink;
