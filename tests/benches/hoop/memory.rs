//! Resident memory of the daemon.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

const KIB_PER_MIB: f64 = 1024.0;

/// `VmRSS` of a process, in MiB.
pub fn resident(pid: u32) -> Result<f64> {
    field(pid, "VmRSS:")
}

/// `VmHWM` of a process, the most that `VmRSS` ever was, in MiB.
pub fn peak(pid: u32) -> Result<f64> {
    field(pid, "VmHWM:")
}

/// The smallest of many readings over one second. A daemon that just started gives memory back
/// after a while.
pub fn idle(pid: u32) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(20));
        least = least.min(resident(pid)?);
    }
    Ok(least)
}

fn field(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
        .with_context(|| format!("{name} in /proc/{pid}/status"))?
        .parse()?;
    Ok(kib / KIB_PER_MIB)
}
