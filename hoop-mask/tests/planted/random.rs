//! Numbers that look random and are the same in each run (splitmix64).

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn pick<'item, Item: ?Sized>(&mut self, items: &[&'item Item]) -> &'item Item {
        items[self.below(items.len())]
    }

    /// `len` characters of an alphabet.
    pub fn text(&mut self, alphabet: &str, len: usize) -> String {
        (0..len)
            .map(|_| alphabet.as_bytes()[self.below(alphabet.len())] as char)
            .collect()
    }

    /// `#` becomes a digit, `@` a lower-case letter, `^` an upper-case one, anything else stays.
    pub fn shape(&mut self, shape: &str) -> String {
        let fill = |char| match char {
            '#' => self.text("0123456789", 1),
            '@' => self.text("abcdefghijklmnopqrstuvwxyz", 1),
            '^' => self.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 1),
            other => other.to_string(),
        };
        shape.chars().map(fill).collect()
    }
}
