//! The table and the JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use hoop_agent::clock::{ClockOffset, boot_ns};
use hoop_records::Rfc3339;
use serde::Serialize;

use crate::stats::Summary;

/// Everything that was measured, and under which circumstances.
#[derive(Debug, Serialize)]
pub struct Report {
    parameters: Parameters,
    rows: Vec<Row>,
    programs: Vec<Program>,
}

/// What the figures depend on.
#[derive(Debug, Serialize)]
struct Parameters {
    date: String,
    kernel: String,
    cpu: String,
    cores: usize,
    /// Load averages when the run began: other work on the machine spreads the figures.
    load_average: String,
    quick: bool,
}

/// One figure.
#[derive(Debug, Serialize)]
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    pub bound: Bound,
    pub measured: Summary,
    /// What is needed to judge the figure: absolute times and the like.
    pub note: String,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing: it explains the others.
    None,
}

/// What a kernel program cost while one order was carried out.
#[derive(Debug, Serialize)]
pub struct Program {
    /// The order.
    pub during: &'static str,
    pub name: String,
    /// Runs for each operation of the order.
    pub runs_per_operation: f64,
    /// Nanoseconds of one run.
    pub ns_per_run: f64,
}

impl Report {
    /// An empty report of this machine, now.
    pub fn new(quick: bool) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or_else(String::new, |name| {
                name.trim_start_matches([' ', '\t', ':']).to_owned()
            });
        let parameters = Parameters {
            date: Rfc3339(ClockOffset::measure().utc(boot_ns())).to_string(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load_average: read("/proc/loadavg").trim().to_owned(),
            quick,
        };
        Self {
            parameters,
            rows: Vec::new(),
            programs: Vec::new(),
        }
    }

    /// Adds a figure, and shows it.
    pub fn add(&mut self, row: Row) {
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Adds what programs cost.
    pub fn add_programs(&mut self, programs: Vec<Program>) {
        self.programs.extend(programs);
    }

    /// Shows what came before the first figure.
    pub fn print_head(&self) {
        let Parameters {
            kernel,
            cpu,
            cores,
            load_average,
            ..
        } = &self.parameters;
        println!("Linux {kernel}, {cores} cores of {cpu}, load {load_average}");
        println!(
            "{:<50} {:>9} {:>10} {:>8} {:>5}  {:<6}",
            "what", "bound", "measured", "spread", "runs", "verdict"
        );
    }

    /// Shows where time goes in the kernel.
    pub fn print_programs(&self) {
        println!("\nkernel programs, from the kernel's own count");
        println!(
            "{:<34} {:<16} {:>7} {:>8} {:>8}",
            "during", "program", "runs/op", "ns/run", "ns/op"
        );
        for program in &self.programs {
            println!(
                "{:<34} {:<16} {:>7.2} {:>8.0} {:>8.0}",
                program.during,
                program.name,
                program.runs_per_operation,
                program.ns_per_run,
                program.runs_per_operation * program.ns_per_run
            );
        }
    }

    /// Writes the report as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Row {
    fn line(&self) -> String {
        let Summary { median, mad, runs } = self.measured;
        let digits = match self.unit {
            "ratio" => 3,
            "ns" | "traps" => 2,
            _ => 0,
        };
        let bound = match self.bound {
            Bound::AtMost(bound) => format!("<= {bound}"),
            Bound::AtLeast(bound) => format!(">= {bound}"),
            Bound::None => String::new(),
        };
        format!(
            "{:<50} {bound:>9} {median:>10.digits$} {mad:>8.digits$} {runs:>5}  {:<6}  {}",
            self.what,
            self.verdict(),
            self.note
        )
    }

    fn verdict(&self) -> &'static str {
        let met = match self.bound {
            Bound::AtMost(bound) => self.measured.median <= bound,
            Bound::AtLeast(bound) => self.measured.median >= bound,
            Bound::None => return "",
        };
        if met { "met" } else { "missed" }
    }
}
