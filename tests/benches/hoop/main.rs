//! `cargo xtask bench`: what being governed costs. Every cost is a ratio of paired runs in one
//! invocation, since ratios travel better than times and a machine is never alone.
//!
//! Results are errors, not panics, up to here, and the profile unwinds: whatever happens, the lab
//! is taken down.

mod events;
mod evidence;
mod field;
mod load;
mod memory;
mod pair;
mod payload;
mod pipeline;
mod programs;
mod report;
mod spawn;
mod start;
mod stats;
mod stop;
mod tiny;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hoop_agent::clock::boot_ns;
use hoop_tests::daemon::{self, Daemon};
use hoop_tests::lab::Lab;
use hoop_tests::wait;

use crate::field::Field;
use crate::load::{Order, Protocol};
use crate::pair::{Paired, Plan};
use crate::report::{Bound, Report, Row};
use crate::stats::{Samples, Summary};

/// Networks in the large policy.
const MANY: u32 = 100_000;
/// Connections of one run: some milliseconds, so that most runs are not interrupted.
const CONNECTS: u32 = 250;
/// Bytes of one bulk run.
const BULK: u64 = 64 << 20;

/// The flood of the tests: a million events.
const FLOOD_PROCESSES: u32 = 8;
const FLOOD_EACH: u32 = 125_000;

struct Settings {
    quick: bool,
    json: PathBuf,
    /// Measure only the parts with these names; all if empty.
    only: Vec<String>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == load::ROLE) {
        return load::serve();
    }
    stop::on_signals()?;
    let settings = Settings::parse(arguments)?;
    let mut report = Report::new(settings.quick);
    report.print_head();
    let parts: [(&str, Part); 9] = [
        ("pipeline", pipeline),
        ("connect", connect),
        ("reload", reload),
        ("memory", memory),
        ("exec", spawn::measure),
        ("start", start::measure),
        ("payload", payload::measure),
        ("tls", tls::measure),
        ("evidence", evidence::measure),
    ];
    for (name, part) in parts {
        if settings.only.is_empty() || settings.only.iter().any(|only| only == name) {
            part(&settings, &mut report).with_context(|| format!("part {name}"))?;
        }
    }
    report.print_programs();
    report.write(&settings.json)
}

/// One part of the report.
type Part = fn(&Settings, &mut Report) -> Result<()>;

impl Settings {
    fn parse(arguments: Vec<String>) -> Result<Self> {
        let mut settings = Self {
            quick: false,
            json: "bench.json".into(),
            only: Vec::new(),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // cargo bench adds it.
                "--bench" => {}
                "--quick" => settings.quick = true,
                "--json" => settings.json = arguments.next().context("--json PATH")?.into(),
                part if !part.starts_with('-') => settings.only.push(argument),
                _ => bail!("unknown option {argument}"),
            }
        }
        Ok(settings)
    }

    fn plan(&self, pairs: u32, rounds: u32) -> Plan {
        if self.quick {
            Plan {
                pairs: pairs.div_ceil(4),
                rounds: rounds.div_ceil(2),
            }
        } else {
            Plan { pairs, rounds }
        }
    }
}

fn pipeline(settings: &Settings, report: &mut Report) -> Result<()> {
    let runs = if settings.quick { 3 } else { 9 };
    let events = 300_000;
    let speeds: Result<Samples> = (0..runs).map(|_| pipeline::speed(events)).collect();
    report.add(Row {
        what: "events to JSON lines, one core, a second".into(),
        unit: "1/s",
        bound: Bound::AtLeast(300_000.0),
        measured: speeds?.summary(),
        note: "of the thread's CPU time".into(),
    });
    Ok(())
}

fn connect(settings: &Settings, report: &mut Report) -> Result<()> {
    let lab = Lab::new();
    let field = Field::new(&lab)?;
    let daemon = lab.daemon(&field.policy(1, 0));
    let plan = settings.plan(12, 60);
    let tcp = connects(Protocol::Tcp);
    let control = pair::measure(plan, &tcp, || field.bare_load(), || field.bare_load())?;
    add_ratio(
        report,
        "TCP connect: bare / bare (control)",
        Bound::None,
        &control,
    );
    for (cidrs, bound) in [(1, 1.03), (MANY, 1.05)] {
        if cidrs > 1 {
            daemon.change_policy(&field.policy(cidrs, 0));
        }
        for (protocol, bound) in [
            (Protocol::Tcp, Bound::AtMost(bound)),
            (Protocol::Udp, Bound::None),
        ] {
            let order = connects(protocol);
            let paired = pair::measure(plan, &order, || field.bare_load(), || field.tagged_load())?;
            let what = format!("{protocol:?} socket+connect+close, {cidrs} CIDRs");
            add_ratio(report, &what, bound, &paired);
        }
        let during = match cidrs {
            1 => ["TCP connect, 1 CIDR", "UDP connect, 1 CIDR"],
            _ => ["TCP connect, 100,000 CIDRs", "UDP connect, 100,000 CIDRs"],
        };
        for (protocol, during) in [Protocol::Tcp, Protocol::Udp].into_iter().zip(during) {
            let order = Order::Connect {
                protocol,
                to: Field::discard(),
                times: 10_000,
            };
            let mut load = field.tagged_load()?;
            report.add_programs(programs::cost(&lab, during, &mut load, &order, 10_000)?);
        }
    }
    daemon.change_policy(&field.policy(1, 0));
    bulk(settings, report, &field)
}

fn connects(protocol: Protocol) -> Order {
    Order::Connect {
        protocol,
        to: Field::discard(),
        times: CONNECTS,
    }
}

fn bulk(settings: &Settings, report: &mut Report, field: &Field<'_>) -> Result<()> {
    let order = Order::Bulk {
        to: Field::sink(),
        bytes: BULK,
    };
    let plan = settings.plan(8, 24);
    let paired = pair::measure(plan, &order, || field.bare_load(), || field.tagged_load())?;
    // The same bytes in both, so throughput is the inverse of time.
    let throughput = |ratio: Summary| Summary {
        median: 1.0 / ratio.median,
        ..ratio
    };
    report.add(Row {
        what: "bulk TCP over loopback, throughput".into(),
        unit: "ratio",
        bound: Bound::AtLeast(0.98),
        measured: throughput(paired.wall),
        note: format!(
            "bare {:.2} GB/s; by CPU time {:.3}",
            BULK as f64 / paired.bare_ns.median,
            throughput(paired.cpu).median
        ),
    });
    let mut load = field.tagged_load()?;
    let costs = programs::cost(
        field.lab,
        "bulk TCP, each MiB",
        &mut load,
        &order,
        (BULK >> 20) as u32,
    )?;
    report.add_programs(costs);
    Ok(())
}

fn add_ratio(report: &mut Report, what: &str, bound: Bound, paired: &Paired) {
    let each = |ns: Summary| ns.median / f64::from(CONNECTS);
    report.add(Row {
        what: what.into(),
        unit: "ratio",
        bound,
        measured: paired.wall,
        note: format!(
            "{:.0} / {:.0} ns; by CPU time {:.3}",
            each(paired.tagged_ns),
            each(paired.bare_ns),
            paired.cpu.median
        ),
    });
}

fn reload(settings: &Settings, report: &mut Report) -> Result<()> {
    let lab = Lab::new();
    let field = Field::new(&lab)?;
    let daemon = lab.daemon(&field.policy(MANY, 0));
    let mut took = Samples::default();
    let before = daemon_cpu_ms(daemon.pid())?;
    for run in 1..=if settings.quick { 5 } else { 21 } {
        let policy = field.policy(MANY, run);
        stop::unless_asked()?;
        let known = daemon.records().len();
        let new = lab.directory().join("policy.new");
        std::fs::write(&new, policy)?;
        let start = boot_ns();
        std::fs::rename(&new, daemon::policy_file(&lab))?;
        let loaded = wait::until("the policy to be loaded", || {
            daemon
                .records()
                .into_iter()
                .skip(known)
                .find(|record| record.is("policy") && record.activity() == "loaded")
        });
        took.push(loaded.number("boot_time_ns").saturating_sub(start) as f64 / 1e6);
    }
    let spent = daemon_cpu_ms(daemon.pid())? - before;
    let took = took.summary();
    report.add(Row {
        what: "policy of 100,000 CIDRs, reload to in force, ms".into(),
        unit: "ms",
        bound: Bound::AtMost(250.0),
        measured: took,
        note: format!(
            "from the rename of the file, 20 ms of waiting for quiet included; \
             {:.0} ms of CPU time each",
            spent / took.runs as f64
        ),
    });
    Ok(())
}

/// CPU time of all threads that the daemon ever had, in milliseconds.
fn daemon_cpu_ms(pid: u32) -> Result<f64> {
    const MS_PER_TICK: f64 = 10.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // utime and stime, the 14th and 15th fields of the whole.
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = ticks.map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() * MS_PER_TICK)
}

fn memory(settings: &Settings, report: &mut Report) -> Result<()> {
    let lab = Lab::new();
    let field = Field::new(&lab)?;
    let (mut idle, mut flooded) = (Samples::default(), Samples::default());
    let mut lost = 0;
    for _ in 0..if settings.quick { 1 } else { 3 } {
        stop::unless_asked()?;
        let daemon = lab.daemon(&field.policy(1, 0));
        let mut load = field.tagged_load()?;
        idle.push(memory::idle(daemon.pid())?);
        load.run(&Order::Flood {
            to: Field::discard(),
            processes: FLOOD_PROCESSES,
            each: FLOOD_EACH,
        })?;
        let account = wait::within(Duration::from_secs(120), || account(&daemon));
        lost += account.context("the daemon does not catch up")?;
        flooded.push(memory::peak(daemon.pid())?);
    }
    let mut add = |what: &str, bound, samples: &Samples, note: String| {
        report.add(Row {
            what: what.into(),
            unit: "MiB",
            bound: Bound::AtMost(bound),
            measured: samples.summary(),
            note,
        });
    };
    add(
        "daemon's resident memory, idle, MiB",
        32.0,
        &idle,
        String::new(),
    );
    let note = format!("VmHWM; {lost} events lost and counted");
    add(
        "daemon's resident memory, under the flood, MiB",
        96.0,
        &flooded,
        note,
    );
    Ok(())
}

/// Events lost, once every numbered event is accounted for.
fn account(daemon: &Daemon<'_>) -> Option<u64> {
    let status = daemon.status();
    let count = |name: &str| status["events"][name].as_u64();
    let (numbered, lost) = (count("numbered")?, count("lost")?);
    let whole = u64::from(FLOOD_PROCESSES * FLOOD_EACH);
    (numbered >= whole && count("recorded")? + lost >= numbered).then_some(lost)
}
