//! The daemon at a steady rate of events, and those who read from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hoop_tests::daemon::{self, Daemon};
use hoop_tests::lab::Lab;
use hoop_tests::{long, wait};

use super::follower::Follower;
use super::receiver::{self, Receiver};
use crate::field::Field;
use crate::load::Order;
use crate::report::{Bound, Report, Row};
use crate::stats::{Samples, Summary};
use crate::{Settings, memory, stop};

/// Events a second while latency is measured.
const CALM: u32 = 10_000;
/// Events a second of the long run.
const BUSY: u32 = 50_000;
/// How long the log and its readers may take to the last record.
const PATIENCE: Duration = Duration::from_secs(120);

/// From the kernel's event to a client of the gRPC stream, with no other reader.
pub fn latency(settings: &Settings, report: &mut Report) -> Result<()> {
    let lab = Lab::new();
    let field = Field::new(&lab)?;
    let daemon = Daemon::start_configured(&lab, &field.policy(1, 0), "");
    let (mut half, mut most, mut worst) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..if settings.quick { 1 } else { 3 } {
        stop::unless_asked()?;
        let from = settled(&daemon)?.last + 1;
        let follower = Follower::start(&lab.directory().join("audit.sock"), from)?;
        let mut load = field.tagged_load()?;
        load.run(&paced(CALM, 10))?;
        let account = settled(&daemon)?;
        ensure!(account.lost == 0, "{} events were lost", account.lost);
        let latencies = follower.finish(account.last)?;
        half.push(latencies.within(0.5));
        most.push(latencies.within(0.99));
        worst.push(latencies.within(0.999));
    }
    let half = half.summary().median;
    report.add(Row {
        what: "kernel event to gRPC client, 10,000 a second, p99, us".into(),
        unit: "us",
        bound: Bound::AtMost(10_000.0),
        measured: most.summary(),
        note: format!("p50 {half:.0}, p99.9 {:.0}", worst.summary().median),
    });
    Ok(())
}

/// Three readers at once: lines in a file, a webhook, a client of the gRPC stream.
pub fn sustained(_settings: &Settings, report: &mut Report) -> Result<()> {
    let seconds = long::either(60, 600);
    let lab = Lab::new();
    let field = Field::new(&lab)?;
    let receiver = Receiver::start()?;
    let file = lab.directory().join("records.jsonl");
    let config = format!(
        "sinks:\n  - {{ name: file, kind: file, path: {} }}\n  \
         - {{ name: hook, kind: webhook, url: \"http://{}/\" }}\n",
        file.display(),
        receiver.address()
    );
    let daemon = Daemon::start_configured(&lab, &field.policy(1, 0), &config);
    let follower = Follower::start(&lab.directory().join("audit.sock"), 1)?;
    let mut load = field.tagged_load()?;
    let before = threads(daemon.pid())?;
    let start = Instant::now();
    load.order(&paced(BUSY, seconds))?;
    let mut resident = Samples::default();
    while start.elapsed() < Duration::from_secs(seconds.into()) {
        stop::unless_asked()?;
        std::thread::sleep(Duration::from_secs(1));
        resident.push(memory::resident(daemon.pid())?);
    }
    let took = load.answer()?;
    let rate = f64::from(BUSY * seconds) / (took.wall_ns as f64 / 1e9);
    let account = settled(&daemon)?;
    let last = account.last;
    let cursor = daemon::state(&lab).join("cursors/file");
    let behind = wait::within(PATIENCE, || {
        let stored = fs::read_to_string(&cursor).ok()?.trim().parse::<u64>().ok();
        (stored? >= last && receiver.seen().last() >= last).then_some(())
    });
    behind.context("the sinks do not catch up")?;
    let caught_up = start.elapsed();
    let after = threads(daemon.pid())?;
    let peak = memory::peak(daemon.pid())?;
    let hook = receiver.seen();
    let missing_in_client = follower.seen().missing();
    let latencies = follower.finish(last)?;
    let missing = [hook.missing(), missing_in_client, missing_in(&file, last)?];
    let one = |value| Summary {
        median: value,
        mad: 0.0,
        runs: 1,
    };
    report.add(Row {
        what: format!("lost of {seconds} s at {rate:.0} events/s, 3 sinks"),
        unit: "events",
        bound: Bound::AtMost(0.0),
        measured: one((account.lost + missing.iter().sum::<u64>()) as f64),
        note: format!(
            "{} of {} events lost; webhook, client and file miss {missing:?} records, {} came twice; \
             p99 at the client {:.0} us; all delivered after {:.1} s",
            account.lost,
            account.numbered,
            hook.twice(),
            latencies.within(0.99),
            caught_up.as_secs_f64(),
        ),
    });
    let cpu: BTreeMap<&str, f64> = after
        .iter()
        .map(|(name, spent)| {
            let spent = spent - before.get(name).copied().unwrap_or_default();
            (name.as_str(), 100.0 * spent / caught_up.as_secs_f64())
        })
        .filter(|&(_, spent)| spent >= 0.5)
        .collect();
    let threads: Vec<String> = cpu
        .iter()
        .map(|(name, spent)| format!("{name} {spent:.0}"))
        .collect();
    report.add(Row {
        what: "the daemon's CPU time meanwhile, % of a core".into(),
        unit: "%",
        bound: Bound::None,
        measured: one(cpu.values().sum()),
        note: threads.join(", "),
    });
    report.add(Row {
        what: "the daemon's resident memory meanwhile, MiB".into(),
        unit: "MiB",
        bound: Bound::None,
        measured: resident.summary(),
        note: format!("VmHWM {peak:.0} MiB"),
    });
    Ok(())
}

fn paced(per_second: u32, seconds: u32) -> Order {
    Order::Paced {
        to: Field::discard(),
        per_second,
        seconds,
    }
}

/// What the daemon says of events and records.
struct Account {
    numbered: u64,
    lost: u64,
    /// Number of the last record.
    last: u64,
}

/// Once every event is in a record or counted as lost.
fn settled(daemon: &Daemon<'_>) -> Result<Account> {
    let settled = wait::within(PATIENCE, || {
        let status = daemon.status();
        let count = |name: &str| status["events"][name].as_u64();
        let (numbered, lost) = (count("numbered")?, count("lost")?);
        let last = status["records"]["last"].as_u64()?;
        (count("recorded")? + lost >= numbered).then_some(Account {
            numbered,
            lost,
            last,
        })
    });
    settled.context("the daemon does not catch up")
}

/// Records up to `last` that the file sink's files leave out. Only the newest files are kept, so
/// those before their first are not looked for: the cursor says that they were written.
fn missing_in(path: &Path, last: u64) -> Result<u64> {
    let mut numbers = Vec::new();
    for place in 0..=5 {
        let mut name = path.as_os_str().to_owned();
        if place > 0 {
            name.push(format!(".{place}"));
        }
        let Ok(lines) = fs::read(&name) else {
            continue;
        };
        numbers.extend(
            lines
                .split(|&byte| byte == b'\n')
                .filter_map(receiver::number),
        );
    }
    numbers.sort_unstable();
    numbers.dedup();
    let (first, newest) = (numbers.first(), numbers.last());
    let (first, newest) = first.zip(newest).context("the file has no records")?;
    Ok(newest.max(&last) - first + 1 - numbers.len() as u64)
}

/// CPU time of each thread of a process, in seconds, by its name.
fn threads(pid: u32) -> Result<BTreeMap<String, f64>> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        // It may have ended since.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else {
            continue;
        };
        let (name, rest) = stat.rsplit_once(')').context("a thread's name")?;
        let name = name.split_once('(').map_or(name, |(_, name)| name);
        // utime and stime, the 14th and 15th fields of the whole.
        let ticks = rest.split_whitespace().skip(11).take(2);
        let ticks: Result<Vec<f64>, _> = ticks.map(str::parse).collect();
        *threads.entry(name.to_owned()).or_default() +=
            ticks?.iter().sum::<f64>() / TICKS_PER_SECOND;
    }
    Ok(threads)
}
