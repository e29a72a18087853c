//! Runs test binaries and reads from what they print how their tests went.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::run;

/// How long output may still come after a test binary's end, from processes that it left behind.
const AFTER_EXIT: Duration = Duration::from_secs(5);

/// How tests went, summed over binaries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Tests marked `#[ignore]`.
    pub(crate) skipped: u64,
    /// Names of what failed.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// A failure that is no test's: `name` says what failed.
    pub(crate) fn failure(name: impl Into<String>) -> Self {
        Self {
            failed: 1,
            failures: vec![name.into()],
            ..Self::default()
        }
    }

    /// Reads what test binaries of libtest printed, one after another.
    pub(crate) fn read(output: &str) -> Self {
        let mut tally = Self::default();
        let mut listed = Vec::new();
        for line in output.lines() {
            if line == "failures:" {
                // Printed twice: above the failed tests' output, then above their names.
                listed.clear();
            } else if let Some(counts) = line.strip_prefix("test result: ") {
                tally.passed += count(counts, "passed");
                tally.failed += count(counts, "failed");
                tally.skipped += count(counts, "ignored");
                tally.failures.append(&mut listed);
            } else if let Some(name) = line.strip_prefix("    ") {
                listed.push(name.to_owned());
            } else if !line.is_empty() {
                listed.clear();
            }
        }
        tally
    }

    /// Adds what another run gave.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.append(&mut other.failures);
    }

    /// Whether there were tests, and all passed.
    pub(crate) fn is_success(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// The line that closes a test run.
    pub(crate) fn closing_line(&self) -> String {
        let mut line = format!("{} passed, {} failed", self.passed, self.failed);
        if self.skipped > 0 {
            line.push_str(&format!(", {} skipped", self.skipped));
        }
        line
    }
}

/// Runs `command`, one or more test binaries, passes its output on as it comes, and returns how the
/// tests went. A run that ends badly without a failed test to show for it, as when a test aborts the
/// process, counts as the failure `name`.
///
/// # Errors
///
/// The command cannot be started or waited for.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<Tally> {
    run_into(io::stdout(), name, command)
}

fn run_into(
    mut out: impl Write + Send + 'static,
    name: &str,
    command: &mut Command,
) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", run::show(command)))?;
    let printed = Arc::new(Mutex::new(Vec::new()));
    let (ended, end) = mpsc::sync_channel(1);
    if let Some(mut stdout) = child.stdout.take() {
        let printed = Arc::clone(&printed);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(len) = read_retrying(&mut stdout, &mut chunk)
                && len > 0
            {
                let chunk = &chunk[..len];
                printed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(chunk);
                // A reader that went away must not end the tests.
                out.write_all(chunk).and_then(|()| out.flush()).ok();
            }
            ended.send(()).ok();
        });
    }
    let status = child.wait()?;
    // A process that a crashed test left behind may hold the pipe open for ever.
    if end.recv_timeout(AFTER_EXIT) == Err(mpsc::RecvTimeoutError::Timeout) {
        println!("{name}: left a process behind that holds its standard output");
    }
    let printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tally = Tally::read(&String::from_utf8_lossy(&printed));
    if !status.success() && tally.failed == 0 {
        tally.add(Tally::failure(format!("{name} ({status})")));
    }
    Ok(tally)
}

fn read_retrying(from: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(chunk) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The number before `what` in `ok. 3 passed; 0 failed; 1 ignored; ...`.
fn count(counts: &str, what: &str) -> u64 {
    counts
        .split(['.', ';'])
        .filter_map(|part| part.trim().strip_suffix(what))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "\
running 3 tests
test connect::denied ... FAILED
test connect::allowed ... ok
test flood::million ... ignored, long

failures:

---- connect::denied stdout ----
    indented by the test itself
thread 'connect::denied' panicked at tests/connect.rs:1:1:

failures:
    connect::denied

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.50s
";
    const PASSED: &str = "\
running 12 tests
............
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 1.00s
";

    #[test]
    fn binaries_are_summed_and_failures_named() {
        let tally = Tally::read(&format!("{FAILED}\n{PASSED}"));
        let failures = vec!["connect::denied".to_owned()];
        assert_eq!(
            tally,
            Tally {
                passed: 13,
                failed: 1,
                skipped: 1,
                failures
            }
        );
        assert!(!tally.is_success());
        assert_eq!(tally.closing_line(), "13 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_run_without_tests_is_no_success() {
        assert!(Tally::read(PASSED).is_success());
        let empty = Tally::read("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured\n");
        assert_eq!(empty, Tally::default());
        assert!(!empty.is_success());
        assert_eq!(empty.closing_line(), "0 passed, 0 failed");
    }

    #[test]
    fn a_binary_that_dies_is_a_failure() -> Result<()> {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; kill -9 $$",
        ]);
        let tally = run_into(io::sink(), "dies", &mut shell)?;
        assert_eq!((tally.passed, tally.failed), (2, 1));
        assert!(
            tally.failures[0].starts_with("dies (signal: 9"),
            "{:?}",
            tally.failures
        );
        Ok(())
    }

    #[test]
    fn a_process_left_behind_does_not_hold_the_run() -> Result<()> {
        let mut shell = Command::new("sh");
        // It ends with this test's process, or else by itself.
        let left = "timeout 60 tail -f --pid=$PPID /dev/null &";
        shell.args([
            "-c",
            &format!("{left} echo 'test result: ok. 1 passed; 0 failed'"),
        ]);
        let started = std::time::Instant::now();
        let tally = run_into(io::sink(), "leaves", &mut shell)?;
        assert_eq!(tally.passed, 1);
        assert!(started.elapsed() < Duration::from_secs(40));
        Ok(())
    }
}
