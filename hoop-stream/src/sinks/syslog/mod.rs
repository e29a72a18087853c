//! Syslog: RFC 5424 messages over TCP (RFC 6587, octets counted), TLS (RFC 5425) or UDP (RFC 5426).

mod config;
mod message;
mod sink;

pub use config::{Config, Transport};

pub(crate) use sink::sink;
