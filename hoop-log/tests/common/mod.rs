//! A directory for a log, and what tests do with it.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test uses some of it"
)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hoop_log::{
    Config, Fault, Fsync, Options, Reader, Retention, SigningKey, Told, Verified, Writer, verify,
};
use tempfile::TempDir;

pub struct Lab {
    dir: TempDir,
    pub fsync: Fsync,
    pub retention: Retention,
    pub segment_bytes: u64,
}

impl Lab {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            fsync: Fsync::Never,
            retention: Retention::default(),
            segment_bytes: 20_000,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// One key for all: each time it is asked for.
    pub fn key(&self) -> SigningKey {
        key()
    }

    pub fn config(&self) -> Config {
        Config {
            segment_bytes: self.segment_bytes,
            fsync: self.fsync,
            retention: self.retention,
            ..Config::new(self.dir())
        }
    }

    pub fn open(&self) -> Writer {
        let opened = Writer::open(self.config(), self.key()).unwrap();
        assert_eq!((opened.repaired, opened.followed), (None, None));
        opened.writer
    }

    pub fn segment(&self, log: u64, first: u64) -> PathBuf {
        self.dir().join(format!("{log:010}/{first:020}.seg"))
    }

    pub fn read_all(&self, from: u64) -> Vec<Vec<u8>> {
        let mut reader = Reader::open(self.dir(), from).unwrap();
        let mut all = Vec::new();
        while let Some(entry) = reader.read().unwrap() {
            assert_eq!(entry.number, from + all.len() as u64);
            all.push(entry.bytes.to_vec());
        }
        all
    }

    pub fn verify(&self) -> Result<Verified, Fault> {
        check(self.dir(), &Options::default())
    }

    pub fn verify_live(&self) -> Result<Verified, Fault> {
        let options = Options {
            live: true,
            ..Options::default()
        };
        check(self.dir(), &options)
    }

    /// Waits until all segments but the last are sealed, and says how many.
    pub fn wait_sealed(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let files = files(self.dir());
            let of = |end: &str| {
                files
                    .iter()
                    .filter(|file| file.to_str().unwrap().ends_with(end))
                    .count()
            };
            if of(".seg") <= 1 && of(".tmp") == 0 {
                return of(".seg.zst");
            }
            assert!(Instant::now() < deadline, "not sealed: {files:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The same for a process.
pub fn key() -> SigningKey {
    static FILE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        SigningKey::generate("log.test/node")
            .unwrap()
            .save(&path)
            .unwrap();
        (dir, path)
    });
    SigningKey::load(path).unwrap()
}

/// Verifies, and believes records that say `removed through N` and `follows CHECKPOINT`.
pub fn check(dir: &Path, options: &Options) -> Result<Verified, Fault> {
    let told = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if let Some((_, through)) = text.split_once("removed through ") {
            let through = through.parse().unwrap();
            return Some(Told::Removed { through });
        }
        let (_, checkpoint) = text.split_once("follows ")?;
        let checkpoint = checkpoint.to_owned();
        Some(Told::Follows { checkpoint })
    };
    let mut last = 0;
    verify(dir, options, &told, &mut |done, total| {
        assert!(last <= done && done <= total, "{last}, {done} of {total}");
        last = done;
    })
}

/// All files below a directory, in order.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// About 150 bytes, like those of a record, and others for each number.
pub fn body(number: u64) -> Vec<u8> {
    let mut body = vec![0x20, 3, 0x52, 0x7f];
    let text = format!("{number:x} python3 -m agent.run --session {number} ");
    body.extend(text.bytes().cycle().take(100 + (number % 27) as usize));
    body.extend(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    body
}

/// What is in a sealed segment.
pub fn unseal(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let mut plain = Vec::new();
    let mut decoder = zstd_safe::DCtx::create();
    let mut input = zstd_safe::InBuffer::around(&bytes);
    while input.pos() < bytes.len() {
        let mut part = Vec::with_capacity(1 << 20);
        let mut output = zstd_safe::OutBuffer::around(&mut part);
        decoder.decompress_stream(&mut output, &mut input).unwrap();
        plain.extend(part);
    }
    plain
}
