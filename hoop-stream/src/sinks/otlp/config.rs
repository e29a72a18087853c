use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::config::{FieldError, Span, TlsConfig};
use crate::http::{AuthConfig, Endpoint, EndpointFields};

/// An OTLP sink: `{ kind: otlp, url, signals, headers, auth, tls, timeout }`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Config {
    /// Where logs go: `URL/v1/logs`.
    pub logs: Endpoint,
    /// Where spans go: `URL/v1/traces`.
    pub traces: Endpoint,
    /// What is sent.
    pub signals: BTreeSet<Signal>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Every record, as a log record.
    Logs,
    /// A span for each request with its response, and for each process when it ends.
    Traces,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    url: String,
    #[serde(default = "both")]
    signals: BTreeSet<Signal>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    auth: Option<AuthConfig>,
    #[serde(default)]
    tls: TlsConfig,
    timeout: Option<Span>,
}

fn both() -> BTreeSet<Signal> {
    BTreeSet::from([Signal::Logs, Signal::Traces])
}

impl TryFrom<Fields> for Config {
    type Error = FieldError;

    fn try_from(fields: Fields) -> Result<Self, FieldError> {
        if fields.signals.is_empty() {
            return Err(FieldError::new("signals", "is empty"));
        }
        let base = fields.url.trim_end_matches('/');
        let endpoint = |path: &str| {
            let endpoint = EndpointFields {
                url: format!("{base}{path}"),
                headers: fields.headers.clone(),
                auth: fields.auth.clone(),
                tls: fields.tls.clone(),
                timeout: fields.timeout,
            };
            Endpoint::try_from(endpoint)
        };
        Ok(Self {
            logs: endpoint("/v1/logs")?,
            traces: endpoint("/v1/traces")?,
            signals: fields.signals.clone(),
        })
    }
}
