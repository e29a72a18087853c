//! Events to JSON lines, on one thread and without I/O.

use std::time::Duration;

use anyhow::Result;
use hoop_agent::clock::ClockOffset;
use hoop_agent::pipeline::process::{Limits, ProcessTable};
use hoop_agent::pipeline::{Context, Pipeline};
use zerocopy::IntoBytes as _;

use crate::events::{self, Names};

/// The process of all events.
const PROCESS: u32 = 101;

/// Turns `events` denied connects into lines. Events a second of this thread's CPU time: the
/// machine is shared, and waiting for a core is not the pipeline's doing.
pub fn speed(events: u64) -> Result<f64> {
    let names = Names::default();
    let context = Context {
        directory: &names,
        offset: ClockOffset::measure(),
    };
    let mut pipeline = Pipeline::new(ProcessTable::new(Limits::default(), 0));
    let exec = events::exec(
        1,
        PROCESS,
        1,
        b"/usr/bin/curl",
        b"curl\0-sS\0https://192.0.2.7/\0",
    );
    pipeline.ingest(&exec, &context, &mut |_record| {});
    let (mut line, mut bytes) = (Vec::new(), 0_usize);
    let start = cpu_time()?;
    for sequence in 2..2 + events {
        let event = events::net(sequence, PROCESS);
        pipeline.ingest(event.as_bytes(), &context, &mut |record| {
            hoop_records::render(&record, &mut line);
            bytes += line.len();
            line.clear();
        });
    }
    let took = cpu_time()? - start;
    anyhow::ensure!(bytes as u64 / events > 100, "the lines are missing");
    Ok(events as f64 / took.as_secs_f64())
}

/// What this thread has run so far.
pub fn cpu_time() -> Result<Duration> {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.into())
}
