//! The Huffman code of HPACK, RFC 7541 section 5.2 and appendix B.

/// The code is canonical: the lengths of the codes, by symbol, are all there is to it. 256 is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const LONGEST: usize = 30;

/// Codes of at most this many bits are looked up at once.
const SHORT: usize = 9;

/// What the next bits are.
struct Table {
    /// By the next [`SHORT`] bits: the symbol and the length of its code, 0 if that is longer.
    short: [(u8, u8); 1 << SHORT],
    /// By length: the first code after those of that length, shifted to the left of [`LONGEST`] bits.
    after: [u32; LONGEST + 1],
    /// By length: what to add to a code for its place in `symbols`.
    offset: [i64; LONGEST + 1],
    /// Symbols by code.
    symbols: [u16; 257],
}

static TABLE: Table = Table::new();

/// Appends what a string says; `None` if it is malformed.
pub(super) fn decode(string: &[u8], to: &mut Vec<u8>) -> Option<()> {
    // Bits that are not decoded yet, from the top.
    let (mut bits, mut count) = (0u64, 0usize);
    let mut rest = string;
    loop {
        while count <= 56 {
            let Some((byte, after)) = rest.split_first() else {
                break;
            };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
            rest = after;
        }
        let (symbol, length) = TABLE.lookup(bits);
        if length > count {
            // Padding: fewer than 8 bits, all ones.
            let ones = count == 0 || (!bits >> (64 - count)) == 0;
            return (count < 8 && ones).then_some(());
        }
        to.push(u8::try_from(symbol).ok()?);
        bits <<= length;
        count -= length;
    }
}

impl Table {
    const fn new() -> Self {
        let mut table = Self {
            short: [(0, 0); 1 << SHORT],
            after: [0; LONGEST + 1],
            offset: [0; LONGEST + 1],
            symbols: [0; 257],
        };
        let (mut code, mut place, mut length) = (0u32, 0, 1);
        while length <= LONGEST {
            code <<= 1;
            table.offset[length] = place as i64 - code as i64;
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    table.symbols[place] = symbol as u16;
                    place += 1;
                    if length <= SHORT {
                        let first = (code as usize) << (SHORT - length);
                        let mut at = first;
                        while at < first + (1 << (SHORT - length)) {
                            table.short[at] = (symbol as u8, length as u8);
                            at += 1;
                        }
                    }
                    code += 1;
                }
                symbol += 1;
            }
            table.after[length] = code << (LONGEST - length);
            length += 1;
        }
        table
    }

    /// The symbol that begins these bits, and the length of its code.
    fn lookup(&self, bits: u64) -> (u16, usize) {
        let (symbol, length) = self.short[(bits >> (64 - SHORT)) as usize];
        if length != 0 {
            return (u16::from(symbol), usize::from(length));
        }
        let code = (bits >> (64 - LONGEST)) as u32;
        let mut length = SHORT + 1;
        while length < LONGEST && code >= self.after[length] {
            length += 1;
        }
        let place = i64::from(code >> (LONGEST - length)) + self.offset[length];
        (self.symbols[place as usize], length)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    /// RFC 7541 appendix C.
    #[test]
    fn decodes_the_examples() {
        let cases: [(&[u8], &str); 4] = [
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x64\x02", "302"),
            (b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
             "Mon, 21 Oct 2013 20:13:21 GMT"),
        ];
        for (string, text) in cases {
            let mut decoded = Vec::new();
            decode(string, &mut decoded).unwrap();
            assert_eq!(String::from_utf8(decoded).unwrap(), text);
        }
    }

    #[test]
    fn decodes_what_it_encodes() {
        // Codes are consecutive within a length, so symbols in order of code tell the code.
        let code = |symbol: u16| {
            let length = usize::from(LENGTHS[usize::from(symbol)]);
            let place = TABLE.symbols.iter().position(|it| *it == symbol).unwrap();
            ((place as i64 - TABLE.offset[length]) as u64, length)
        };
        for first in 0..=255u16 {
            for second in [0, 48, 97, 249, 255] {
                let (mut bits, mut count) = (0u128, 0);
                for symbol in [first, second] {
                    let (code, length) = code(symbol);
                    bits = bits << length | u128::from(code);
                    count += length;
                }
                let padding = (8 - count % 8) % 8;
                bits = bits << padding | ((1 << padding) - 1);
                let bytes = (count + padding) / 8;
                let mut decoded = Vec::new();
                decode(&bits.to_be_bytes()[16 - bytes..], &mut decoded).unwrap();
                assert_eq!(decoded, [first as u8, second as u8]);
            }
        }
    }

    #[test]
    fn refuses_wrong_padding_and_end_of_string() {
        for string in [
            &b"\x18"[..],
            b"\x1f\xff",
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\xfc",
        ] {
            assert_eq!(decode(string, &mut Vec::new()), None, "{string:x?}");
        }
    }
}
