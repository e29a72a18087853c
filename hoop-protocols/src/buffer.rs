//! Bytes that wait for more.

/// A queue of bytes: appended at the end, consumed from the start, both in amortized constant time a
/// byte.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

/// What an empty buffer may keep allocated.
const KEPT: usize = 16 << 10;

impl Buffer {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            self.clear();
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Empties it, and says how many bytes there were.
    pub fn clear(&mut self) -> usize {
        let count = self.len();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.start = 0;
        count
    }
}
