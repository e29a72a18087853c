//! Metrics in Prometheus' text form, and what an orchestrator asks: `/metrics`, `/healthz`, `/readyz`.

mod collect;
mod config;
mod serve;

pub use config::MetricsConfig;
pub use serve::{MetricsError, MetricsServer, Ready};

/// Values that the daemon owns, read at every scrape.
pub trait Gauges: Send + Sync + 'static {
    /// What they are now. Must not block.
    fn snapshot(&self) -> Snapshot;
}

/// What the daemon tells about itself. Counters count from its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The daemon's version, for `hoop_build_info`.
    pub version: String,
    /// `hoop_events_lost_total`: events that were numbered in the kernel and reached no record.
    pub events_lost: Vec<Lost>,
    /// `hoop_verdicts_total`.
    pub verdicts: Vec<Verdicts>,
    /// `hoop_bpf_run_seconds_total` and `hoop_bpf_runs_total`; empty where the kernel does not measure.
    pub programs: Vec<Program>,
    /// `hoop_records_total`: records appended to the log, by kind.
    pub records: Vec<(&'static str, u64)>,
    /// `hoop_log_newest_record`: number of the newest.
    pub log_newest: u64,
    /// `hoop_log_oldest_record`: number of the oldest that is kept.
    pub log_oldest: u64,
    /// `hoop_log_size_bytes`: bytes of the log on disk.
    pub log_bytes: u64,
    /// `hoop_workloads`: workloads that are tagged.
    pub workloads: u64,
    /// `hoop_policy_epoch`: the epoch in force.
    pub policy_epoch: u64,
    /// `hoop_queue_bytes`: what waits inside the daemon, by queue.
    pub queues: Vec<(&'static str, u64)>,
}

/// Events that were lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The ring: `control` or `payload`.
    pub ring: &'static str,
    /// Why, as `Gap.cause` has it.
    pub cause: String,
    /// How many.
    pub count: u64,
}

/// Verdicts of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// The policy.
    pub policy: String,
    /// The rule; `default` where none matched.
    pub rule: String,
    /// `allow`, `deny` or `shadow`.
    pub result: &'static str,
    /// How many.
    pub count: u64,
}

/// One of Hoop's programs in the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Its name, as `HookStatus.name` has it.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long, in seconds, over all CPUs.
    pub seconds: f64,
}
