//! What was found, without what it is.

use std::{fmt, sync::Arc};

use crate::Action;

/// Where a secret was and what became of it. It never holds the secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The class, as in the placeholder: `EMAIL`.
    pub class: Arc<str>,
    /// The detector or custom rule that found it.
    pub rule: Arc<str>,
    /// Where it starts in the input, in bytes from the start.
    pub start: u64,
    /// Where it ends in the input, exclusive.
    pub end: u64,
    /// What was done with it.
    pub action: Action,
    /// How it was written.
    pub via: Via,
    /// How many bytes of output stand for it: with `start` and `end` the map from input to output.
    pub masked_len: usize,
}

/// How a secret was written.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Via {
    /// As it is.
    #[default]
    Plain,
    /// With the escapes of a JSON string in it.
    JsonEscaped,
    /// Inside base64 (RFC 4648).
    Base64,
    /// Percent-encoded (RFC 3986).
    PercentEncoded,
}

/// Masked bytes and what was found in them, in order.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Masked {
    /// The output.
    pub bytes: Vec<u8>,
    /// The findings, by `start`; none overlaps another.
    pub findings: Vec<Finding>,
}

impl fmt::Debug for Masked {
    /// An action can be to allow: the bytes stay out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masked")
            .field("len", &self.bytes.len())
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}
