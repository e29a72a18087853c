//! What must hold for any bytes.

use std::collections::BTreeMap;

use crate::{Connection, Direction, Event, Limits, Reason};

/// Takes any bytes as a conversation, and runs it in one piece and in many.
///
/// # Panics
///
/// If a byte is not accounted for, or if what is told depends on how the bytes are cut.
pub fn fuzz(data: &[u8]) {
    let Some((settings, data)) = data.split_at_checked(4) else {
        return;
    };
    let small = settings[0] & 1 != 0;
    let limits = if small { SMALL } else { Limits::default() };
    let start = u64::from(settings[1] & 1) * 1000;
    let acts = acts(data);
    let whole = run(&acts, limits, start, &[usize::MAX]);
    let cuts = [usize::from(settings[2]) + 1, usize::from(settings[3]) + 1];
    assert_eq!(whole, run(&acts, limits, start, &cuts));
}

/// Limits that little input meets.
const SMALL: Limits = Limits {
    head: 200,
    header_list: 300,
    body: 2000,
    ratio: 2,
    codings: 2,
    decoder_memory: 1 << 20,
    streams: 2,
    hpack_table: 100,
    frame: 300,
    pipeline: 2,
    websocket_message: 100,
    sse_event: 50,
};

enum Act<'a> {
    Push(Direction, &'a [u8]),
    Gap(Direction, u64),
}

/// What was told, apart from how it was cut.
#[derive(Debug, Default, PartialEq)]
struct Told {
    lines: Vec<String>,
    /// By what the bytes are a part of.
    sums: BTreeMap<String, Sum>,
    unreadable: [u64; 2],
}

/// How many bytes, and a sum of them (FNV), which do not depend on how they are cut.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    count: u64,
    sum: u64,
}

/// Each act is a length of two bytes, the lowest bits of which say what it is, and its bytes.
fn acts(mut data: &[u8]) -> Vec<Act<'_>> {
    let mut acts = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let length = u16::from_be_bytes(*length);
        let direction = if length & 1 == 0 {
            Direction::Sent
        } else {
            Direction::Received
        };
        let size = usize::from(length >> 3);
        if length & 6 == 6 {
            acts.push(Act::Gap(direction, size as u64));
            data = rest;
            continue;
        }
        let (bytes, rest) = rest.split_at(size.min(rest.len()));
        acts.push(Act::Push(direction, bytes));
        data = rest;
    }
    acts
}

fn run(acts: &[Act<'_>], limits: Limits, start: u64, cuts: &[usize]) -> Told {
    let mut told = Told::default();
    let mut connection = Connection::new(limits);
    let mut cuts = cuts.iter().copied().cycle();
    let mut offsets = [start; 2];
    for act in acts {
        match act {
            Act::Push(direction, bytes) => {
                let mut bytes = *bytes;
                while !bytes.is_empty() {
                    let (piece, rest) = bytes.split_at(cuts.next().unwrap_or(1).min(bytes.len()));
                    let offset = &mut offsets[index(*direction)];
                    connection.push(*direction, *offset, piece, &mut |it| told.take(&it));
                    *offset += piece.len() as u64;
                    bytes = rest;
                }
            }
            Act::Gap(direction, length) => {
                connection.gap(*direction, *length, &mut |it| told.take(&it));
                offsets[index(*direction)] += length;
            }
        }
    }
    connection.end(&mut |it| told.take(&it));
    for direction in [Direction::Sent, Direction::Received] {
        let tally = connection.tally(direction);
        assert_eq!(tally.pushed, tally.read + tally.unreadable, "{direction:?}");
        assert_eq!(
            tally.unreadable,
            told.unreadable[index(direction)],
            "{direction:?}"
        );
    }
    told
}

fn index(direction: Direction) -> usize {
    usize::from(direction == Direction::Received)
}

impl Told {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::RequestBody { stream, bytes } => self.bytes(format!("> {stream}"), bytes),
            Event::ResponseBody { stream, bytes } => self.bytes(format!("< {stream}"), bytes),
            Event::Unreadable {
                direction,
                stream,
                bytes,
                reason,
            } => {
                if *reason != Reason::Lost {
                    self.unreadable[index(*direction)] += bytes;
                }
                let key = format!("{direction:?} {stream:?} {reason:?}");
                self.sums.entry(key).or_default().count += bytes;
            }
            other => self.lines.push(format!("{other:?}")),
        }
    }

    fn bytes(&mut self, key: String, bytes: &[u8]) {
        let sum = self.sums.entry(key).or_default();
        sum.count += bytes.len() as u64;
        for byte in bytes {
            sum.sum = (sum.sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// Bytes that a failure shows as text.
    #[derive(Clone)]
    struct Shown(Vec<u8>);

    impl std::fmt::Debug for Shown {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "b\"{}\"", self.0.escape_ascii())
        }
    }

    /// What conversations are made of, so that they come far.
    fn parts() -> impl Strategy<Value = Vec<u8>> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let _ = gzip.write_all(&[b'a'; 3000]);
        let gzip = gzip.finish().unwrap_or_default();
        let mut deflate =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        let _ = deflate.write_all(b"hello hello hello");
        let deflate = deflate.finish().unwrap_or_default();
        let head = |text: &str| text.replace('~', "\r\n").into_bytes();
        let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
            let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
            frame.extend_from_slice(payload);
            frame
        };
        let fixed = vec![
            head("GET / HTTP/1.1~Host: a~~"),
            head("HEAD / HTTP/1.1~Host: a~~"),
            head("POST /p HTTP/1.1~Host: a~Content-Length: 7~~"),
            head("POST /p HTTP/1.1~Host: a~Transfer-Encoding: chunked~~"),
            head("GET / HTTP/1.1~Host: a~Upgrade: websocket~~"),
            head("CONNECT a:1 HTTP/1.1~Host: a:1~~"),
            head(
                "HTTP/1.1 101 S~Upgrade: websocket~Sec-WebSocket-Extensions: permessage-deflate~~",
            ),
            head("HTTP/1.1 101 S~Upgrade: h2c~~"),
            head("HTTP/1.1 100 Continue~~"),
            head("HTTP/1.1 200 OK~Content-Length: 5~~hello"),
            head("HTTP/1.1 200 OK~Date: x~~"),
            head("HTTP/1.1 200 OK~Transfer-Encoding: chunked~Content-Type: text/event-stream~~"),
            head("HTTP/1.1 200 OK~Content-Encoding: gzip~Transfer-Encoding: chunked~~"),
            head("5;a=b~hello~"),
            head("0~~"),
            head("0~A: b~~"),
            head("14~data: x~~id: 1~data: y~"),
            [format!("{:x}\r\n", gzip.len()).as_bytes(), &gzip, b"\r\n"].concat(),
            crate::http2::PREFACE.to_vec(),
            frame(4, 0, 0, &[]),
            frame(4, 0, 0, &[0, 5, 0, 1, 0, 0]),
            frame(4, 1, 0, &[]),
            frame(6, 0, 0, &[0; 8]),
            frame(8, 0, 0, &[0, 0, 1, 0]),
            frame(
                1,
                4,
                1,
                b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            ),
            frame(1, 5, 1, b"\x82\x86\x84\xbe"),
            frame(1, 4, 1, b"\x88\x5a\x04gzip"),
            frame(1, 0, 3, b"\x82\x86"),
            frame(9, 4, 3, b"\x84\x40\x01a\x01b"),
            frame(1, 0x2c, 5, b"\x02\0\0\0\0\x10\x82\x86\x84\0\0"),
            frame(5, 4, 1, b"\0\0\0\x02\x82\x86\x84"),
            frame(0, 0, 1, b"hello"),
            frame(0, 9, 1, b"\x02hello\0\0"),
            frame(0, 1, 1, &gzip),
            frame(3, 0, 1, &[0, 0, 0, 8]),
            frame(7, 0, 0, &[0; 8]),
            b"\x81\x05hello".to_vec(),
            b"\x01\x03hel".to_vec(),
            b"\x80\x02lo".to_vec(),
            b"\x89\x00".to_vec(),
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
            [&[0xc1, deflate.len() as u8][..], &deflate].concat(),
            b"\x88\x02\x03\xe8".to_vec(),
        ];
        prop_oneof![
            20 => prop::sample::select(fixed),
            1 => prop::collection::vec(any::<u8>(), 0..20),
            1 => "[ -~\r\n]{0,30}".prop_map(String::into_bytes),
        ]
    }

    fn act() -> impl Strategy<Value = Shown> {
        let said = (
            any::<bool>(),
            prop::collection::vec(parts(), 1..4),
            any::<prop::sample::Index>(),
            0..8u8,
            any::<u8>(),
        );
        let said = said.prop_map(|(received, parts, at, spoil, by)| {
            let mut bytes = parts.concat();
            if spoil == 0 && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = by;
            }
            let length = (bytes.len() as u16) << 3 | u16::from(received);
            [&length.to_be_bytes()[..], &bytes].concat()
        });
        let lost = (any::<bool>(), 1..20u16).prop_map(|(received, length)| {
            (length << 3 | 6 | u16::from(received))
                .to_be_bytes()
                .to_vec()
        });
        prop_oneof![10 => said, 1 => lost].prop_map(Shown)
    }

    /// A search for heads that turns into one for frames, which gets what the first one held back.
    #[test]
    fn one_search_follows_another() {
        let acts: [&[u8]; 4] = [
            b"\x00\xc9HTTP/1.1 100 Continue\r\n\r\n",
            b"\x01 \x00\x00\x00\x04\x00\x00\x00\x00\x00GET / HTTP/1.1\r\n\x00ost: a\r\n\r\n",
            b"\x02\xa0\x00TTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            b"\x01\x01HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n",
        ];
        for cut in 0..60 {
            fuzz(&[&[0, 0, cut, cut][..], &acts.concat()].concat());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: ProptestConfig::default().cases.max(4000),
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_conversation_is_accounted_for_however_it_is_cut(
            settings in any::<[u8; 4]>(),
            acts in prop::collection::vec(act(), 1..12),
        ) {
            let acts: Vec<u8> = acts.into_iter().flat_map(|act| act.0).collect();
            fuzz(&[&settings[..], &acts].concat());
        }

        #[test]
        fn any_bytes_are_accounted_for(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&bytes);
        }
    }
}
