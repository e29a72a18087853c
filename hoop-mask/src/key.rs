//! The operator's key, and the digests by which a value can be followed and not read.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A key for placeholders: 32 bytes, wiped when it is dropped, and an id by which it is rotated.
#[derive(Clone)]
pub struct Key {
    id: String,
    /// The state after the key: what is left of the key is wiped with it.
    state: Hmac<Sha256>,
}

impl Key {
    /// A key of that id. The caller wipes his own copy of `bytes`.
    #[must_use]
    pub fn new(id: impl Into<String>, bytes: &[u8; 32]) -> Self {
        Self {
            id: id.into(),
            state: Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length"),
        }
    }

    /// What names this key and tells nothing of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A digest of a value of `class` that is still to come.
    pub(crate) fn digest(&self, class: &str) -> Digest {
        let mut state = self.state.clone();
        state.update(class.as_bytes());
        state.update(&[0]);
        Digest { state }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// HMAC-SHA256 (RFC 2104) of class and value, cut to three bytes: RFC 2104, section 5.
#[derive(Clone)]
pub(crate) struct Digest {
    state: Hmac<Sha256>,
}

impl Digest {
    pub(crate) fn update(&mut self, value: &[u8]) {
        self.state.update(value);
    }

    pub(crate) fn finish(self) -> [u8; 3] {
        let tag = self.state.finalize().into_bytes();
        [tag[0], tag[1], tag[2]]
    }
}
