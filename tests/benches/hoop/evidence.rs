//! What the audit log costs: to write, to verify, to keep, and to deliver.

mod follower;
mod live;
mod receiver;
mod seen;
mod written;

use anyhow::Result;

use crate::Settings;
use crate::report::Report;

/// Measures the log alone, and then the daemon with those who read from it.
pub fn measure(settings: &Settings, report: &mut Report) -> Result<()> {
    written::measure(settings, report)?;
    live::latency(settings, report)?;
    live::sustained(settings, report)
}
