//! A node with records and sinks.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hoop_ocsf::Node;
use hoop_records::{Kind, Record, Result as Verdict, Workload};
use hoop_stream::config::SinkConfig;
use hoop_stream::memory::MemoryLog;
use hoop_stream::sinks::Sinks;
use prost::Message as _;
use serde_json::Value;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn node() -> Arc<Node> {
    Arc::new(Node {
        hostname: "node-1".into(),
        log: "node-1-7f3a".into(),
        version: "0.1.0".into(),
    })
}

/// A record of its number, an exec or a denied connect by turns.
pub(crate) fn record(number: u64) -> Record {
    let (kind, verdict) = if number.is_multiple_of(2) {
        (Kind::Exec, None)
    } else {
        let verdict = hoop_records::Verdict {
            result: Verdict::Deny as i32,
            rule: "metadata".into(),
            ..Default::default()
        };
        (Kind::Connect, Some(verdict))
    };
    Record {
        number,
        time_dt: 1_795_597_886_000_000_000 + number.cast_signed(),
        kind: kind as i32,
        verdict,
        workload: Some(
            Workload {
                cgroup: "/hoop/copilot".into(),
                policy: "copilots".into(),
                identity: "spiffe://example.org/agents/copilot".into(),
                ..Workload::default()
            }
            .into(),
        ),
        ..Record::default()
    }
}

/// Appends records up to that number.
pub(crate) fn fill(log: &MemoryLog, through: u64) {
    use hoop_stream::source::Log as _;
    for number in log.last() + 1..=through {
        assert_eq!(log.append(record(number).encode_to_vec()), number);
    }
}

pub(crate) fn config(json: Value) -> SinkConfig {
    serde_json::from_value(json).unwrap()
}

pub(crate) fn start(
    log: &MemoryLog,
    cursors: &Path,
    configs: impl IntoIterator<Item = Value>,
) -> Sinks {
    let configs: Vec<_> = configs.into_iter().map(config).collect();
    Sinks::start(&configs, log, &node(), cursors).unwrap()
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until every sink is done with that record, on disk too.
pub(crate) async fn stored(sinks: &Sinks, number: u64) {
    let statuses = sinks.statuses();
    until(&format!("all sinks at {number}: {statuses:?}"), || {
        statuses.iter().all(|sink| sink.stored() >= number)
    })
    .await;
}

/// The numbers in lines of records' JSON, which begins with its name: parsing all of it would take most of
/// the test's time.
pub(crate) fn numbers(lines: &[u8]) -> Vec<u64> {
    let lines = str::from_utf8(lines).unwrap().lines();
    let number = |line: &str| {
        let (number, _) = line
            .strip_prefix(r#"{"id":"node-1-7f3a/"#)
            .unwrap()
            .split_once('"')
            .unwrap();
        number.parse().unwrap()
    };
    lines.map(number).collect()
}

/// That each of the numbers is there, and for the first time in order.
pub(crate) fn assert_each_in_order(numbers: &[u64], wanted: impl IntoIterator<Item = u64>) {
    let mut newest = 0;
    let firsts: Vec<_> = numbers
        .iter()
        .copied()
        .filter(|&number| {
            let first = number > newest;
            newest = newest.max(number);
            first
        })
        .collect();
    assert_eq!(firsts, wanted.into_iter().collect::<Vec<_>>());
}
