//! Paired runs: two loads take turns at the same order, one bare and one tagged.

use anyhow::Result;

use crate::load::{Load, Order, Took};
use crate::stats::{Samples, Summary};
use crate::stop;

/// How often to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Fresh pairs of processes. Where a process's memory lies changes its speed by more than is
    /// measured here, so one pair says little.
    pub pairs: u32,
    /// Paired runs of each pair.
    pub rounds: u32,
}

/// What paired runs say.
#[derive(Clone, Copy, Debug)]
pub struct Paired {
    /// Tagged by bare, by the clock.
    pub wall: Summary,
    /// Tagged by bare, in CPU time.
    pub cpu: Summary,
    /// Nanoseconds of one bare run, by the clock.
    pub bare_ns: Summary,
    /// Nanoseconds of one tagged run, by the clock.
    pub tagged_ns: Summary,
}

/// Runs `order` in turn on `bare` and `tagged`, in the order ABBA, and compares neighbours.
pub fn measure(
    plan: Plan,
    order: &Order,
    bare: impl Fn() -> Result<Load>,
    tagged: impl Fn() -> Result<Load>,
) -> Result<Paired> {
    let mut runs = Vec::new();
    for _ in 0..plan.pairs {
        let (mut bare, mut tagged) = (bare()?, tagged()?);
        bare.run(order)?;
        tagged.run(order)?;
        for round in 0..plan.rounds {
            stop::unless_asked()?;
            runs.push(if round % 2 == 0 {
                let first = bare.run(order)?;
                (first, tagged.run(order)?)
            } else {
                let first = tagged.run(order)?;
                (bare.run(order)?, first)
            });
        }
    }
    Ok(compare(&runs))
}

/// Compares pairs of one bare and one tagged run.
pub fn compare(runs: &[(Took, Took)]) -> Paired {
    let each = |value: fn(&(Took, Took)) -> f64| runs.iter().map(value).collect::<Samples>();
    Paired {
        wall: each(|(bare, tagged)| tagged.wall_ns as f64 / bare.wall_ns as f64).summary(),
        cpu: each(|(bare, tagged)| tagged.cpu_ns as f64 / bare.cpu_ns as f64).summary(),
        bare_ns: each(|(bare, _)| bare.wall_ns as f64).summary(),
        tagged_ns: each(|(_, tagged)| tagged.wall_ns as f64).summary(),
    }
}
