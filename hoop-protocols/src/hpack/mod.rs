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
