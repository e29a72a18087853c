use std::time::Duration;

use serde::Deserialize;

use crate::config::{Encoding, FieldError, Span, TlsConfig, patience};
use crate::secret::SecretFile;

/// A NATS sink: `{ kind: nats, servers, subject, format, user, password_file, token_file, tls, timeout }`. The stream
/// that takes the subject must exist; its duplicate window should be longer than the longest back-off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Config {
    /// Servers of the cluster, each `nats://HOST:PORT` or `tls://HOST:PORT`, without user and password.
    pub servers: Vec<String>,
    /// The subject; a record is published to `SUBJECT.KIND`. `hoop.records` if absent.
    pub subject: String,
    /// How a record is written.
    pub format: Encoding,
    /// User and the file of its password.
    pub user: Option<(String, SecretFile)>,
    /// The file of a token.
    pub token_file: Option<SecretFile>,
    /// The TLS; demanded if any field of it is set, or a server is `tls://`.
    pub tls: TlsConfig,
    /// How long connecting may take, and each acknowledgement.
    pub timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    servers: Vec<String>,
    subject: Option<String>,
    #[serde(default)]
    format: Encoding,
    user: Option<String>,
    password_file: Option<SecretFile>,
    token_file: Option<SecretFile>,
    #[serde(default)]
    tls: TlsConfig,
    timeout: Option<Span>,
}

impl TryFrom<Fields> for Config {
    type Error = FieldError;

    fn try_from(fields: Fields) -> Result<Self, FieldError> {
        if fields.servers.is_empty() {
            return Err(FieldError::new("servers", "is empty"));
        }
        for server in &fields.servers {
            let scheme = server.starts_with("nats://") || server.starts_with("tls://");
            if !scheme || server.contains('@') || server.parse::<async_nats::ServerAddr>().is_err()
            {
                return Err(FieldError::new(
                    "servers",
                    "one is not nats://HOST:PORT or tls://HOST:PORT without a user",
                ));
            }
        }
        let subject = fields.subject.unwrap_or_else(|| "hoop.records".to_owned());
        let token = |token: &str| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !b"*>".contains(&b))
        };
        if !subject.split('.').all(token) {
            return Err(FieldError::new(
                "subject",
                "is no subject without wildcards",
            ));
        }
        let user = match (fields.user, fields.password_file) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => return Err(FieldError::new("user", "goes with password_file")),
        };
        if user.is_some() && fields.token_file.is_some() {
            return Err(FieldError::new("token_file", "does not go with user"));
        }
        let timeout = patience(fields.timeout, Duration::from_secs(10))?;
        Ok(Self {
            servers: fields.servers,
            subject,
            format: fields.format,
            user,
            token_file: fields.token_file,
            tls: fields.tls,
            timeout,
        })
    }
}
