//! How a sink is configured.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

use crate::filter::Filter;
use crate::sinks::Target;

/// A sink: `{ name, kind, filter, from, batch, backoff, ... }`, the rest by its kind. Unknown fields are errors,
/// and an error begins with the path of the field. A secret is never in it: only the path of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkConfig {
    /// Its name, unique on the node: 1 to 63 of `a-z`, `0-9`, `-` and `_`. Names its cursor and its metrics.
    pub name: String,
    /// Which records it takes.
    pub filter: Filter,
    /// Where it begins when it has no cursor yet.
    pub from: From,
    /// How many records it takes at once.
    pub batch: BatchConfig,
    /// How long it waits after a failure.
    pub backoff: BackoffConfig,
    /// Where records go, by the field `kind`.
    pub target: Target,
}

/// Where a sink without a cursor begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// With the oldest record that is kept.
    #[default]
    Oldest,
    /// With the next that is written.
    Newest,
}

/// When a batch is full. Whatever comes first ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Records: 1 to 10,000.
    pub records: usize,
    /// Bytes of encoded records: 1 KiB to 16 MiB. A larger record goes alone.
    pub bytes: usize,
    /// How long the first record of a batch waits for others, up to a minute.
    pub delay: Span,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            records: 500,
            bytes: 1 << 20,
            delay: Span(Duration::from_millis(100)),
        }
    }
}

/// How long to wait after a failure: a random time from 0 to a bound ("full jitter"), which is `min` after the
/// first failure and doubles with each up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackoffConfig {
    /// The first bound, at least 1 ms.
    pub min: Span,
    /// The last bound, up to a day.
    pub max: Span,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            min: Span(Duration::from_millis(200)),
            max: Span(Duration::from_secs(60)),
        }
    }
}

/// A length of time: a whole number and `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// The TLS of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the authorities that the server's certificate must be from. The system's, if absent.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's certificate and what chains it. With `key`, or not at all.
    pub cert: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
}

/// How a record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The record's own JSON.
    #[default]
    Json,
    /// JSON of the Open Cybersecurity Schema Framework.
    Ocsf,
}

/// How a record is written where messages are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// The record's own JSON.
    #[default]
    Json,
    /// JSON of the Open Cybersecurity Schema Framework.
    Ocsf,
    /// The encoded `hoop.v1.Record`, as the log has it.
    Protobuf,
}

/// The fields that every sink has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    name: String,
    kind: String,
    #[serde(default)]
    filter: Filter,
    #[serde(default)]
    from: From,
    #[serde(default)]
    batch: BatchConfig,
    #[serde(default)]
    backoff: BackoffConfig,
}

impl<'de> Deserialize<'de> for SinkConfig {
    /// By hand: serde can refuse unknown fields only of a struct that flattens no other.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let mut common = Map::new();
        for name in ["name", "kind", "filter", "from", "batch", "backoff"] {
            common.extend(fields.remove_entry(name));
        }
        let common: Common = from_fields(common)?;
        let target = Target::from_fields(&common.kind, fields)?;
        let config = Self {
            name: common.name,
            filter: common.filter,
            from: common.from,
            batch: common.batch,
            backoff: common.backoff,
            target,
        };
        config.check().map_err(D::Error::custom)?;
        Ok(config)
    }
}

impl SinkConfig {
    fn check(&self) -> Result<(), FieldError> {
        let named = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if !(1..=63).contains(&self.name.len()) || !self.name.bytes().all(named) {
            return Err(FieldError::new(
                "name",
                format_args!("{:?} is not 1 to 63 of a-z, 0-9, - and _", self.name),
            ));
        }
        if !(1..=10_000).contains(&self.batch.records) {
            return Err(FieldError::new("batch.records", "is not 1 to 10000"));
        }
        if !(1 << 10..=16 << 20).contains(&self.batch.bytes) {
            return Err(FieldError::new("batch.bytes", "is not 1024 to 16777216"));
        }
        if self.batch.delay.0 > Duration::from_secs(60) {
            return Err(FieldError::new("batch.delay", "is longer than 60s"));
        }
        if self.backoff.min.0 < Duration::from_millis(1) {
            return Err(FieldError::new("backoff.min", "is shorter than 1ms"));
        }
        if self.backoff.max < self.backoff.min || self.backoff.max.0 > Duration::from_secs(86_400) {
            return Err(FieldError::new("backoff.max", "is not backoff.min to 24h"));
        }
        Ok(())
    }
}

/// What is wrong with a field.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {what}")]
pub(crate) struct FieldError {
    field: &'static str,
    what: String,
}

impl FieldError {
    pub(crate) fn new(field: &'static str, what: impl fmt::Display) -> Self {
        Self {
            field,
            what: what.to_string(),
        }
    }
}

/// How long one exchange with the far side may take, from the field `timeout`.
pub(crate) fn patience(stated: Option<Span>, default: Duration) -> Result<Duration, FieldError> {
    let timeout = stated.map_or(default, |span| span.0);
    if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&timeout) {
        return Err(FieldError::new("timeout", "is not 100ms to 10m"));
    }
    Ok(timeout)
}

/// A value from the fields of an object. An error begins with the path of the field.
pub(crate) fn from_fields<T, E>(fields: Map<String, Value>) -> Result<T, E>
where
    T: serde::de::DeserializeOwned,
    E: serde::de::Error,
{
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(E::custom)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let milliseconds: Option<u64> = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let number = number.parse().ok();
        let span = number
            .zip(milliseconds)
            .and_then(|(n, unit): (u64, _)| n.checked_mul(unit));
        span.map(|span| Self(Duration::from_millis(span)))
            .ok_or_else(|| {
                D::Error::custom(format_args!(
                    "{text:?} is no length of time: a whole number and ms, s, m or h"
                ))
            })
    }
}
