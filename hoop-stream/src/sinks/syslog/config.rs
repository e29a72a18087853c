use std::time::Duration;

use serde::Deserialize;

use crate::config::{FieldError, Format, Span, TlsConfig, patience};

/// A syslog sink: `{ kind: syslog, address, transport, format, facility, app_name, confirm, max_bytes, tls,
/// timeout }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Config {
    /// Host and port.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What messages travel over.
    pub transport: Transport,
    /// How a record is written in the message.
    pub format: Format,
    /// The facility, 0 to 23 (RFC 5424, table 1); 13, log audit, if absent.
    pub facility: u8,
    /// `APP-NAME`: `hoop` if absent.
    pub app_name: String,
    /// Whether a batch counts as delivered only when the receiver has read all of it: the connection is closed
    /// after each batch, and the receiver closes its side when it has come to the end. True if absent; syslog has
    /// no other acknowledgement. Over UDP there is none.
    pub confirm: bool,
    /// UDP only: a longer message is cut, 480 to 65,000 bytes; 2048 if absent, which every receiver should take
    /// (RFC 5426, section 3.2).
    pub max_bytes: usize,
    /// The TLS.
    pub tls: TlsConfig,
    /// How long connecting and sending a batch may take.
    pub timeout: Duration,
}

/// What messages travel over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP, in the clear.
    Tcp,
    /// TLS.
    Tls,
    /// UDP: what is lost on the way is lost.
    Udp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    address: String,
    transport: Transport,
    #[serde(default)]
    format: Format,
    facility: Option<u8>,
    app_name: Option<String>,
    confirm: Option<bool>,
    max_bytes: Option<usize>,
    #[serde(default)]
    tls: TlsConfig,
    timeout: Option<Span>,
}

impl TryFrom<Fields> for Config {
    type Error = FieldError;

    fn try_from(fields: Fields) -> Result<Self, FieldError> {
        let parts = fields.address.rsplit_once(':');
        let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = parts.filter(|(host, _)| !host.is_empty()) else {
            return Err(FieldError::new("address", "is not host:port"));
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if fields.transport != Transport::Tls && fields.tls != TlsConfig::default() {
            return Err(FieldError::new("tls", "the transport is not tls"));
        }
        let facility = fields.facility.unwrap_or(13);
        if facility > 23 {
            return Err(FieldError::new("facility", "is not 0 to 23"));
        }
        let app_name = fields.app_name.unwrap_or_else(|| "hoop".to_owned());
        if !(1..=48).contains(&app_name.len()) || !app_name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(FieldError::new(
                "app_name",
                "is not 1 to 48 printable characters",
            ));
        }
        let max_bytes = fields.max_bytes.unwrap_or(2048);
        if !(480..=65_000).contains(&max_bytes) {
            return Err(FieldError::new("max_bytes", "is not 480 to 65000"));
        }
        let timeout = patience(fields.timeout, Duration::from_secs(30))?;
        Ok(Self {
            host,
            port,
            transport: fields.transport,
            format: fields.format,
            facility,
            app_name,
            confirm: fields.confirm.unwrap_or(true),
            max_bytes,
            tls: fields.tls,
            timeout,
        })
    }
}
