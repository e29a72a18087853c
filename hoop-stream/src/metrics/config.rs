use std::net::SocketAddr;

use serde::Deserialize;

/// Where metrics are served: `{ listen }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address and port, over plain HTTP and to whoever asks: names of policies, rules and programs, and counts.
    pub listen: SocketAddr,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
        }
    }
}
