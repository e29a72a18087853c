//! What filters and metrics need of an encoded record, without decoding the rest of it.

use bytes::Buf;
use prost::DecodeError;
use prost::encoding::{WireType, decode_key, decode_varint};

/// The bytes are no protobuf message.
#[derive(Debug, thiserror::Error)]
#[error("not an encoded record")]
pub(crate) struct Malformed;

impl From<DecodeError> for Malformed {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

/// The head of an encoded `hoop.v1.Record`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// `Record.time_dt`: nanoseconds since 1970.
    pub time: i64,
    /// `Record.kind`.
    pub kind: i32,
    /// `Record.verdict.result`; `None` where nothing was judged.
    pub result: Option<i32>,
    /// `Record.workload`, encoded.
    workload: &'a [u8],
    /// `Record.actor`, encoded.
    actor: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads the head.
    pub(crate) fn read(record: &'a [u8]) -> Result<Self, Malformed> {
        let mut head = Self::default();
        for field in Fields(record) {
            match field? {
                #[expect(
                    clippy::cast_possible_wrap,
                    reason = "int64 is sent as its two's complement"
                )]
                (2, Value::Varint(time)) => head.time = time as i64,
                (4, Value::Varint(kind)) => head.kind = enum_number(kind),
                (8, Value::Bytes(workload)) => head.workload = workload,
                (9, Value::Bytes(actor)) => head.actor = actor,
                (10, Value::Bytes(verdict)) => head.result = Some(result(verdict)?),
                _ => {}
            }
        }
        Ok(head)
    }

    /// `Record.workload.cgroup`, `policy` and `identity`; empty where there is none.
    pub(crate) fn workload(&self) -> Result<[&'a [u8]; 3], Malformed> {
        let mut texts = [&[][..]; 3];
        for field in Fields(self.workload) {
            if let (tag @ 2..=4, Value::Bytes(text)) = field? {
                texts[tag as usize - 2] = text;
            }
        }
        Ok(texts)
    }

    /// `Record.actor.session.uid`; empty where there is none.
    pub(crate) fn session(&self) -> Result<&'a [u8], Malformed> {
        let session = last_bytes(self.actor, 2)?;
        last_bytes(session, 1)
    }
}

fn result(verdict: &[u8]) -> Result<i32, Malformed> {
    let mut result = 0;
    for field in Fields(verdict) {
        if let (1, Value::Varint(value)) = field? {
            result = enum_number(value);
        }
    }
    Ok(result)
}

/// The last field of that number, as protobuf has it for a field that is there twice.
fn last_bytes(message: &[u8], tag: u32) -> Result<&[u8], Malformed> {
    let mut last = &[][..];
    for field in Fields(message) {
        match field? {
            (number, Value::Bytes(bytes)) if number == tag => last = bytes,
            _ => {}
        }
    }
    Ok(last)
}

/// Enums are sent as int64; what does not fit is no value that is known.
fn enum_number(value: u64) -> i32 {
    i32::try_from(value).unwrap_or_default()
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The fields of an encoded message, in their order. Ends at the first that is not well formed.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let (tag, wire_type) = decode_key(&mut self.0)?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(decode_varint(&mut self.0)?),
            WireType::SixtyFourBit => {
                self.take(8)?;
                Value::Fixed
            }
            WireType::ThirtyTwoBit => {
                self.take(4)?;
                Value::Fixed
            }
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0)?;
                Value::Bytes(self.take(length)?)
            }
            // No record has groups.
            WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
        };
        Ok((tag, value))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.0.has_remaining() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use hoop_records::{Actor, Record, Session, Verdict, Workload};
    use proptest::prelude::*;
    use prost::Message as _;

    proptest! {
        #[test]
        fn the_head_is_what_decoding_gives(
            time in any::<i64>(),
            kind in 0..20_i32,
            result in prop::option::of(0..4_i32),
            texts in prop::option::of(any::<[String; 3]>()),
            session in prop::option::of(any::<String>()),
        ) {
            let record = Record {
                number: 7,
                time_dt: time,
                kind,
                previous: 9,
                verdict: result.map(|result| Verdict { result, ..Verdict::default() }),
                workload: texts.clone().map(|[cgroup, policy, identity]| {
                    Workload { cgroup_id: 3, cgroup, policy, identity, ..Workload::default() }.into()
                }),
                actor: session.clone().map(|uid| {
                    Actor { session: Some(Session { uid }), ..Actor::default() }.into()
                }),
                ..Record::default()
            };
            let bytes = record.encode_to_vec();
            let head = Head::read(&bytes).unwrap();
            prop_assert_eq!((head.time, head.kind, head.result), (time, kind, result));
            let texts = texts.unwrap_or_default();
            prop_assert_eq!(head.workload().unwrap(), [0, 1, 2].map(|at| texts[at].as_bytes()));
            let session = session.unwrap_or_default();
            prop_assert_eq!(head.session().unwrap(), session.as_bytes());
        }

        #[test]
        fn hostile_bytes_neither_panic_nor_loop(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(head) = Head::read(&bytes) {
                let _ = (head.workload(), head.session());
            }
        }
    }
}
