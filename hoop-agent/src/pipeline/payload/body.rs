//! A body as a record holds it: masked once it is whole, up to a limit.

use std::sync::Arc;

use hoop_mask::Masker;

use crate::pipeline::masking::{self, Findings};
use hoop_records as proto;

/// Bytes by which it is judged whether a body is text.
const TASTE: usize = 512;

/// A body that is not at its end yet.
pub(super) struct Body {
    masker: Arc<Masker>,
    /// As it was sent: whether a record will hold it, or what it says, shows at the end only. `None`: it
    /// is no text, or is not to be kept.
    text: Option<Vec<u8>>,
    size: u64,
    limit: usize,
}

impl Body {
    /// A body of which up to `limit` bytes are kept, to be masked by `masker`.
    pub(super) fn new(masker: &Arc<Masker>, limit: usize) -> Self {
        Self {
            masker: Arc::clone(masker),
            text: Some(Vec::new()),
            size: 0,
            limit,
        }
    }

    /// Stops keeping the text: something else has what it says.
    pub(super) fn only_count(&mut self) {
        self.text = None;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.size == 0 && is_binary(bytes) {
            self.text = None;
        }
        self.size += bytes.len() as u64;
        if let Some(text) = &mut self.text {
            let room = self.limit.saturating_sub(text.len());
            text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    pub(super) fn finish(self, findings: &mut Findings) -> proto::Body {
        let Some(text) = self.text else {
            return proto::Body {
                text: String::new(),
                size: self.size,
                truncated: self.size > 0,
            };
        };
        let truncated = self.size > text.len() as u64;
        proto::Body {
            text: masking::body(&self.masker, &text, !truncated, findings),
            size: self.size,
            truncated,
        }
    }
}

/// Whether bytes are no text: control characters that no text has.
fn is_binary(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .take(TASTE)
        .any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127))
}
