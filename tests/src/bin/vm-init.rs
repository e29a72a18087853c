//! The first process of a guest that `cargo xtask vm` boots: sets the machine up, runs the test
//! binaries of `/hoop-vm.json` one after another, and powers off.
//!
//! What tests print goes to the second serial port, between lines that start with `hoop-vm: `. The
//! kernel keeps the first one to itself.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;
use serde::Deserialize;

const JOB: &str = "/hoop-vm.json";
const PORT: &str = "/dev/ttyS1";

/// File system type and where it is mounted. `/tmp` is in memory already, and may hold programs.
const MOUNTS: [(&str, &str); 10] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("tmpfs", "/run"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
];

/// What the harness asks for.
#[derive(Deserialize)]
struct Job {
    /// Kernel modules, in the order in which they load.
    modules: Vec<PathBuf>,
    environment: BTreeMap<String, String>,
    /// The daemon's program, which is asked whether Hoop can work here.
    agent: PathBuf,
    /// What to run.
    steps: Vec<Step>,
    /// Seconds that one step may take.
    deadline_s: u64,
}

#[derive(Deserialize)]
struct Step {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    /// Whether it has a meaning only where Hoop works.
    needs_daemon: bool,
}

/// What `doctor` finds, as far as it is of interest.
#[derive(Deserialize)]
struct Finding {
    what: String,
    state: String,
    detail: String,
}

fn main() {
    if let Err(error) = run() {
        // Nowhere else to say it: the kernel's console.
        eprintln!("hoop-vm: {error:#}");
    }
    nix::unistd::sync();
    // SAFETY: takes no pointers.
    unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_POWER_OFF) };
}

fn run() -> Result<()> {
    for (kind, target) in MOUNTS {
        let _ = fs::create_dir(target);
        mount(
            Some(kind),
            target,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("mount {kind} on {target}"))?;
    }
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777)).context("/tmp")?;
    let mut port = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(PORT)
        .context(PORT)?;
    let result = work(&mut port);
    if let Err(error) = &result {
        writeln!(port, "hoop-vm: error {error:#}")?;
    }
    writeln!(port, "hoop-vm: done")?;
    // Power-off would drop what the port has not sent yet.
    // SAFETY: takes no pointers; the descriptor is open.
    unsafe { libc::tcdrain(port.as_raw_fd()) };
    Ok(())
}

fn work(port: &mut File) -> Result<()> {
    let job: Job = serde_json::from_slice(&fs::read(JOB).context(JOB)?).context(JOB)?;
    for module in &job.modules {
        if let Err(error) = load_module(module) {
            writeln!(port, "hoop-vm: module {}: {error}", module.display())?;
        }
    }
    let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    writeln!(port, "hoop-vm: lsm {}", lsm.trim())?;
    let deadline = Duration::from_secs(job.deadline_s);
    step(port, &job.environment, &loopback(), deadline)?;
    let findings = findings(&job.agent, &job.environment).context("doctor")?;
    let mut works = true;
    for it in &findings {
        // What Hoop works without is a remark.
        let prefix = match it.state.as_str() {
            "needed" => "lacks ",
            "missing" => "",
            _ => continue,
        };
        works &= it.state != "needed";
        let detail = it.detail.replace('\n', &format!("\nhoop-vm: {prefix}"));
        writeln!(port, "hoop-vm: {prefix}{}: {detail}", it.what)?;
    }
    for it in &job.steps {
        if it.needs_daemon && !works {
            writeln!(port, "hoop-vm: skip {}", it.name)?;
            continue;
        }
        writeln!(port, "hoop-vm: start {}", it.name)?;
        let end = step(port, &job.environment, it, deadline)
            .unwrap_or_else(|error| format!("failed: {error:#}"));
        writeln!(port, "hoop-vm: end {} {end}", it.name)?;
    }
    Ok(())
}

/// What `doctor` says of this kernel.
fn findings(agent: &Path, environment: &BTreeMap<String, String>) -> Result<Vec<Finding>> {
    let output = Command::new(agent)
        .args(["doctor", "--output", "json"])
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn load_module(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: the descriptor is open, the parameters are a C string.
    let result =
        unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn loopback() -> Step {
    Step {
        name: "lo".to_owned(),
        program: "ip".into(),
        arguments: ["link", "set", "lo", "up"].map(str::to_owned).to_vec(),
        directory: "/".into(),
        needs_daemon: false,
    }
}

/// Runs one program, passes on what it prints, ends what it leaves behind, and says how it went.
fn step(
    port: &File,
    environment: &BTreeMap<String, String>,
    step: &Step,
    deadline: Duration,
) -> Result<String> {
    let (mut printed, stdout) = io::pipe()?;
    let stderr = stdout.try_clone()?;
    let child = Command::new(&step.program)
        .args(&step.arguments)
        .current_dir(&step.directory)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .with_context(|| step.program.display().to_string())?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut out = port.try_clone()?;
    let copier = thread::spawn(move || io::copy(&mut printed, &mut out));
    let (ended, end) = mpsc::sync_channel(1);
    let watchdog = thread::spawn(move || {
        let late = end.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let _ = kill(pid, Signal::SIGKILL);
        }
        late
    });
    let status = reap_until(pid)?;
    let _ = ended.send(());
    let late = watchdog.join().is_ok_and(|late| late);
    end_all();
    let _ = copier.join();
    Ok(match status {
        _ if late => format!("hung: not done after {} s", deadline.as_secs()),
        WaitStatus::Exited(_, 0) => "ok".to_owned(),
        WaitStatus::Exited(_, code) => format!("failed: exit code {code}"),
        other => format!("failed: {other:?}"),
    })
}

/// Waits for the child, and for every orphan meanwhile.
fn reap_until(child: Pid) -> Result<WaitStatus> {
    loop {
        match wait() {
            Ok(status) if status.pid() == Some(child) => return Ok(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills every process but this one, and waits until they are gone.
fn end_all() {
    loop {
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        // A killed process hands its children to this one before it is gone itself.
        if wait() == Err(Errno::ECHILD) {
            return;
        }
    }
}
