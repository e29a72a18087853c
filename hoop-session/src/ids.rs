//! Ids by W3C Trace Context (<https://www.w3.org/TR/trace-context/>), derived and never drawn: whoever has
//! the records and the seed finds the same ones.

use std::fmt;

use hoop_records::Hex;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A trace id: a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// A span id: a process, a request with its response, or a call of a tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

/// Derives ids. Every id is the front of SHA-256 over a domain, the seed and what it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    seed: [u8; 16],
}

impl Ids {
    /// With the seed of a node and boot: without it, two nodes could have one id for two sessions.
    #[must_use]
    pub fn new(seed: [u8; 16]) -> Self {
        Self { seed }
    }

    /// Of a session, by its uid.
    #[must_use]
    pub fn trace(&self, session: &str) -> TraceId {
        TraceId(self.derive("hoop.trace.v1", &[session.as_bytes()]))
    }

    /// Of a process, by its uid.
    #[must_use]
    pub fn process(&self, uid: &str) -> SpanId {
        SpanId(self.derive("hoop.span.process.v1", &[uid.as_bytes()]))
    }

    /// Of a request, by its session, its connection, when it began in nanoseconds since boot, and a number that
    /// tells it from others of the same moment.
    #[must_use]
    pub fn request(&self, session: &str, connection: &str, boot_ns: u64, number: u64) -> SpanId {
        SpanId(self.derive(
            "hoop.span.request.v1",
            &[
                session.as_bytes(),
                connection.as_bytes(),
                &boot_ns.to_le_bytes(),
                &number.to_le_bytes(),
            ],
        ))
    }

    /// Of a call of a tool, by the request whose response asked for it, the call's id and its place among the
    /// calls of that response: ids may be absent or double.
    #[must_use]
    pub fn call(request: SpanId, id: &str, place: usize) -> SpanId {
        // The request's span has the seed in it.
        let unseeded = Self::new([0; 16]);
        SpanId(unseeded.derive(
            "hoop.span.call.v1",
            &[&request.0, id.as_bytes(), &(place as u64).to_le_bytes()],
        ))
    }

    fn derive<const N: usize>(&self, domain: &str, parts: &[&[u8]]) -> [u8; N] {
        let mut hash = Sha256::new();
        hash.update(domain);
        hash.update(self.seed);
        for part in parts {
            // A length before each: no two lists of parts are the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut id = [0; N];
        id.copy_from_slice(&digest[..N]);
        if id == [0; N] {
            // W3C Trace Context calls it invalid.
            id[N - 1] = 1;
        }
        id
    }
}

impl SpanId {
    /// From a record's bytes. `None` if they are not 8, or all zero.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let id: [u8; 8] = bytes.try_into().ok()?;
        (id != [0; 8]).then_some(Self(id))
    }
}

impl TraceId {
    /// From a record's bytes. `None` if they are not 16, or all zero.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let id: [u8; 16] = bytes.try_into().ok()?;
        (id != [0; 16]).then_some(Self(id))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
