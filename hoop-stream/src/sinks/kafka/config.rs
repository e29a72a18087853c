use std::time::Duration;

use serde::Deserialize;

use crate::config::{Encoding, FieldError, Span, TlsConfig, patience};
use crate::secret::SecretFile;

/// A Kafka sink: `{ kind: kafka, brokers, topic, format, max_message_bytes, sasl, tls, timeout }`. The topic must exist.
///
/// A message's key is the record's session, or its workload's cgroup: what belongs together is in one partition and
/// in order. Its header `hoop-record-id` names the record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Config {
    /// Brokers to begin with, each `HOST:PORT`.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// How a record is written.
    pub format: Encoding,
    /// A larger message is not sent, as the broker would refuse it: its `max.message.bytes`, 1,000,000 if absent.
    pub max_message_bytes: usize,
    /// Who we are.
    pub sasl: Option<Sasl>,
    /// The TLS; none if absent.
    pub tls: Option<TlsConfig>,
    /// How long a request may take, with the retries that the client makes itself.
    pub timeout: Duration,
}

/// SASL: `{ mechanism, user, password_file }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How to prove it.
    pub mechanism: Mechanism,
    /// The user.
    pub user: String,
    /// The file of its password.
    pub password_file: SecretFile,
}

/// How to prove a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// By saying it; over TLS only.
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    brokers: Vec<String>,
    topic: String,
    #[serde(default)]
    format: Encoding,
    max_message_bytes: Option<usize>,
    sasl: Option<Sasl>,
    tls: Option<TlsConfig>,
    timeout: Option<Span>,
}

impl TryFrom<Fields> for Config {
    type Error = FieldError;

    fn try_from(fields: Fields) -> Result<Self, FieldError> {
        let address = |broker: &String| {
            let parts = broker.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if fields.brokers.is_empty() || !fields.brokers.iter().all(address) {
            return Err(FieldError::new(
                "brokers",
                "is empty, or one is not HOST:PORT",
            ));
        }
        // https://kafka.apache.org/documentation/#topicconfigs: legal characters and length.
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=249).contains(&fields.topic.len()) || !fields.topic.bytes().all(legal) {
            return Err(FieldError::new("topic", "is no name of a topic"));
        }
        let max_message_bytes = fields.max_message_bytes.unwrap_or(1_000_000);
        if !(1 << 10..=64 << 20).contains(&max_message_bytes) {
            return Err(FieldError::new(
                "max_message_bytes",
                "is not 1024 to 67108864",
            ));
        }
        let plain = |sasl: &Sasl| sasl.mechanism == Mechanism::Plain;
        if fields.sasl.as_ref().is_some_and(plain) && fields.tls.is_none() {
            return Err(FieldError::new(
                "sasl.mechanism",
                "plain goes over tls only",
            ));
        }
        let timeout = patience(fields.timeout, Duration::from_secs(30))?;
        Ok(Self {
            brokers: fields.brokers,
            topic: fields.topic,
            format: fields.format,
            max_message_bytes,
            sasl: fields.sasl,
            tls: fields.tls,
            timeout,
        })
    }
}
