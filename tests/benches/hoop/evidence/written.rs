//! The log on one thread: append, verify, and what is on the disk.
//!
//! Speeds are of the thread's CPU time: the machine is shared, and waiting for a core is not the log's doing.
//! What seals segments is another thread, and not counted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hoop_agent::agent::counters::Counters;
use hoop_agent::agent::output::Output;
use hoop_agent::audit::log::Log;
use hoop_agent::audit::{self, Unread};
use hoop_agent::clock::ClockOffset;
use hoop_agent::config::file::{Audit, Fsync};
use hoop_agent::pipeline::gap::CpuCounters;
use hoop_agent::pipeline::process::{Limits, ProcessTable};
use hoop_agent::pipeline::{Context, Pipeline};
use hoop_log::{Options, SigningKey, Writer};
use hoop_records::Record;
use hoop_tests::wait;
use tempfile::TempDir;

use crate::Settings;
use crate::events::{Names, Run};
use crate::pipeline::cpu_time;
use crate::report::{Bound, Report, Row};
use crate::stats::Samples;

/// Events that the recorder takes from the ring before it flushes.
const BATCH: usize = 4096;

/// Bytes of records that the daemon commits at once.
const COMMIT: usize = 256 << 10;

/// A segment that takes every record, so that none is sealed; MiB.
const ONE_SEGMENT: u32 = 4096;

/// Measures everything here.
pub fn measure(settings: &Settings, report: &mut Report) -> Result<()> {
    let (runs, records) = if settings.quick {
        (3, 300_000)
    } else {
        (7, 600_000)
    };
    let mut log = Speeds::default();
    for _ in 0..runs {
        crate::stop::unless_asked()?;
        log.run(records)?;
    }
    let mut add = |what: &str, bound, samples: &Samples, note: String| {
        report.add(Row {
            what: what.into(),
            unit: "1/s",
            bound,
            measured: samples.summary(),
            note,
        });
    };
    add(
        "records to the log: lineage to commit, one core",
        Bound::AtLeast(300_000.0),
        &log.appended,
        format!("{} bytes a record before", log.bytes / records),
    );
    add(
        "kernel events to the log, one core",
        Bound::None,
        &log.ingested,
        "the same, and the pipeline before it".into(),
    );
    add(
        "the log alone: append and commit, one core",
        Bound::None,
        &log.committed,
        format!("commits of {} KiB", COMMIT >> 10),
    );
    add(
        "verify, not sealed, one core",
        Bound::AtLeast(1_000_000.0),
        &log.verified,
        String::new(),
    );
    sealed(settings, report)
}

/// Speeds in records a second.
#[derive(Default)]
struct Speeds {
    appended: Samples,
    ingested: Samples,
    committed: Samples,
    verified: Samples,
    /// Bytes of the encoded records of one run.
    bytes: u64,
}

impl Speeds {
    fn run(&mut self, records: u64) -> Result<()> {
        let state = TempDir::with_prefix("hoop-bench-")?;
        let settings = Audit {
            fsync: Fsync::Never,
            segment_mib: ONE_SEGMENT,
            ..Audit::default()
        };
        let mut source = Source::new();
        let log = Log::open(state.path(), &settings, Unread::default())?;
        let mut output = Output::new(log, Counters::default())?;
        let mut appended = Duration::ZERO;
        let start = cpu_time()?;
        let mut made = 0;
        while made < records {
            let batch = source.batch();
            made += batch.len() as u64;
            let start = cpu_time()?;
            for record in batch {
                output.write(record);
            }
            output.log.flush();
            appended += cpu_time()? - start;
        }
        let ingested = cpu_time()? - start - source.making;
        ensure!(output.log.last_number() >= made, "records are missing");
        drop(output);
        self.appended.push(per_second(made, appended));
        self.ingested.push(per_second(made, ingested));
        let dir = audit::directory(state.path());
        self.verified.push(verify(&dir)?);
        self.alone(&dir)
    }

    /// Appends the bodies of those records to another log.
    fn alone(&mut self, dir: &Path) -> Result<()> {
        let mut bodies = Vec::new();
        let mut reader = hoop_log::Reader::open(dir, 1)?;
        while let Some(entry) = reader.read()? {
            bodies.push(Record::parse(entry.bytes)?.encode_body());
        }
        let other = TempDir::with_prefix("hoop-bench-")?;
        let config = hoop_log::Config {
            fsync: hoop_log::Fsync::Never,
            segment_bytes: u64::from(ONE_SEGMENT) << 20,
            ..hoop_log::Config::new(other.path())
        };
        let mut writer = Writer::open(config, SigningKey::generate("bench.test/node")?)?.writer;
        let start = cpu_time()?;
        let mut waiting = 0;
        for body in &bodies {
            writer.append(body)?;
            waiting += body.len();
            if waiting >= COMMIT {
                writer.commit()?;
                waiting = 0;
            }
        }
        writer.commit()?;
        let took = cpu_time()? - start;
        self.committed.push(per_second(bodies.len() as u64, took));
        self.bytes = bodies.iter().map(|body| body.len() as u64).sum();
        Ok(())
    }
}

/// A log of default segments, sealed but for the last.
fn sealed(settings: &Settings, report: &mut Report) -> Result<()> {
    let records: u64 = if settings.quick { 600_000 } else { 2_000_000 };
    let state = TempDir::with_prefix("hoop-bench-")?;
    let log = Log::open(state.path(), &Audit::default(), Unread::default())?;
    let mut output = Output::new(log, Counters::default())?;
    let mut source = Source::new();
    let mut made = 0;
    while made < records {
        let batch = source.batch();
        made += batch.len() as u64;
        batch.into_iter().for_each(|record| output.write(record));
        output.log.flush();
    }
    let dir = audit::directory(state.path());
    let size = wait::within(Duration::from_secs(60), || sealed_size(&dir).ok().flatten());
    let size = size.context("the log is not sealed")?;
    report.add(Row {
        what: "bytes on disk for a record, sealed".into(),
        unit: "bytes",
        bound: Bound::AtMost(120.0),
        measured: Samples::from_iter([size]).summary(),
        note: "of eight: a fork, an exec, four connects and one denied, an exit".into(),
    });
    let runs = if settings.quick { 3 } else { 7 };
    let speeds: Result<Samples> = (0..runs).map(|_| verify(&dir)).collect();
    report.add(Row {
        what: "verify, sealed, one core".into(),
        unit: "1/s",
        bound: Bound::AtLeast(1_000_000.0),
        measured: speeds?.summary(),
        note: "decompression included".into(),
    });
    Ok(())
}

/// Bytes a record of all segments but the last, once they are sealed.
fn sealed_size(dir: &Path) -> Result<Option<f64>> {
    let (mut bytes, mut plain) = (0, Vec::new());
    for entry in fs::read_dir(dir.join("0000000001"))? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("zst") => bytes += path.metadata()?.len(),
            Some("seg") => plain.push(path),
            _ => {}
        }
    }
    let [last] = &plain[..] else {
        return Ok(None);
    };
    // A segment is called by its first record.
    let name = last.file_stem().and_then(|name| name.to_str());
    let first: u64 = name.context("a segment's name")?.parse()?;
    Ok((first > 1).then(|| bytes as f64 / (first - 1) as f64))
}

fn verify(dir: &Path) -> Result<f64> {
    let start = cpu_time()?;
    let verified = hoop_log::verify(dir, &Options::default(), &|_| None, &mut |_, _| {})?;
    Ok(per_second(verified.last, cpu_time()? - start))
}

fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Records as the pipeline makes them.
struct Source {
    run: Run,
    pipeline: Pipeline,
    names: Names,
    /// What it took to make events, which is the kernel's work.
    making: Duration,
}

impl Source {
    fn new() -> Self {
        Self {
            run: Run::new(),
            pipeline: Pipeline::new(ProcessTable::new(Limits::default(), 0)),
            names: Names::default(),
            making: Duration::ZERO,
        }
    }

    fn batch(&mut self) -> Vec<Record> {
        let context = Context {
            directory: &self.names,
            offset: ClockOffset::measure(),
        };
        let start = cpu_time().unwrap_or_default();
        let events: Vec<Vec<u8>> = (0..BATCH).map(|_| self.run.next()).collect();
        self.making += cpu_time().unwrap_or_default() - start;
        let mut records = Vec::with_capacity(BATCH);
        for event in &events {
            let mut take = |record| records.push(record);
            self.pipeline.ingest(event, &context, &mut take);
        }
        let counters = CpuCounters {
            cpu: 0,
            numbered: self.run.last(),
            lost: [0; _],
        };
        let now = 1_000_000_000_000 + 10_007 * self.run.last();
        let mut take = |record| records.push(record);
        self.pipeline.settle(&[counters], now, &context, &mut take);
        records
    }
}
