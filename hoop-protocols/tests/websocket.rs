//! WebSocket.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Act, Received, Sent, lines_of_every_cut, say};
use flate2::{Compress, Compression, FlushCompress};
use hoop_protocols::{Direction, Limits};

fn upgrade(extension: &str) -> Vec<Act> {
    let extension = match extension {
        "" => String::new(),
        some => format!("Sec-WebSocket-Extensions: {some}\r\n"),
    };
    vec![
        say(
            Sent,
            "GET /live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        say(
            Received,
            format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n{extension}\r\n"),
        ),
    ]
}

/// The lines after the upgrade.
fn told(extension: &str, acts: Vec<Act>, limits: Limits) -> Vec<String> {
    let mut all = upgrade(extension);
    all.extend(acts);
    let mut lines = lines_of_every_cut(&all, limits);
    assert_eq!(lines[4], "protocol WebSocket Some(Client)", "{lines:#?}");
    lines.split_off(5)
}

fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..126 => frame.push(masked | u8::try_from(length).unwrap()),
        length @ 126..0x1_0000 => {
            frame.push(masked | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask.into_iter().flatten());
    let mask = mask.unwrap_or_default();
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// RFC 6455 section 5.7.
#[test]
fn reads_the_examples_of_the_standard() {
    let acts = vec![
        say(Received, b"\x81\x05\x48\x65\x6c\x6c\x6f"),
        say(Sent, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        say(
            Received,
            b"\x01\x03\x48\x65\x6c\x89\x05\x48\x65\x6c\x6c\x6f\x80\x02\x6c\x6f",
        ),
        say(Sent, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        say(Received, frame(0x82, None, &[7; 256])),
        say(Sent, frame(0x82, Some([1, 2, 3, 4]), &[7; 70_000])),
        say(Sent, frame(0x88, Some([9; 4]), b"\x03\xe8")),
    ];
    let lines = told("", acts, Limits::default());
    assert_eq!(
        lines[..4],
        [
            "websocket 0 Received Text true Hello",
            "websocket 0 Sent Text true Hello",
            "websocket 0 Received Ping true Hello",
            "websocket 0 Received Text true Hello",
        ]
    );
    assert!(lines[5].starts_with("websocket 0 Received Binary true (256 bytes"));
    assert!(lines[6].starts_with("websocket 0 Sent Binary true (70000 bytes"));
    assert!(lines[7].starts_with("websocket 0 Sent Close true"));
    assert_eq!(lines.len(), 8);
}

/// RFC 7692 section 7.2.3: its examples, one after the other.
#[test]
fn takes_compression_off() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let acts = vec![
        say(Received, frame(0xc1, None, hello)),
        // It refers to the message before.
        say(Received, frame(0xc1, None, b"\xf2\x00\x11\x00\x00")),
        say(Received, frame(0x41, None, &hello[..3])),
        say(Received, frame(0x89, None, b"")),
        say(Received, frame(0x80, None, &hello[3..])),
        // Not compressed, a block that is stored, one that is final, two blocks.
        say(Received, frame(0x81, None, b"Hello")),
        say(
            Received,
            frame(0xc1, None, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
        ),
        say(
            Received,
            frame(0xc1, None, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
        ),
        say(
            Received,
            frame(
                0xc1,
                None,
                b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            ),
        ),
    ];
    let lines = told(
        "permessage-deflate; server_max_window_bits=12",
        acts,
        Limits::default(),
    );
    let hello = "websocket 0 Received Text true Hello".to_string();
    let mut expected = vec![hello; 8];
    expected.insert(2, "websocket 0 Received Ping true ".into());
    assert_eq!(lines, expected);
}

/// Messages of one compressor, whose window goes over all of them or starts anew.
fn compressed(messages: &[&[u8]], takeover: bool) -> Vec<Vec<u8>> {
    let mut compress = Compress::new(Compression::default(), false);
    let pack = |message: &&[u8]| {
        let mut packed = Vec::with_capacity(message.len() + 100);
        compress
            .compress_vec(message, &mut packed, FlushCompress::Sync)
            .unwrap();
        packed.truncate(packed.len() - 4);
        if !takeover {
            compress.reset();
        }
        packed
    };
    messages.iter().map(pack).collect()
}

#[test]
fn goes_on_behind_a_gap_in_a_compressed_message() {
    let text = b"a text that is said again and again, a text that is said again";
    for (takeover, parameter) in [(true, ""), (false, "; client_no_context_takeover")] {
        let packed = compressed(&[text, text, b"something else: 0123456789", text], takeover);
        let mask = Some([1, 2, 3, 4]);
        let frames: Vec<_> = packed
            .iter()
            .map(|packed| frame(0xc1, mask, packed))
            .collect();
        let acts = vec![
            say(Sent, &frames[0]),
            say(Sent, &frames[1][..8]),
            Act::Lose(Sent, 1),
            say(Sent, &frames[1][9..]),
            say(Sent, &frames[2]),
            say(Sent, &frames[3]),
        ];
        let lines = told(
            &format!("permessage-deflate{parameter}"),
            acts,
            Limits::default(),
        );
        let text = String::from_utf8_lossy(text);
        assert_eq!(lines[0], format!("websocket 0 Sent Text true {text}"));
        assert_eq!(lines[1], "unreadable Sent Lost: 1");
        assert_eq!(
            lines[2],
            format!("unreadable Sent in 0 Fragment: {}", packed[1].len() - 1)
        );
        assert!(
            lines[3].starts_with("websocket 0 Sent Text false"),
            "{lines:#?}"
        );
        assert_eq!(
            lines[4],
            "websocket 0 Sent Text true something else: 0123456789"
        );
        if takeover {
            // It refers to what is gone: that is said, and nothing is made up.
            assert!(
                lines[5].starts_with("unreadable Sent in 0 BrokenCoding"),
                "{lines:#?}"
            );
            assert!(
                lines[6].starts_with("websocket 0 Sent Text false"),
                "{lines:#?}"
            );
        } else {
            assert_eq!(lines[5], format!("websocket 0 Sent Text true {text}"));
        }
    }
}

#[test]
fn goes_on_at_frames_behind_a_gap() {
    let message = |direction: Direction, number: u8| {
        let mask = (direction == Sent).then_some([number, 7, 9, 200]);
        say(
            direction,
            frame(0x81, mask, format!("message {number}").as_bytes()),
        )
    };
    for direction in [Sent, Received] {
        let mut acts = vec![message(direction, 0)];
        acts.push(Act::Lose(direction, 3));
        acts.push(say(direction, "ge 0 and on"));
        acts.extend((1..8).map(|number| message(direction, number)));
        let lines = told("", acts, Limits::default());
        assert_eq!(
            lines[3],
            format!(
                "Resynchronized {{ direction: {direction:?}, found: Some(WebSocketFrame), skipped: 11 }}"
            )
        );
        for number in 1..8 {
            let line = format!("websocket 0 {direction:?} Text true message {number}");
            assert_eq!(lines[3 + number], line);
        }
    }
}

#[test]
fn messages_end_at_the_limit() {
    let limits = Limits {
        websocket_message: 10,
        ..Limits::default()
    };
    let bomb = compressed(&[&[b'a'; 5000], b"small"], true);
    let acts = vec![
        say(Received, frame(0x01, None, b"0123456")),
        say(Received, frame(0x80, None, b"789abcdef")),
        say(Received, frame(0xc1, None, &bomb[0])),
        say(Received, frame(0xc1, None, &bomb[1])),
    ];
    assert_eq!(
        told("permessage-deflate", acts, limits),
        [
            "unreadable Received in 0 TooLong: 6",
            "websocket 0 Received Text false 0123456789",
            &format!("unreadable Received in 0 TooLong: {}", bomb[0].len()),
            "websocket 0 Received Text false aaaaaaaaaa",
            "websocket 0 Received Text true small",
        ]
    );
}

#[test]
fn what_is_no_frame_is_said() {
    // A reserved bit, an opcode that does not exist, a long ping, a compressed one that was not
    // agreed, a continuation of nothing.
    for first in [0xa1, 0x83, 0xc1, 0x80, 0x09] {
        let acts = vec![
            say(Received, frame(0x81, None, b"ok")),
            say(Received, [first, 3, 1, 2, 3]),
        ];
        assert_eq!(
            told("", acts, Limits::default()),
            [
                "websocket 0 Received Text true ok",
                "unreadable Received Malformed: 5",
                "Resynchronized { direction: Received, found: None, skipped: 5 }",
            ],
            "{first:x}"
        );
    }
}
