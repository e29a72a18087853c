use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::{FieldError, Format, Span, TlsConfig};
use crate::http::{AuthConfig, Endpoint, EndpointFields};

/// A webhook sink: `{ kind: webhook, url, format, body, headers, auth, tls, timeout }`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Config {
    /// Where to.
    pub endpoint: Endpoint,
    /// How a record is written.
    pub format: Format,
    /// How records become a body.
    pub body: Framing,
}

/// How records become a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// One a line (`application/x-ndjson`).
    #[default]
    Lines,
    /// A JSON array (`application/json`).
    Array,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    url: String,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    body: Framing,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    auth: Option<AuthConfig>,
    #[serde(default)]
    tls: TlsConfig,
    timeout: Option<Span>,
}

impl TryFrom<Fields> for Config {
    type Error = FieldError;

    fn try_from(fields: Fields) -> Result<Self, FieldError> {
        let endpoint = EndpointFields {
            url: fields.url,
            headers: fields.headers,
            auth: fields.auth,
            tls: fields.tls,
            timeout: fields.timeout,
        };
        Ok(Self {
            endpoint: endpoint.try_into()?,
            format: fields.format,
            body: fields.body,
        })
    }
}
