//! Random moments and places, from a seed that a failed test shows.

use std::time::{Duration, SystemTime};

/// xorshift64 (Marsaglia 2003).
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl Random {
    /// From the time, which is written to standard error.
    ///
    /// # Panics
    ///
    /// Before 1970.
    #[must_use]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = now.expect("after 1970").as_nanos() as u64 | 1;
        eprintln!("seed {seed}");
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A time between none and `whole`.
    pub fn part_of(&mut self, whole: Duration) -> Duration {
        whole * (self.next() >> 44) as u32 / (1 << 20)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
