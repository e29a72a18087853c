//! `cargo xtask vm`: the kernel tests in guests with Debian's cloud kernels, the BPF LSM on.
//!
//! The root file system is made of programs of this machine, so only the kernel differs.

mod guest;
mod initramfs;
mod kernels;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use self::guest::{Job, Outcome, Step};
use self::initramfs::Initramfs;
use self::kernels::Kernel;
use crate::binaries::{self, KERNEL_TESTS, Tests};
use crate::libtest::Tally;
use crate::{build_ebpf, paths, setup};

/// What tests and their helpers run in the guest, besides Hoop's own programs.
const PROGRAMS: [&str; 23] = [
    "bash", "cat", "chmod", "cp", "dd", "echo", "env", "find", "head", "ip", "ln", "ls", "mkdir",
    "mount", "mv", "rm", "setsid", "sh", "sleep", "touch", "true", "tty", "xargs",
];

/// Files that those programs read.
const FILES: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];

/// Test binaries that have a meaning on a kernel that Hoop does not work on.
const WITHOUT_DAEMON: [&str; 1] = ["kernel"];

/// What `cargo xtask test` runs in its guest: one test for each kind of program. Each starts a
/// daemon, and the kernel verifies every program anew, which takes a while under emulation.
const SHORT: [(&str, &str); 10] = [
    (
        "before_the_tag",
        "an_open_connection_is_ended_when_its_cgroup_is_tagged",
    ),
    ("egress", "every_route_ends_at_the_policy"),
    ("escape", "who_moves_another_out_is_ended_with_it"),
    ("exec_rules", "a_path_is_denied_and_its_neighbour_is_not"),
    ("families", "only_the_kinds_that_the_policy_names_open"),
    ("hardening", "every_thread_of_the_daemon_is_confined"),
    (
        "kernel",
        "every_optional_hook_is_attached_where_the_kernel_has_what_it_needs",
    ),
    ("process_records", "a_program_is_told_from_fork_to_exit"),
    ("sockets", "raw_and_ping_sockets_are_not_allowed_unasked"),
    (
        "unix_sockets",
        "a_denied_socket_is_out_of_reach_by_every_name",
    ),
];

/// The kernel that `cargo xtask test` boots.
const SHORT_KERNEL: &str = "6.1";

/// How many times longer than on this machine a test waits before it gives up: under emulation the
/// verifier alone takes some seconds.
const SLOWDOWN: &str = "10";

/// How long a test binary may take; with long tests, ten times that.
const STEP_DEADLINE: Duration = Duration::from_secs(1200);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels by the first two numbers of their version, or `newest`.
    #[arg(long, value_delimiter = ',', default_values_t = kernels::names())]
    kernel: Vec<String>,
    /// Look for newer packages of kernels that were fetched before.
    #[arg(long)]
    refresh: bool,
    /// Run also the long tests, which are marked `#[ignore]`.
    #[arg(long)]
    long: bool,
    /// Run only these test binaries.
    #[arg(long = "test")]
    tests: Vec<String>,
    /// Run only tests whose name contains one of these.
    filter: Vec<String>,
}

/// Boots one kernel after another, prints a table of kernels and test binaries and what failed in
/// it, and returns whether all passed.
///
/// # Errors
///
/// Hoop does not build, or QEMU is not to be had: nothing was tested.
pub(crate) fn run(args: &Args) -> Result<bool> {
    build_ebpf::run()?;
    Ok(boot_all(args)?.is_success())
}

/// What `cargo xtask test` does of it: one kernel and a few tests, those of which the name contains
/// one of `filter`. The daemon is built.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn short(filter: &[String]) -> Result<Tally> {
    let mut args = Args {
        kernel: vec![SHORT_KERNEL.to_owned()],
        refresh: false,
        long: false,
        tests: Vec::new(),
        filter: Vec::new(),
    };
    for (binary, test) in SHORT {
        if filter.is_empty() || filter.iter().any(|part| test.contains(part)) {
            args.tests.push(binary.to_owned());
            args.filter.push(test.to_owned());
        }
    }
    if args.tests.is_empty() {
        return Ok(Tally::default());
    }
    boot_all(&args)
}

fn boot_all(args: &Args) -> Result<Tally> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "guests are of this machine's architecture, and only x86_64 is known here"
    );
    let qemu = setup::qemu()?;
    let mut tests = binaries::tests()?;
    if let Some(unknown) = args
        .tests
        .iter()
        .find(|name| tests.kernel.iter().all(|it| it.name() != name.as_str()))
    {
        bail!("{KERNEL_TESTS} has no test binary {unknown}");
    }
    tests
        .kernel
        .retain(|it| args.tests.is_empty() || args.tests.iter().any(|name| name == it.name()));
    let root = root(&tests)?;
    let mut rows = Vec::new();
    for name in &args.kernel {
        let outcome = kernels::obtain(name, args.refresh)
            .and_then(|kernel| boot(&qemu, kernel, &root, &tests, args));
        rows.push(Row {
            kernel: name.clone(),
            outcome,
        });
    }
    println!("{}", table(&rows, &tests));
    let mut tally = Tally::default();
    for row in &rows {
        row.explain();
        tally.add(row.tally(&tests));
    }
    Ok(tally)
}

/// One kernel of the table.
struct Row {
    kernel: String,
    /// Its release as well.
    outcome: Result<(String, Outcome)>,
}

impl Row {
    fn tally(&self, tests: &Tests) -> Tally {
        let Ok((_, outcome)) = &self.outcome else {
            return Tally::failure(format!("{}: no guest", self.kernel));
        };
        let mut sum = Tally::default();
        for test in &tests.kernel {
            if outcome.skipped.contains(test.name()) {
                continue;
            }
            let mut tally = match outcome.steps.get(test.name()) {
                Some(step) => step.tally(test.name()),
                None => Tally::failure(format!("{} (not run)", test.name())),
            };
            for name in &mut tally.failures {
                *name = format!("{}: {}: {name}", self.kernel, test.name());
            }
            sum.add(tally);
        }
        sum
    }

    /// What one test binary gave, in a word.
    fn cell(&self, test: &str) -> String {
        let Ok((_, outcome)) = &self.outcome else {
            return "no guest".to_owned();
        };
        if outcome.skipped.contains(test) {
            return "n/a".to_owned();
        }
        let Some(step) = outcome.steps.get(test) else {
            return "not run".to_owned();
        };
        let tally = step.tally(test);
        let count = tally.passed + tally.failed;
        match step.status.as_deref() {
            Some("ok") if count == 0 => "none".to_owned(),
            Some("ok") => format!("{count} ok"),
            None => "cut off".to_owned(),
            Some(status) if status.starts_with("hung") => "hung".to_owned(),
            Some(_) if !step.refusals().is_empty() => {
                format!("{} of {count} refused", tally.failed)
            }
            Some(_) => format!("{} of {count} failed", tally.failed),
        }
    }

    /// Prints what the table has no room for.
    fn explain(&self) {
        let (release, outcome) = match &self.outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                println!("{}: {error:#}", self.kernel);
                return;
            }
        };
        for what in &outcome.lacks {
            println!("{release}: refused, and tests that need a daemon are n/a: {what}");
        }
        for remark in &outcome.remarks {
            println!("{release}: {remark}");
        }
        let mut told: Vec<String> = Vec::new();
        for step in outcome.steps.values() {
            for refusal in step.refusals() {
                if !told.contains(&refusal) {
                    println!("{release}: {refusal}");
                    told.push(refusal);
                }
            }
        }
        if let Some(why) = &outcome.cut_off {
            println!("{release}: {why}");
        }
    }
}

fn table(rows: &[Row], tests: &Tests) -> String {
    let heads: Vec<String> = rows.iter().map(|row| row.kernel.clone()).collect();
    let mut lines = vec![("kernel".to_owned(), heads)];
    for test in &tests.kernel {
        let cells = rows.iter().map(|row| row.cell(test.name())).collect();
        lines.push((test.name().to_owned(), cells));
    }
    lines
        .iter()
        .map(|(name, cells)| {
            let cells: String = cells.iter().map(|cell| format!(" {cell:<16}")).collect();
            format!("{name:<16}{cells}").trim_end().to_owned() + "\n"
        })
        .collect()
}

fn boot(
    qemu: &Path,
    kernel: Kernel,
    root: &Path,
    tests: &Tests,
    args: &Args,
) -> Result<(String, Outcome)> {
    let slow = if args.long { 10 } else { 1 };
    let deadline = STEP_DEADLINE * slow;
    println!("vm: {} ({})", kernel.name, kernel.release);
    let mut arguments = vec!["--test-threads=1".to_owned()];
    arguments.extend(args.long.then(|| "--include-ignored".to_owned()));
    arguments.extend(args.filter.iter().cloned());
    let steps = tests.kernel.iter().map(|test| Step {
        name: test.name().to_owned(),
        program: test.executable.clone(),
        arguments: arguments.clone(),
        directory: test.package_dir().to_owned(),
        needs_daemon: !WITHOUT_DAEMON.contains(&test.name()),
    });
    let mut own = Initramfs::default();
    let mut modules = Vec::new();
    for module in &kernel.modules {
        let name = Path::new("/hoop-vm-modules").join(module.file_name().unwrap_or_default());
        own.file(&name, 0o644, std::fs::read(module)?);
        modules.push(name);
    }
    let job = Job {
        modules,
        environment: environment(&tests.agent),
        agent: tests.agent.clone(),
        steps: steps.collect(),
        deadline_s: deadline.as_secs(),
    };
    let count = job.steps.len() as u32;
    own.file(Path::new("/hoop-vm.json"), 0o644, serde_json::to_vec(&job)?);
    // The kernel unpacks one archive after another.
    let initramfs = kernels::home().join("initramfs");
    own.write(&initramfs)?;
    let mut all = std::fs::OpenOptions::new().append(true).open(&initramfs)?;
    std::io::copy(&mut std::fs::File::open(root)?, &mut all)?;
    let console = kernels::home().join(format!("console-{}", kernel.name));
    // The guest itself ends a step that hangs.
    let silence = deadline + Duration::from_secs(60);
    let whole = deadline * count.max(1) + Duration::from_secs(120);
    let outcome = guest::boot(qemu, &kernel, &initramfs, &console, silence, whole)?;
    Ok((kernel.release, outcome))
}

/// Makes the part of the root file system that all kernels share.
fn root(tests: &Tests) -> Result<PathBuf> {
    let mut root = Initramfs::default();
    for name in PROGRAMS {
        let program = paths::find(name).with_context(|| format!("needs the program {name}"))?;
        root.program(&program)?;
    }
    // Where tests look for the shell, wherever PATH has it.
    for path in ["/bin/sh", "/bin/true", "/bin/cat"] {
        root.program(Path::new(path))?;
    }
    for file in FILES {
        root.copy(Path::new(file))?;
    }
    for directory in ["/dev", "/proc", "/sys", "/tmp", "/run", "/root"] {
        root.directory(Path::new(directory));
    }
    root.stripped_program(&tests.agent)?;
    for program in tests.kernel.iter().chain(&tests.programs) {
        root.stripped_program(&program.executable)?;
        root.directory(program.package_dir());
    }
    let init = tests
        .programs
        .iter()
        .find(|it| it.name() == "vm-init")
        .with_context(|| format!("{KERNEL_TESTS} has no program vm-init"))?;
    root.link(Path::new("/init"), &init.executable);
    let path = kernels::home().join("root");
    std::fs::create_dir_all(kernels::home())?;
    root.write(&path)?;
    Ok(path)
}

fn environment(agent: &Path) -> BTreeMap<String, String> {
    [
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME", "/root".to_owned()),
        ("HOOP_TEST_SLOWDOWN", SLOWDOWN.to_owned()),
        ("HOOP_AGENT_BIN", agent.display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
