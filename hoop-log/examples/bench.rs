//! How fast a log is written and verified, and how small it is: `cargo run --release -p hoop-log --example bench [FILE]`.
//!
//! FILE has bodies of records, each after its length as a varint; without it, records of 300 bytes are made up.
#![expect(clippy::unwrap_used, reason = "a bench has nobody to tell")]

use std::time::{Duration, Instant};

use hoop_log::{Config, Fsync, Options, Reader, SigningKey, Writer, verify};

const RECORDS: u64 = 1_500_000;
const COMMIT: u64 = 256;

fn main() {
    let bodies = match std::env::args().nth(1) {
        Some(path) => read(&std::fs::read(path).unwrap()),
        None => (0..10_000).map(made_up).collect(),
    };
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        fsync: Fsync::Never,
        ..Config::new(dir.path())
    };
    let key = SigningKey::generate("bench.test/node").unwrap();
    let mut writer = Writer::open(config, key).unwrap().writer;

    let start = busy();
    let mut written = 0;
    for number in 1..=RECORDS {
        let body = &bodies[(number % bodies.len() as u64) as usize];
        written += body.len();
        writer.append(body).unwrap();
        if number % COMMIT == 0 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
    report("append and commit", start);
    println!("{:>12} bytes a record, before", written / RECORDS as usize);

    let start = busy();
    check(dir.path());
    report("verify", start);
    let start = busy();
    let mut reader = Reader::open(dir.path(), 1).unwrap();
    while reader.read().unwrap().is_some() {}
    report("read", start);

    let start = Instant::now();
    let (bytes, last) = loop {
        let files = std::fs::read_dir(dir.path().join("0000000001")).unwrap();
        let files: Vec<_> = files.flatten().collect();
        let sealed = files
            .iter()
            .filter(|file| file.path().extension().unwrap() == "zst");
        let plain = files
            .iter()
            .filter(|file| file.path().extension().unwrap() == "seg");
        let plain: Vec<_> = plain.collect();
        if let [last] = plain[..] {
            let first = last.file_name().to_str().unwrap()[..20]
                .parse::<u64>()
                .unwrap();
            break (
                sealed
                    .map(|file| file.metadata().unwrap().len())
                    .sum::<u64>(),
                first - 1,
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    println!(
        "{:>12.1} s more until all was sealed",
        start.elapsed().as_secs_f64()
    );
    println!(
        "{:>12.1} bytes a record, sealed",
        bytes as f64 / last as f64
    );
    let start = busy();
    check(dir.path());
    report("verify, sealed", start);
}

fn check(dir: &std::path::Path) {
    let verified = verify(dir, &Options::default(), &|_| None, &mut |_, _| {}).unwrap();
    assert_eq!(verified.last, RECORDS);
}

/// By the time that this thread had a processor, whatever else the machine does.
fn report(what: &str, start: Duration) {
    let rate = RECORDS as f64 / (busy() - start).as_secs_f64();
    println!("{rate:>12.0} records a second: {what}");
}

fn busy() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = statistics.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}

fn read(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while !bytes.is_empty() {
        let length = prost::decode_length_delimiter(bytes).unwrap();
        let (body, rest) = bytes[prost::length_delimiter_len(length)..].split_at(length);
        bodies.push(body.to_vec());
        bytes = rest;
    }
    bodies
}

/// 300 bytes, some of them as in other records, some not.
fn made_up(number: u64) -> Vec<u8> {
    let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut body = noise.to_le_bytes().to_vec();
    let text = format!(
        "4026531840 /hoop/copilot-{} spiffe://example.org/agents/copilot user:alice@example.org pid {} \
         python3 /usr/bin/python3.11 -m agent.run --task {noise:x} default coding-copilots enforce",
        number % 7,
        1000 + number % 5000,
    );
    body.extend(text.bytes().cycle().take(292));
    body
}
