//! Waiting for something to become true, with a deadline.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How long a test waits for something that should come at once. Generous: it is only ever spent
/// by a test that fails. An emulated machine is given `$HOOP_TEST_SLOWDOWN` times as long.
#[must_use]
pub fn patience() -> Duration {
    static SLOWDOWN: LazyLock<u32> = LazyLock::new(|| {
        let value = std::env::var("HOOP_TEST_SLOWDOWN").ok();
        value.map_or(1, |value| {
            value.parse().expect("HOOP_TEST_SLOWDOWN is a number")
        })
    });
    Duration::from_secs(20) * *SLOWDOWN
}

/// Asks `ready` until it answers, and returns the answer.
///
/// # Panics
///
/// When there is no answer within [`patience`]; the message says `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    within(patience(), ready).unwrap_or_else(|| panic!("gave up waiting for {what}"))
}

/// Asks `ready` until it answers, for at most `patience`.
pub fn within<T>(patience: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ready() {
            return Some(answer);
        }
        if Instant::now() > deadline {
            return None;
        }
        // Nothing announces these conditions, so they are polled.
        std::thread::sleep(Duration::from_millis(5));
    }
}
