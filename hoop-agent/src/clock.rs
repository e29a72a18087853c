//! The two clocks of a record: UTC and time since boot.

use nix::time::{ClockId, clock_gettime};

/// UTC minus boot time, in nanoseconds. Changes whenever the wall clock is corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffset(pub i64);

impl ClockOffset {
    /// Reads both clocks.
    #[must_use]
    pub fn measure() -> Self {
        // The wall clock between two readings of the other: their middle is when it was read.
        let before = boot_ns();
        let utc = nanoseconds(ClockId::CLOCK_REALTIME);
        let after = boot_ns();
        Self(utc.wrapping_sub((before + (after - before) / 2).cast_signed()))
    }

    /// The UTC time of a boot time, both in nanoseconds.
    #[must_use]
    pub fn utc(self, boot_ns: u64) -> i64 {
        boot_ns.cast_signed().wrapping_add(self.0)
    }
}

/// Nanoseconds since boot, suspend included: `CLOCK_BOOTTIME`, as `bpf_ktime_get_boot_ns()`.
#[must_use]
pub fn boot_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_BOOTTIME).cast_unsigned()
}

fn nanoseconds(clock: ClockId) -> i64 {
    // Fails only for a clock that the kernel does not have; both are older than our floor.
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_leads_from_boot_time_to_the_wall_clock() {
        let before = nanoseconds(ClockId::CLOCK_REALTIME);
        let now = ClockOffset::measure().utc(boot_ns());
        assert!((now - before).abs() < 60_000_000_000, "{now} {before}");
    }
}
