//! A body as a record holds it: masked as it comes, up to a limit.

use std::sync::Arc;

use hoop_mask::{Masker, Stream};

use crate::{pipeline::masking::Findings, proto};

/// Bytes by which it is judged whether a body is text.
const TASTE: usize = 512;

/// A body that is not at its end yet.
pub(super) struct Body {
    /// `None`: it is no text, or is not to be kept.
    text: Option<Stream>,
    masked: Vec<u8>,
    size: u64,
    limit: usize,
    truncated: bool,
}

impl Body {
    /// A body of which up to `limit` bytes are kept, masked by `masker`.
    pub(super) fn new(masker: &Arc<Masker>, limit: usize) -> Self {
        Self {
            text: Some(masker.stream()),
            masked: Vec::new(),
            size: 0,
            limit,
            truncated: false,
        }
    }

    /// Stops keeping the text: something else has what it says.
    pub(super) fn only_count(&mut self) {
        self.text = None;
        self.masked = Vec::new();
    }

    pub(super) fn push(&mut self, bytes: &[u8], findings: &mut Findings) {
        if self.size == 0 && is_binary(bytes) {
            self.text = None;
        }
        self.size += bytes.len() as u64;
        let Some(stream) = &mut self.text else {
            return;
        };
        if self.truncated {
            return;
        }
        let room = self.limit.saturating_sub(self.masked.len());
        let taken = &bytes[..bytes.len().min(room)];
        let mut found = Vec::new();
        stream.push(taken, &mut self.masked, &mut found);
        findings.add(&found);
        if taken.len() < bytes.len() || self.masked.len() >= self.limit {
            // What the stream still holds back may be half of a secret.
            self.truncated = true;
        }
    }

    pub(super) fn finish(mut self, findings: &mut Findings) -> proto::Body {
        let mut truncated = self.truncated;
        match self.text.take() {
            Some(stream) if !truncated => {
                let mut found = Vec::new();
                stream.finish(&mut self.masked, &mut found);
                findings.add(&found);
            }
            Some(_) => {}
            None => truncated = self.size > 0,
        }
        proto::Body {
            text: String::from_utf8_lossy(&self.masked).into_owned(),
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
