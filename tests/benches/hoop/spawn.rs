//! fork and exec: the only hooks of ours that processes outside every workload run.

use std::fmt::Write as _;

use std::path::Path;

use anyhow::{Context as _, Result};
use hoop_tests::daemon;
use hoop_tests::lab::Lab;

use crate::field::Field;
use crate::load::{ARGUMENT, Load, Order, Took};
use crate::pair::{self, Paired};
use crate::report::{Bound, Report, Row};
use crate::stats::Samples;
use crate::{Settings, programs, stop, tiny};

/// Programs started in one run.
const SPAWNS: u32 = 50;
/// Runs of each kind while the daemon is there, and while it is not.
const RUNS: usize = 10;

/// Starts a tiny program with no daemon, and with one both outside and inside a workload, in turn.
pub fn measure(settings: &Settings, report: &mut Report) -> Result<()> {
    let lab = Lab::new();
    let field = Field::new(&lab)?;
    let program = tiny::write(lab.directory())?;
    let order = Order::Spawn {
        program: program.clone(),
        arguments: 2,
        times: SPAWNS,
    };
    let (mut bare, mut tagged) = (field.bare_load()?, field.tagged_load()?);
    bare.run(&order)?;
    tagged.run(&order)?;
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    let policy = format!(
        "{}{}",
        field.policy(1, 0),
        rules("path: '**/tool-N', args: ")
    );
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
    for (what, bound, runs) in [
        (
            "fork+exec, untagged with / without daemon",
            Bound::AtMost(1.01),
            outside,
        ),
        (
            "fork+exec, tagged, 20 exec rules / without daemon",
            Bound::AtMost(1.05),
            inside,
        ),
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
            bound,
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
    drop((bare, tagged));
    matcher(&field, &program, report)
}

/// What a byte of arguments costs beyond those that are recorded, so that only the matcher is
/// measured.
fn matcher(field: &Field<'_>, program: &Path, report: &mut Report) -> Result<()> {
    const TIMES: u32 = 50;
    let lengths = [256, 1_536];
    let _daemon = field
        .lab
        .daemon(&format!("{}{}", field.policy(1, 0), rules("args: ")));
    let mut load = field.tagged_load()?;
    let mut took = Vec::new();
    for arguments in lengths {
        let order = Order::Spawn {
            program: program.to_owned(),
            arguments,
            times: TIMES,
        };
        let costs = programs::cost(field.lab, "matcher", &mut load, &order, TIMES)?;
        let exec = costs.into_iter().find(|cost| cost.name == "hoop_exec");
        took.push(exec.context("hoop_exec has run")?.ns_per_run);
    }
    let bytes = f64::from((lengths[1] - lengths[0]) * ARGUMENT);
    report.add(Row {
        what: "matcher, a byte of arguments, ns".into(),
        unit: "ns",
        bound: Bound::AtMost(3.0),
        measured: [(took[1] - took[0]) / bytes]
            .into_iter()
            .collect::<Samples>()
            .summary(),
        note: format!(
            "run time of hoop_exec with {} and {} KiB, {TIMES} runs each",
            lengths[0], lengths[1]
        ),
    });
    Ok(())
}

/// Exec rules of the kind that people write; `N` in `conditions` is the number of the rule.
fn rules(conditions: &str) -> String {
    let mut text = "  exec:\n    default: allow\n    deny:\n".to_owned();
    for n in 0..20 {
        let conditions = conditions.replace('N', &n.to_string());
        let _ = writeln!(
            text,
            "      - {{ name: r{n}, because: no, {conditions}'\\b(delete|destroy-{n})\\b' }}"
        );
    }
    text
}

fn repeat(load: &mut Load, order: &Order) -> Result<Vec<Took>> {
    (0..RUNS).map(|_| load.run(order)).collect()
}
