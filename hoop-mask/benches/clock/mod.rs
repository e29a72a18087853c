//! Time that others on the machine count little in.

use nix::time::{ClockId, clock_gettime};

/// Seconds that this thread has run: `clock_gettime(2)`. What `/proc` says of it is told at ticks only,
/// of some milliseconds.
pub fn cpu_seconds() -> nix::Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}
