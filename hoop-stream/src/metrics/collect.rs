//! The metrics, made anew at every scrape from what the daemon and the sinks count.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Gauges, Snapshot};
use crate::sinks::Statuses;
use crate::status::SinkStatus;

/// All metrics.
pub(super) struct Metrics(Registry);

impl Metrics {
    pub(super) fn new(gauges: Arc<dyn Gauges>, sinks: Statuses) -> Self {
        let mut registry = Registry::with_prefix("hoop");
        registry.register_collector(Box::new(All { gauges, sinks }));
        Self(registry)
    }

    /// In the text form of `OpenMetrics` 1.0, which Prometheus reads.
    pub(super) fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}

struct All {
    gauges: Arc<dyn Gauges>,
    sinks: Statuses,
}

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("All").finish_non_exhaustive()
    }
}

impl Collector for All {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        daemon(&mut page, &self.gauges.snapshot())?;
        sinks(&mut page, &self.sinks)
    }
}

fn daemon(page: &mut Page<'_>, now: &Snapshot) -> fmt::Result {
    page.gauges(
        ("build_info", "The daemon's version", None),
        [([("version", now.version.as_str())], 1_u64)],
    )?;
    page.counters(
        (
            "events_lost",
            "Events that were numbered in the kernel and reached no record",
            None,
        ),
        (now.events_lost.iter())
            .map(|lost| ([("ring", lost.ring), ("cause", &lost.cause)], lost.count)),
    )?;
    page.counters(
        ("verdicts", "Verdicts by rule", None),
        now.verdicts.iter().map(|of| {
            let labels = [
                ("policy", of.policy.as_str()),
                ("rule", &of.rule),
                ("result", of.result),
            ];
            (labels, of.count)
        }),
    )?;
    page.counters(
        ("bpf_runs", "How often a program ran in the kernel", None),
        (now.programs.iter()).map(|of| ([("program", of.program.as_str())], of.runs)),
    )?;
    page.counters(
        (
            "bpf_run",
            "How long a program ran in the kernel, over all CPUs",
            Some(&Unit::Seconds),
        ),
        (now.programs.iter()).map(|of| ([("program", of.program.as_str())], of.seconds)),
    )?;
    page.counters(
        ("records", "Records appended to the audit log", None),
        now.records
            .iter()
            .map(|&(kind, count)| ([("kind", kind)], count)),
    )?;
    page.gauge(
        ("log_newest_record", "Number of the newest record", None),
        now.log_newest,
    )?;
    page.gauge(
        (
            "log_oldest_record",
            "Number of the oldest record that is kept",
            None,
        ),
        now.log_oldest,
    )?;
    page.gauge(
        ("log_size", "The audit log on disk", Some(&Unit::Bytes)),
        now.log_bytes,
    )?;
    page.gauge(
        ("workloads", "Workloads that are tagged", None),
        now.workloads,
    )?;
    page.gauge(
        ("policy_epoch", "Epoch of the policies in force", None),
        now.policy_epoch,
    )?;
    page.gauges(
        ("queue", "What waits inside the daemon", Some(&Unit::Bytes)),
        now.queues
            .iter()
            .map(|&(queue, bytes)| ([("queue", queue)], bytes)),
    )
}

fn sinks(page: &mut Page<'_>, sinks: &Statuses) -> fmt::Result {
    let label = |sink: &'_ SinkStatus| [("sink", sink.name().to_owned())];
    page.gauges(
        (
            "sink_lag_records",
            "Records in the log that the sink is not done with",
            None,
        ),
        sinks.iter().map(|sink| (label(sink), sink.lag_records())),
    )?;
    page.gauges(
        (
            "sink_lag",
            "Age of the oldest record that the sink is not done with",
            Some(&Unit::Seconds),
        ),
        sinks.iter().map(|sink| (label(sink), sink.lag_seconds())),
    )?;
    page.counters(
        (
            "sink_delivered_records",
            "Records that the far side acknowledged",
            None,
        ),
        sinks.iter().map(|sink| (label(sink), sink.delivered())),
    )?;
    page.counters(
        (
            "sink_retries",
            "Deliveries that failed and were tried again",
            None,
        ),
        sinks.iter().map(|sink| (label(sink), sink.retries())),
    )?;
    page.counters(
        (
            "sink_refused_records",
            "Records that the far side takes in no form, skipped",
            None,
        ),
        sinks.iter().map(|sink| (label(sink), sink.refused())),
    )?;
    page.counters(
        (
            "sink_missed_records",
            "Records that were removed or damaged before the sink read them",
            None,
        ),
        sinks.iter().map(|sink| (label(sink), sink.missed())),
    )
}

/// Name (without prefix and unit), help and unit of a metric.
type Of<'a> = (&'a str, &'a str, Option<&'a Unit>);

/// What is scraped.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counters<L, V>(&mut self, of: Of<'_>, rows: impl IntoIterator<Item = (L, V)>) -> fmt::Result
    where
        L: EncodeLabelSet,
        V: EncodeCounterValue,
    {
        self.family(of, MetricType::Counter, rows, |mut row, value| {
            row.encode_counter::<NoLabelSet, V, u64>(&value, None)
        })
    }

    fn gauges<L, V>(&mut self, of: Of<'_>, rows: impl IntoIterator<Item = (L, V)>) -> fmt::Result
    where
        L: EncodeLabelSet,
        V: EncodeGaugeValue,
    {
        self.family(of, MetricType::Gauge, rows, |mut row, value| {
            row.encode_gauge(&value)
        })
    }

    fn gauge(&mut self, of: Of<'_>, value: u64) -> fmt::Result {
        self.gauges(of, [([("", ""); 0], value)])
    }

    fn family<L: EncodeLabelSet, V>(
        &mut self,
        (name, help, unit): Of<'_>,
        kind: MetricType,
        rows: impl IntoIterator<Item = (L, V)>,
        encode: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in rows {
            encode(family.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}
