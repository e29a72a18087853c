//! HPACK, RFC 7541: decoding, also from the middle of a connection on.
//!
//! The dynamic table is a queue whose newest entry has the lowest index. One that was not seen from
//! its start has entries of which nothing is known behind those that are known; an index into those
//! gives a field that is unknown. So the loss of a block does not spoil what comes later for long.

mod huffman;
mod statics;

use std::collections::VecDeque;

use self::statics::STATIC;

/// The decoder of one direction.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Newest first.
    table: VecDeque<Entry>,
    /// Of the table, by the measure of RFC 7541 section 4.1.
    size: usize,
    /// What the encoder may keep.
    largest: usize,
    /// What is kept here.
    limit: usize,
    /// Every entry that the encoder has is in the table.
    complete: bool,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// A block that breaks RFC 7541; what the table is after it, nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

#[derive(Debug)]
struct Entry {
    name: Option<Box<[u8]>>,
    value: Option<Box<[u8]>>,
}

/// The size of a table before anything else was said.
const DEFAULT_SIZE: usize = 4096;

/// What an entry counts beside its text.
const OVERHEAD: usize = 32;

impl Decoder {
    /// For a direction that is seen from its start.
    pub fn new(limit: usize) -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            largest: DEFAULT_SIZE,
            limit,
            complete: true,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Says that a part of what was encoded is missing.
    pub fn lose(&mut self) {
        self.table.clear();
        self.size = 0;
        self.largest = usize::MAX;
        self.complete = false;
    }

    /// Decodes a whole block, field by field. `None` is a part that is unknown.
    pub fn decode(
        &mut self,
        block: &[u8],
        field: &mut dyn FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<(), Malformed> {
        let result = self.fields(block, field);
        if result.is_err() {
            self.lose();
        }
        result
    }

    fn fields(
        &mut self,
        mut block: &[u8],
        field: &mut dyn FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<(), Malformed> {
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    let (name, value) = self.entry(index)?;
                    field(name, value);
                }
                0x40..=0x7f => self.literal(&mut block, 6, true, field)?,
                0x20..=0x3f => {
                    let size = integer(&mut block, 5)?;
                    self.resize(size);
                }
                ..=0x1f => self.literal(&mut block, 4, false, field)?,
            }
        }
        Ok(())
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix: u32,
        keep: bool,
        field: &mut dyn FnMut(Option<&[u8]>, Option<&[u8]>),
    ) -> Result<(), Malformed> {
        let index = integer(block, prefix)?;
        let mut name = std::mem::take(&mut self.name);
        let mut value = std::mem::take(&mut self.value);
        name.clear();
        value.clear();
        let known = match index {
            0 => {
                string(block, &mut name)?;
                true
            }
            _ => match self.entry(index)?.0 {
                Some(indexed) => {
                    name.extend_from_slice(indexed);
                    true
                }
                None => false,
            },
        };
        string(block, &mut value)?;
        field(known.then_some(&name), Some(&value));
        if keep {
            self.insert(known.then_some(&name), &value);
        }
        self.name = name;
        self.value = value;
        Ok(())
    }

    /// The name and the value of an index.
    fn entry(&self, index: usize) -> Result<(Option<&[u8]>, Option<&[u8]>), Malformed> {
        let place = index.checked_sub(1).ok_or(Malformed)?;
        if let Some((name, value)) = STATIC.get(place) {
            return Ok((Some(name.as_bytes()), Some(value.as_bytes())));
        }
        match self.table.get(place - STATIC.len()) {
            Some(entry) => Ok((entry.name.as_deref(), entry.value.as_deref())),
            None if self.complete => Err(Malformed),
            None => Ok((None, None)),
        }
    }

    fn insert(&mut self, name: Option<&[u8]>, value: &[u8]) {
        let size = OVERHEAD + name.map_or(0, <[u8]>::len) + value.len();
        if size > self.largest {
            // RFC 7541 section 4.4: it empties the table.
            self.table.clear();
            self.size = 0;
            self.complete = true;
            return;
        }
        if size > self.limit {
            // It has its place, so that the entries after it have theirs.
            self.table.clear();
            self.table.push_front(Entry {
                name: None,
                value: None,
            });
            self.size = OVERHEAD;
            self.complete = false;
            return;
        }
        self.table.push_front(Entry {
            name: name.map(Into::into),
            value: Some(value.into()),
        });
        self.size += size;
        self.evict();
    }

    fn resize(&mut self, size: usize) {
        self.largest = size;
        self.evict();
        // Whatever there was, now there is nothing.
        self.complete |= size < OVERHEAD;
    }

    fn evict(&mut self) {
        while self.size > self.largest.min(self.limit) {
            self.complete &= self.size > self.largest;
            let Some(entry) = self.table.pop_back() else {
                break;
            };
            self.size -= entry.size();
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        let length = |part: &Option<Box<[u8]>>| part.as_ref().map_or(0, |part| part.len());
        OVERHEAD + length(&self.name) + length(&self.value)
    }
}

/// An integer, RFC 7541 section 5.1, of which the first byte has `prefix` bits.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Malformed> {
    let mask = (1u32 << prefix) - 1;
    let mut next = || {
        let (byte, rest) = block.split_first().ok_or(Malformed)?;
        *block = rest;
        Ok(u32::from(*byte))
    };
    let mut value = next()? & mask;
    if value < mask {
        return Ok(value as usize);
    }
    // 28 bits are more than any table or block.
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value as usize);
        }
    }
    Err(Malformed)
}

/// A string, RFC 7541 section 5.2, appended.
fn string(block: &mut &[u8], to: &mut Vec<u8>) -> Result<(), Malformed> {
    let huffman = block.first().ok_or(Malformed)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Malformed)?;
    *block = rest;
    if huffman {
        return huffman::decode(text, to).ok_or(Malformed);
    }
    to.extend_from_slice(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    fn fields(decoder: &mut Decoder, hex: &str) -> Result<Vec<String>, Malformed> {
        let digits: Vec<_> = hex.chars().filter(|it| !it.is_whitespace()).collect();
        let byte =
            |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        let block: Vec<_> = digits.chunks(2).map(byte).collect();
        let mut fields = Vec::new();
        let text = |part: Option<&[u8]>| {
            part.map_or("?".into(), |part| String::from_utf8(part.to_vec()).unwrap())
        };
        decoder.decode(&block, &mut |name, value| {
            fields.push(format!("{}: {}", text(name), text(value)));
        })?;
        Ok(fields)
    }

    const FIRST: [&str; 4] = [
        ":method: GET",
        ":scheme: http",
        ":path: /",
        ":authority: www.example.com",
    ];

    /// RFC 7541 appendix C.3 (plain) and C.4 (Huffman).
    #[test]
    fn decodes_the_requests_of_the_standard() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let huffman = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, huffman] {
            let mut decoder = Decoder::new(1 << 16);
            assert_eq!(fields(&mut decoder, blocks[0]).unwrap(), FIRST);
            let mut second = FIRST.to_vec();
            second.push("cache-control: no-cache");
            assert_eq!(fields(&mut decoder, blocks[1]).unwrap(), second);
            let third = [
                ":method: GET",
                ":scheme: https",
                ":path: /index.html",
                ":authority: www.example.com",
                "custom-key: custom-value",
            ];
            assert_eq!(fields(&mut decoder, blocks[2]).unwrap(), third);
            assert_eq!((decoder.size, decoder.table.len()), (164, 3));
        }
    }

    /// RFC 7541 appendix C.6: a table of 256 bytes, so that entries are evicted. A decoder that
    /// keeps less knows less, and what it knows is right.
    #[test]
    fn decodes_the_responses_of_the_standard() {
        let blocks = [
            "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0
             82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad
             94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160
             65c0 03ed 4ee5 b106 3d50 07",
        ];
        let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
        let later = "date: Mon, 21 Oct 2013 20:13:22 GMT";
        let location = "location: https://www.example.com";
        let cookie = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
        let expected = [
            vec![":status: 302", "cache-control: private", date, location],
            vec![":status: 307", "cache-control: private", date, location],
            vec![
                ":status: 200",
                "cache-control: private",
                later,
                location,
                "content-encoding: gzip",
                cookie,
            ],
        ];
        for limit in [256, 4096, 128, 64, 0] {
            let mut decoder = Decoder::new(limit);
            for (block, expected) in blocks.iter().zip(&expected) {
                let seen = fields(&mut decoder, block).unwrap();
                if limit >= 256 {
                    assert_eq!(seen, *expected);
                }
                for (seen, expected) in seen.iter().zip(expected) {
                    assert!(
                        seen == expected || seen == "?: ?",
                        "{limit}: {seen} {expected}"
                    );
                }
                assert!(decoder.size <= limit.max(OVERHEAD));
            }
        }
    }

    #[test]
    fn knows_what_comes_after_a_loss_and_no_more() {
        let mut decoder = Decoder::new(1 << 16);
        decoder.lose();
        // 62 was there before; then a new field is 62 and the old one 63.
        assert_eq!(
            fields(&mut decoder, "be 4001 6101 62 be bf").unwrap(),
            ["?: ?", "a: b", "a: b", "?: ?"]
        );
        // The name of an old entry with a new value.
        assert_eq!(
            fields(&mut decoder, "7f00 0163 be bf").unwrap(),
            ["?: c", "?: c", "a: b"]
        );
        // When the encoder empties its table, nothing is unknown any more.
        assert_eq!(
            fields(&mut decoder, "20 3fe11f 4001 6101 62 be").unwrap(),
            ["a: b", "a: b"]
        );
        assert_eq!(fields(&mut decoder, "bf"), Err(Malformed));
    }

    #[test]
    fn refuses_what_is_malformed() {
        for block in [
            "80",
            "be",
            "ff",
            "ffff ffff ffff ff7f",
            "40",
            "4001",
            "4002 61",
            "4001 61",
            "007f",
            "4081 ff00",
        ] {
            assert_eq!(
                fields(&mut Decoder::new(4096), block),
                Err(Malformed),
                "{block}"
            );
        }
    }
}
