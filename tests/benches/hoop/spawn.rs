//! fork and exec: the only hooks of ours that processes outside every workload run.

use anyhow::Result;
use hoop_tests::daemon;
use hoop_tests::lab::Lab;

use crate::field::Field;
use crate::load::{Load, Order, Took};
use crate::pair::{self, Paired};
use crate::report::{Bound, Report, Row};
use crate::{Settings, programs, stop, tiny};

/// Programs started in one run.
const SPAWNS: u32 = 50;
/// Runs of each kind while the daemon is there, and while it is not.
const RUNS: usize = 10;

/// Starts a tiny program with no daemon, and with one both outside and inside a workload, in turn.
pub fn measure(settings: &Settings, report: &mut Report) -> Result<()> {
    let lab = Lab::new();
    let field = Field::new(&lab)?;
    let order = Order::Spawn {
        program: tiny::write(lab.directory())?,
        times: SPAWNS,
    };
    let (mut bare, mut tagged) = (field.bare_load()?, field.tagged_load()?);
    bare.run(&order)?;
    tagged.run(&order)?;
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    let policy = field.policy(1, 0);
    for turn in 0..if settings.quick { 4 } else { 12 } {
        stop::unless_asked()?;
        let mut without = Vec::new();
        if turn % 2 == 0 {
            without = repeat(&mut bare, &order)?;
        }
        let (mut untagged_runs, mut tagged_runs) = (Vec::new(), Vec::new());
        let daemon = lab.daemon(&policy);
        for _ in 0..RUNS {
            untagged_runs.push(bare.run(&order)?);
            tagged_runs.push(tagged.run(&order)?);
        }
        if turn == 0 {
            for (during, load) in [
                ("fork+exec+exit, untagged", &mut bare),
                ("fork+exec+exit, tagged", &mut tagged),
            ] {
                report.add_programs(programs::cost(&lab, during, load, &order, SPAWNS)?);
            }
        }
        drop(daemon);
        daemon::uninstall(&lab)?;
        if turn % 2 == 1 {
            without = repeat(&mut bare, &order)?;
        }
        outside.extend(without.iter().copied().zip(untagged_runs));
        inside.extend(without.into_iter().zip(tagged_runs));
    }
    for (what, runs) in [
        ("fork+exec, untagged with / without daemon", outside),
        ("fork+exec, tagged / without daemon", inside),
    ] {
        let Paired {
            wall,
            cpu,
            bare_ns,
            tagged_ns,
            ..
        } = pair::compare(&runs);
        let each = |ns: f64| ns / f64::from(SPAWNS) / 1e3;
        report.add(Row {
            what: what.into(),
            unit: "ratio",
            bound: Bound::None,
            // Daemons come and go between the two, so they are seconds apart: by the clock the
            // ratio says more about the machine's other work.
            measured: cpu,
            note: format!(
                "of CPU time; by the clock {:.3}, {:.1} / {:.1} us",
                wall.median,
                each(tagged_ns.median),
                each(bare_ns.median)
            ),
        });
    }
    Ok(())
}

fn repeat(load: &mut Load, order: &Order) -> Result<Vec<Took>> {
    (0..RUNS).map(|_| load.run(order)).collect()
}
