//! What each kernel program costs, as the kernel counts it: other work on the machine does not
//! change these figures by much.

use anyhow::Result;
use hoop_tests::bpf::{self, Cost};
use hoop_tests::lab::Lab;

use crate::load::{Load, Order};
use crate::report::Program;

/// Carries `order` out, which is `operations` operations, while the kernel counts.
pub fn cost(
    lab: &Lab,
    during: &'static str,
    load: &mut Load,
    order: &Order,
    operations: u32,
) -> Result<Vec<Program>> {
    load.run(order)?;
    let programs = bpf::pinned(&lab.pins());
    let counting = bpf::count_runs();
    let before: Vec<Cost> = programs.iter().map(bpf::Program::cost).collect();
    load.run(order)?;
    let after: Vec<Cost> = programs.iter().map(bpf::Program::cost).collect();
    drop(counting);
    let spent = before.iter().zip(after).map(|(before, after)| Cost {
        runs: after.runs - before.runs,
        time_ns: after.time_ns - before.time_ns,
    });
    Ok(programs
        .iter()
        .zip(spent)
        .filter(|(_, spent)| spent.runs > u64::from(operations) / 10)
        .map(|(program, spent)| Program {
            during,
            name: program.name(),
            runs_per_operation: spent.runs as f64 / f64::from(operations),
            ns_per_run: spent.time_ns as f64 / spent.runs as f64,
        })
        .collect())
}
