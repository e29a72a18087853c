//! Lines from bytes in pieces.

/// Splits bytes into lines, of which one is kept at a time.
#[derive(Debug)]
pub(crate) struct Lines {
    partial: Vec<u8>,
    limit: usize,
    /// The line is longer than the limit; the rest of it is passed over.
    passing: bool,
    /// A line was longer than the limit.
    truncated: bool,
}

impl Lines {
    /// Keeps lines of up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            partial: Vec::new(),
            limit,
            passing: false,
            truncated: false,
        }
    }

    /// Calls `f` with every line that is now complete, without its LF. Of one longer than the
    /// limit, with its start.
    pub(crate) fn push(&mut self, bytes: &[u8], mut f: impl FnMut(&[u8])) {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            if self.partial.is_empty() && piece.len() <= self.limit && !self.passing {
                f(piece);
                continue;
            }
            self.add(piece);
            f(&self.partial);
            self.partial.clear();
            self.passing = false;
        }
        self.add(last);
    }

    /// Calls `f` with what stands behind the last LF; whether a line was too long.
    pub(crate) fn end(self, f: impl FnOnce(&[u8])) -> bool {
        if !self.partial.is_empty() {
            f(&self.partial);
        }
        self.truncated
    }

    /// Whether a line was too long since this was last asked.
    pub(crate) fn take_truncated(&mut self) -> bool {
        std::mem::take(&mut self.truncated)
    }

    /// Whether nothing of a line is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_empty() && !self.passing
    }

    /// Forgets what is kept of a line.
    pub(crate) fn clear(&mut self) {
        self.partial = Vec::new();
        self.passing = false;
    }

    /// Passes over the rest of the line, and forgets its start.
    pub(crate) fn pass(&mut self) {
        self.partial.clear();
        self.passing = true;
    }

    fn add(&mut self, piece: &[u8]) {
        if self.passing {
            return;
        }
        let room = self.limit - self.partial.len();
        if piece.len() > room {
            self.passing = true;
            self.truncated = true;
        }
        self.partial
            .extend_from_slice(&piece[..piece.len().min(room)]);
    }
}
