use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::config::Span;

/// Where the audit stream is served: `{ socket, tcp: { listen, cert, key, client_ca }, limits }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcConfig {
    /// Path of the Unix socket, made with mode 0600. Only root and the daemon's own user are served.
    pub socket: Option<PathBuf>,
    /// Over TCP, with mutual TLS.
    pub tcp: Option<TcpConfig>,
    /// What clients may use.
    pub limits: Limits,
}

/// TCP with mutual TLS (1.3 or 1.2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM file of the server's certificate and what chains it. Read again when it changes, as are the others.
    pub cert: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// PEM file of the authorities of clients. Whoever has a valid certificate of one may read everything.
    pub client_ca: PathBuf,
}

/// What clients may use; the sockets count apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at once, 1 to 10,000; one more is closed as it comes.
    pub connections: usize,
    /// Streams at once on a connection, 1 to 1,000.
    pub streams: u32,
    /// How long a TLS handshake may take, 100 ms to a minute.
    #[serde(deserialize_with = "handshake")]
    pub handshake: Duration,
    /// How long no record is sent before a heartbeat is.
    #[serde(skip)]
    pub heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            streams: 16,
            handshake: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
        }
    }
}

fn handshake<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let span = Span::deserialize(deserializer)?.0;
    if (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&span) {
        Ok(span)
    } else {
        Err(D::Error::custom("is not 100ms to 60s"))
    }
}
