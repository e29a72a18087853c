//! An OpenTelemetry collector, over OTLP/HTTP with protobuf: every record a log record, and what took time a span.

mod attributes;
mod config;
mod logs;
mod sink;
mod spans;

pub use config::{Config, Signal};

pub(crate) use sink::sink;
