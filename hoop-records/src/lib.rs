//! Audit records, generated from `proto/hoop/v1/record.proto`, and how they look as JSON.
//!
//! The JSON has the definition's field names. Fields at their default are left out, except
//! `optional` ones that are set; enums are lower-case words; `time_dt` is RFC 3339 in UTC.

mod json;
mod time;

#[expect(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated: comments are the definition's and prost's, what has none names itself"
)]
mod parts {
    use super::{is_default, serialize_attributes, serialize_id, serialize_result};

    include!(concat!(env!("OUT_DIR"), "/parts/hoop.v1.rs"));
}

#[expect(
    missing_docs,
    unreachable_pub,
    clippy::doc_markdown,
    reason = "generated: prost documents no oneof, and the module of one is public"
)]
mod top {
    include!(concat!(env!("OUT_DIR"), "/record/hoop.v1.rs"));
}

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};
use serde::ser::{Error as _, Serialize, SerializeMap as _, SerializeStruct as _, Serializer};
use serde_json::value::RawValue;

pub use parts::{
    Actor, Ancestor, ApiActivity, Attribute, Body, ConnectionInfo, Coverage, Endpoint, File, Gap,
    HookStatus, HttpHeader, HttpRequest, HttpResponse, Kind, Lifecycle, Link, LogChange, Masked,
    Message as ApiMessage, Namespaces, NetworkActivity, Origin, ParentProcess, Plaintext, Process,
    ProcessActivity, Result, Session, SocketActivity, TlsConnection, Trace, Url, User, Verdict,
    Workload,
};
pub use top::Record;
pub use top::record::Fact;

pub use json::render;
pub use time::Rfc3339;

/// A message that many records share. Cloning counts a reference; the JSON is rendered once.
pub struct Shared<T>(Arc<Inner<T>>);

struct Inner<T> {
    message: T,
    json: OnceLock<Box<RawValue>>,
}

impl<T> Shared<T> {
    /// Takes the message.
    pub fn new(message: T) -> Self {
        Self(Arc::new(Inner {
            message,
            json: OnceLock::new(),
        }))
    }
}

impl<T: Clone> Shared<T> {
    /// The message, to be changed: what was rendered is forgotten.
    fn to_mut(&mut self) -> &mut T {
        let inner = Arc::make_mut(&mut self.0);
        inner.json = OnceLock::new();
        &mut inner.message
    }
}

impl<T: Clone> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Self {
            message: self.message.clone(),
            json: OnceLock::new(),
        }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.message
    }
}

impl<T> From<T> for Shared<T> {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.message.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.message == other.0.message
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: std::hash::Hash> std::hash::Hash for Shared<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.message.hash(state);
    }
}

impl<T: Message + Clone + Default> Message for Shared<T> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.0.message.encode_raw(buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> std::result::Result<(), DecodeError> {
        self.to_mut().merge_field(tag, wire_type, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.message.encoded_len()
    }

    fn clear(&mut self) {
        self.to_mut().clear();
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if let Some(json) = self.0.json.get() {
            return json.serialize(serializer);
        }
        let json = serde_json::value::to_raw_value(&self.0.message).map_err(S::Error::custom)?;
        self.0.json.get_or_init(|| json).serialize(serializer)
    }
}

impl Record {
    /// The record as the audit log takes it: without its number and what came before it, which are the
    /// log's to give.
    #[must_use]
    pub fn encode_body(mut self) -> Vec<u8> {
        self.number = 0;
        self.previous = 0;
        self.encode_to_vec()
    }

    /// Reads a whole record, as the log keeps it.
    ///
    /// # Errors
    ///
    /// When the bytes are none.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        Self::decode(bytes)
    }
}

/// Written by hand: serde flattens `fact` through a buffer of its own, which costs more than all
/// the rest.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("Record", 13)?;
        macro_rules! field {
            ($name:ident) => {
                if !is_default(&self.$name) {
                    record.serialize_field(stringify!($name), &self.$name)?;
                }
            };
        }
        field!(number);
        record.serialize_field("time_dt", &Rfc3339(self.time_dt))?;
        field!(boot_time_ns);
        record.serialize_field("kind", self.kind().word())?;
        field!(class_uid);
        field!(activity_id);
        // Not `field!`: a set message is written even if it is empty, and comparing costs.
        if let Some(origin) = &self.origin {
            record.serialize_field("origin", origin)?;
        }
        if let Some(workload) = &self.workload {
            record.serialize_field("workload", workload)?;
        }
        if let Some(actor) = &self.actor {
            record.serialize_field("actor", actor)?;
        }
        if let Some(verdict) = &self.verdict {
            record.serialize_field("verdict", verdict)?;
        }
        field!(attribution);
        if let Some(trace) = &self.trace {
            record.serialize_field("trace", trace)?;
        }
        match &self.fact {
            Some(Fact::Process(fact)) => record.serialize_field("process", fact)?,
            Some(Fact::Network(fact)) => record.serialize_field("network", fact)?,
            Some(Fact::Socket(fact)) => record.serialize_field("socket", fact)?,
            Some(Fact::Gap(fact)) => record.serialize_field("gap", fact)?,
            Some(Fact::Lifecycle(fact)) => record.serialize_field("lifecycle", fact)?,
            Some(Fact::Api(fact)) => record.serialize_field("api", fact)?,
            Some(Fact::Plaintext(fact)) => record.serialize_field("plaintext", fact)?,
            Some(Fact::Coverage(fact)) => record.serialize_field("coverage", fact)?,
            Some(Fact::Link(fact)) => record.serialize_field("link", fact)?,
            Some(Fact::Log(fact)) => record.serialize_field("log", fact)?,
            None => {}
        }
        record.end()
    }
}

impl Kind {
    /// The kind as JSON has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Fork => "fork",
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::Connect => "connect",
            Self::Packet => "packet",
            Self::Socket => "socket",
            Self::Reset => "reset",
            Self::Move => "move",
            Self::Gap => "gap",
            Self::Workload => "workload",
            Self::Policy => "policy",
            Self::Agent => "agent",
            Self::Tamper => "tamper",
            Self::Api => "api",
            Self::Plaintext => "plaintext",
            Self::Coverage => "coverage",
            Self::Link => "link",
            Self::Log => "log",
        }
    }
}

impl Result {
    /// The result as JSON has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Shadow => "shadow",
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn serialize_result<S: Serializer>(
    result: &i32,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let result = Result::try_from(*result).unwrap_or_default();
    serializer.serialize_str(result.word())
}

/// Bytes, written as lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn serialize_id<S: Serializer>(id: &[u8], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&Hex(id))
}

/// As one object, each value as the JSON that it is.
fn serialize_attributes<S: Serializer>(
    attributes: &[Attribute],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(attributes.len()))?;
    for attribute in attributes {
        match serde_json::from_str::<&RawValue>(&attribute.value) {
            Ok(value) => map.serialize_entry(&attribute.key, value)?,
            Err(_) => map.serialize_entry(&attribute.key, &attribute.value)?,
        }
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_names_without_their_prefix() {
        for number in 0..=18 {
            let kind = Kind::try_from(number).unwrap_or_default();
            assert_eq!(
                format!("KIND_{}", kind.word().to_uppercase()),
                kind.as_str_name()
            );
        }
        assert!(Kind::try_from(19).is_err(), "a new kind needs a word here");
        for number in 0..=3 {
            let result = Result::try_from(number).unwrap_or_default();
            assert_eq!(
                format!("RESULT_{}", result.word().to_uppercase()),
                result.as_str_name()
            );
        }
    }

    #[test]
    fn a_shared_part_survives_the_wire_and_forgets_what_it_rendered() -> anyhow::Result<()> {
        let workload = |policy: &str| Workload {
            cgroup_id: 7,
            policy: policy.into(),
            ..Workload::default()
        };
        let record = Record {
            number: 1,
            workload: Some(workload("a").into()),
            ..Record::default()
        };
        assert_eq!(Record::decode(&*record.encode_to_vec())?, record);

        let mut shared = Shared::new(workload("a"));
        assert_eq!(
            serde_json::to_string(&shared)?,
            r#"{"cgroup_id":7,"policy":"a"}"#
        );
        shared.to_mut().policy = "b".into();
        assert_eq!(
            serde_json::to_string(&shared)?,
            r#"{"cgroup_id":7,"policy":"b"}"#
        );
        Ok(())
    }
}
