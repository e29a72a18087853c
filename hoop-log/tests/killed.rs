//! Processes that write are killed, or find the disk full.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::{Lab, body, check};
use hoop_log::{Config, Fsync, Options, Reader, Retention, SigningKey, Writer};

/// Set in a child process: the directory that it writes to.
const CHILD: &str = "HOOP_LOG_TEST_WRITE";
const CHILD_KEY: &str = "HOOP_LOG_TEST_KEY";

/// A child has the locks of this process until it runs its own program: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn killed_at_any_moment_nothing_that_was_seen_is_lost() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rounds = if std::env::var_os("HOOP_LONG").is_some() {
        1000
    } else {
        25
    };
    let lab = Lab::new();
    let key = lab.dir().join("key");
    lab.key().save(&key).unwrap();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..rounds {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "writes_until_it_is_killed",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, lab.dir())
            .env(CHILD_KEY, &key)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let started = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("writing")));
        assert!(
            started.is_some(),
            "the child of round {round} did not start"
        );
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // What is read while it writes has been seen.
        let deadline = std::time::Instant::now() + Duration::from_micros(random % 60_000);
        let mut reader = Reader::open(lab.dir(), seen.len() as u64 + 1).unwrap();
        while std::time::Instant::now() < deadline {
            if let Some(entry) = reader.read().unwrap() {
                assert_eq!(entry.number, seen.len() as u64 + 1);
                seen.push(entry.bytes.to_vec());
            }
        }
        drop(child);

        let opened = Writer::open(lab.config(), lab.key()).unwrap();
        assert_eq!(opened.followed, None, "round {round}");
        assert!(opened.writer.last() >= seen.len() as u64, "round {round}");
        drop(opened);
        if round % 10 == 9 || round + 1 == rounds {
            let verified = check(lab.dir(), &Options::default());
            verified.unwrap_or_else(|fault| panic!("round {round}: {fault}"));
            let all = lab.read_all(1);
            assert!(
                all[..seen.len()] == seen[..],
                "round {round}: what was seen is not what is there"
            );
            // What the child wrote that nobody saw is there or not, and stays what it is.
            seen = all;
        }
    }
    assert!(seen.len() > 100, "{}", seen.len());
}

/// A child that does not outlive the test, whatever becomes of that.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The child of the test above; alone, it does nothing.
#[test]
fn writes_until_it_is_killed() {
    let (Some(dir), Some(key)) = (std::env::var_os(CHILD), std::env::var_os(CHILD_KEY)) else {
        return;
    };
    let config = Config {
        segment_bytes: 30_000,
        fsync: Fsync::Never,
        retention: Retention::default(),
        ..Config::new(dir)
    };
    let key = SigningKey::load(key.as_ref()).unwrap();
    let mut writer = Writer::open(config, key).unwrap().writer;
    println!("writing");
    let mut number = writer.last();
    loop {
        for _ in 0..number % 5 + 1 {
            number = writer.append(&body(number)).unwrap();
        }
        writer.commit().unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn what_cannot_be_written_leaves_the_log_as_it_was() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new();
    let key = lab.dir().join("key");
    lab.key().save(&key).unwrap();
    // The signal that comes with such a limit would end the child.
    let status = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; exec "$@""#, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "writes_to_a_disk_that_is_full",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, lab.dir())
        .env(CHILD_KEY, &key)
        .status()
        .unwrap();
    assert!(status.success());
    lab.verify().unwrap();
    assert!(!lab.read_all(1).is_empty());
}

/// The child of the test above: files may not be longer than 10,000 bytes, and then they may.
#[test]
fn writes_to_a_disk_that_is_full() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let (Some(dir), Some(key)) = (std::env::var_os(CHILD), std::env::var_os(CHILD_KEY)) else {
        return;
    };
    let limit = getrlimit(Resource::Fsize);
    let full = |current| {
        let maximum = limit.maximum;
        setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
    };
    let config = Config {
        segment_bytes: 1 << 20,
        ..Config::new(&dir)
    };
    let key = SigningKey::load(key.as_ref()).unwrap();
    let mut writer = Writer::open(config, key).unwrap().writer;
    let mut reader = Reader::behind(dir.as_ref(), 1, writer.tail()).unwrap();
    full(Some(10_000));
    let mut committed = 0;
    for _ in 0..100 {
        for number in committed + 1..=committed + 7 {
            assert_eq!(writer.append(&body(number)).unwrap(), number);
        }
        if writer.commit().is_err() {
            break;
        }
        committed += 7;
    }
    assert!(committed > 0 && committed < 700, "{committed}");
    assert_eq!(writer.last(), committed);
    for _ in 0..3 {
        assert_eq!(writer.append(&body(committed)).unwrap(), committed + 1);
        assert!(writer.append(&[0; 10_000]).is_ok());
        assert!(writer.commit().is_err());
    }
    full(limit.current);
    assert_eq!(writer.append(b"after").unwrap(), committed + 1);
    writer.commit().unwrap();
    let mut read = 0;
    while let Some(entry) = reader.read().unwrap() {
        read = entry.number;
    }
    assert_eq!(read, committed + 1);
}
