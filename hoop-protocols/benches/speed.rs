//! How fast conversations are read, in bytes captured a second on one core, and what any of them keeps
//! in memory. `cargo bench -p hoop-protocols`.

#![expect(clippy::unwrap_used, reason = "a bench")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hoop_protocols::{Connection, Direction, Event, Limits};

/// Counts what is allocated, and the most there was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that is given to a connection at a time, as a capture of a large write would.
const CHUNK: usize = 64 << 10;

fn main() {
    let delta = r#"data: {"id":"x","choices":[{"index":0,"delta":{"content":" word"}}]}"#;
    let stream = format!("{delta}\n\n").repeat(10_000);
    let body = "{\"role\":\"user\",\"content\":\"some text\"},".repeat(200_000);
    println!("{:<44} {:>10} {:>12}", "", "MB/s", "KiB at most");
    measure(
        "HTTP/1, body with a length",
        CHUNK,
        &with_length("text/plain", "", body.as_bytes()),
    );
    measure(
        "HTTP/1, chunks of 70 bytes, events",
        CHUNK,
        &chunked(stream.as_bytes(), 70),
    );
    measure(
        "HTTP/1, the same, each read alone",
        82,
        &chunked(stream.as_bytes(), 70),
    );
    measure(
        "HTTP/1, gzip, events",
        CHUNK,
        &with_length("text/event-stream", "gzip", &gzip(stream.as_bytes())),
    );
    measure(
        "HTTP/1, gzip, text",
        CHUNK,
        &with_length("text/plain", "gzip", &gzip(body.as_bytes())),
    );
    measure(
        "HTTP/1, zstd, text",
        CHUNK,
        &with_length("text/plain", "zstd", &zstd(body.as_bytes())),
    );
    measure(
        "HTTP/1, br, text",
        CHUNK,
        &with_length("text/plain", "br", &brotli(body.as_bytes())),
    );
    measure(
        "HTTP/1, small responses",
        CHUNK,
        &with_length("text/plain", "", b"ok").repeat(50_000),
    );
    measure(
        "HTTP/2, DATA of 16 KiB",
        CHUNK,
        &http2(body.as_bytes(), 16 << 10),
    );
    measure(
        "HTTP/2, DATA of 70 bytes",
        CHUNK,
        &http2(body.as_bytes(), 70),
    );
    measure(
        "WebSocket, text of 1 KiB",
        CHUNK,
        &websocket(body.as_bytes(), 1000, false),
    );
    measure(
        "WebSocket, masked text of 1 KiB",
        CHUNK,
        &websocket(body.as_bytes(), 1000, true),
    );
    measure("unknown", CHUNK, &body.clone().into_bytes());
    println!("what an attacker sends:");
    measure(
        "a byte at a time, a head without end",
        1,
        &[
            b"HTTP/1.1 200 OK\r\n".as_slice(),
            &b"a: b\r\n".repeat(100_000),
        ]
        .concat(),
    );
    let late = |bytes: &[u8]| {
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".as_slice(),
            bytes,
        ]
        .concat()
    };
    measure(
        "heads that are none",
        CHUNK,
        &late(&b"HTTP/1.1 200\r\n".repeat(200_000)),
    );
    measure(
        "heads in heads without end",
        CHUNK,
        &late(&b"X: HTTP/1.1 200 OK\r\n".repeat(200_000)),
    );
    measure(
        "request lines without end",
        CHUNK,
        &late(&b"GET /x HTTP/1.1 ".repeat(200_000)),
    );
    measure(
        "spaces and marks",
        CHUNK,
        &late(&b" HTTP/1.".repeat(200_000)),
    );
    let zeros = [
        PREFACE_OF_SERVER,
        &[1, 0, 0],
        &[0xff; 9],
        &b"\0\x10\0\0\0\0\0\0\x01".repeat(200_000),
    ]
    .concat();
    measure("frames in frames", CHUNK, &zeros);
    measure("the same, a byte at a time", 1, &zeros[..200_000]);
    measure("an HPACK bomb", CHUNK, &hpack_bomb());
    let zeros = vec![0; 64 << 20];
    measure(
        "a gzip bomb",
        CHUNK,
        &with_length("text/plain", "gzip", &gzip(&zeros)),
    );
    measure(
        "a zstd bomb",
        CHUNK,
        &with_length("text/plain", "zstd", &zstd(&zeros)),
    );
    measure(
        "a br bomb",
        CHUNK,
        &with_length("text/plain", "br", &brotli(&zeros)),
    );
}

const PREFACE_OF_SERVER: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Reads it over and over for a while.
fn measure(name: &str, chunk: usize, bytes: &[u8]) {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let mut rounds = 0u32;
    let mut told = 0u64;
    while rounds == 0 || start.elapsed() < Duration::from_millis(500) {
        let mut connection = Connection::new(Limits::default());
        let mut sink = |event: Event<'_>| {
            if let Event::ResponseBody { bytes, .. } | Event::WebSocket { payload: bytes, .. } =
                event
            {
                told += bytes.len() as u64;
                black_box(bytes);
            }
        };
        let mut offset = 0;
        for piece in bytes.chunks(chunk) {
            connection.push(Direction::Received, offset, piece, &mut sink);
            offset += piece.len() as u64;
        }
        connection.end(&mut sink);
        rounds += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    let speed = (bytes.len() as f64 * f64::from(rounds)) / seconds / 1e6;
    let decoded = told as f64 / seconds / 1e6;
    let kept = (MOST.load(Ordering::Relaxed) - before) >> 10;
    let decoded = if decoded > 1.5 * speed {
        format!("  ({decoded:.0} MB/s told)")
    } else {
        String::new()
    };
    println!("{name:<44} {speed:>10.1} {kept:>12}{decoded}");
}

fn with_length(kind: &str, coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for chunk in body.chunks(size) {
        write!(bytes, "{:x}\r\n", chunk.len()).unwrap();
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

fn http2(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = [PREFACE_OF_SERVER, &frame(1, 4, 1, b"\x88")].concat();
    for part in body.chunks(size) {
        bytes.extend(frame(0, 0, 1, part));
    }
    bytes.extend(frame(0, 1, 1, b""));
    bytes
}

/// A block of fields that all are one long entry of the table.
fn hpack_bomb() -> Vec<u8> {
    let mut block = b"\x88\x40\x01x\x7f\xa1\x1e".to_vec();
    block.resize(block.len() + 4000, b'y');
    block.resize(60_000, 0xbe);
    let mut bytes = PREFACE_OF_SERVER.to_vec();
    for stream in 1..50 {
        bytes.extend(frame(1, 5, 2 * stream - 1, &block));
    }
    bytes
}

fn websocket(body: &[u8], size: u16, masked: bool) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
    let mask = [0x12, 0x34, 0x56, 0x78];
    for part in body.chunks_exact(usize::from(size)) {
        bytes.extend([0x81, 126 | u8::from(masked) << 7]);
        bytes.extend(size.to_be_bytes());
        if masked {
            bytes.extend(mask);
            bytes.extend(
                part.iter()
                    .zip(mask.iter().cycle())
                    .map(|(byte, mask)| byte ^ mask),
            );
        } else {
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    zstd_safe::compress(&mut encoded, bytes, 3).unwrap();
    encoded
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 5,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &*bytes, &mut encoded, &parameters).unwrap();
    encoded
}
