//! From the start of the daemon until it enforces.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use hoop_tests::daemon;
use hoop_tests::lab::{Lab, Workload};

use crate::report::{Bound, Report, Row};
use crate::stats::Samples;
use crate::{Settings, stop};

const WORKLOADS: usize = 100;
/// Exec rules of every policy.
const RULES: usize = 20;

/// Starts the daemon where none ran before, and where one is to be succeeded.
pub fn measure(settings: &Settings, report: &mut Report) -> Result<()> {
    let lab = Lab::new();
    let names: Vec<String> = (0..WORKLOADS).map(|n| format!("agent-{n}")).collect();
    let _workloads: Vec<Workload<'_>> = names.iter().map(|name| lab.workload(name)).collect();
    let one = lab.policy("agents", &spec(""));
    let same: Vec<String> = names
        .iter()
        .map(|name| lab.policy(name, &spec("")))
        .collect();
    let other: Vec<String> = names
        .iter()
        .map(|name| lab.policy(name, &spec(name)))
        .collect();
    for (policies, text, bound) in [
        ("one policy", one, Bound::AtMost(1000.0)),
        (
            "100 policies, equal exec rules",
            same.join("---\n"),
            Bound::AtMost(1000.0),
        ),
        (
            "100 policies, other exec rules each",
            other.join("---\n"),
            Bound::None,
        ),
    ] {
        let (mut fresh, mut again) = (Samples::default(), Samples::default());
        for _ in 0..if settings.quick { 3 } else { 9 } {
            for samples in [&mut fresh, &mut again] {
                stop::unless_asked()?;
                let start = Instant::now();
                let mut daemon = lab.daemon(&text);
                samples.push(start.elapsed().as_secs_f64() * 1e3);
                daemon.stop();
            }
            daemon::uninstall(&lab)?;
        }
        for (kind, samples) in [("start", fresh), ("start again", again)] {
            report.add(Row {
                what: format!("{kind}, {WORKLOADS} workloads, {policies}, ms"),
                unit: "ms",
                bound,
                measured: samples.summary(),
                note: format!("{RULES} exec rules in a policy; until READY=1"),
            });
        }
    }
    Ok(())
}

/// Rules of the kind that people write. `mark` makes them differ from those with another mark.
fn spec(mark: &str) -> String {
    let mut spec =
        "mode: enforce\negress: { default: deny }\nexec:\n  default: allow\n  deny:\n".to_owned();
    for n in 0..RULES {
        let path = format!("**/tool-{mark}{n}");
        let args = format!(r"\b(delete|destroy-{n})\b.*--all");
        let _ = writeln!(
            spec,
            "    - {{ name: r{n}, path: '{path}', args: '{args}', because: no }}"
        );
    }
    spec
}
