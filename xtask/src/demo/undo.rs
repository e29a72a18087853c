//! What the demonstration makes and takes back, in whatever way it ends.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run;

/// How long what is asked to end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A directory, removed with what is in it.
pub(crate) struct Directory(pub(crate) PathBuf);

/// A BPF file system, unmounted.
pub(crate) struct BpfMount(pub(crate) PathBuf);

/// A network namespace without a name: it ends with its last process.
pub(crate) struct Network(OwnedFd);

/// A child process: asked to end, then killed.
pub(crate) struct Process(pub(crate) Child);

/// The cgroups that a daemon made for `exec`, with whatever runs in them.
pub(crate) struct Cgroups {
    parent: PathBuf,
    prefix: String,
}

impl Directory {
    /// Makes a directory that only root can enter.
    pub(crate) fn new() -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("hoop-demo-{}", std::process::id()));
        let mut builder = fs::DirBuilder::new();
        builder
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_else(|err| complain(&self.0, &err));
    }
}

impl BpfMount {
    /// Mounts a BPF file system at a new directory, seen by this process and its children alone.
    /// To be called before there are other threads.
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .context("private mounts")?;
        fs::create_dir(&path)?;
        mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), none)
            .context("a BPF file system")?;
        Ok(Self(path))
    }
}

impl Drop for BpfMount {
    fn drop(&mut self) {
        if let Err(err) = umount2(&self.0, MntFlags::MNT_DETACH) {
            complain(&self.0, &err.into());
        }
    }
}

impl Network {
    /// Makes an empty one.
    pub(crate) fn new() -> Result<Self> {
        // A thread of its own, so that the caller stays where it is.
        let made = thread::spawn(|| -> Result<OwnedFd> {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?.into())
        });
        match made.join() {
            Ok(fd) => fd.map(Self),
            Err(_) => bail!("a network namespace could not be made"),
        }
    }

    /// A path that names it, for other processes too.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// `program` inside.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a batch of `ip` commands inside.
    pub(crate) fn ip(&self, batch: &str) -> Result<()> {
        for line in batch.lines().filter(|line| !line.is_empty()) {
            run::capture(self.command(Path::new("ip")).args(line.split_whitespace()))?;
        }
        Ok(())
    }
}

impl Process {
    /// Starts `command`, out of reach of the terminal's signals.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).spawn();
        Ok(Self(child.with_context(|| {
            format!("cannot start {}", run::show(command))
        })?))
    }

    fn ended(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        // It has not been waited for, so the number is still its own.
        let asked = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        if asked.is_err() || !within(PATIENCE, || self.ended()) {
            // Fails if it ended meanwhile.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Cgroups {
    /// Those of the daemon with this process id.
    pub(crate) fn of(daemon: u32) -> Result<Self> {
        Ok(Self {
            parent: cgroup2()?.join("hoop"),
            prefix: format!("exec-{daemon}-"),
        })
    }

    /// Those that are there.
    pub(crate) fn list(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.parent).into_iter().flatten().flatten();
        entries
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(&self.prefix)
            })
            .map(|entry| entry.path())
            .collect()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // What is killed leaves its cgroup a moment later.
        let gone = within(PATIENCE, || {
            for cgroup in self.list() {
                empty(&cgroup);
            }
            self.list().is_empty()
        });
        if !gone {
            eprintln!("left behind: {}/{}*", self.parent.display(), self.prefix);
        }
        // Stays where others use it.
        let _ = fs::remove_dir(&self.parent);
    }
}

/// Asks until `done` says yes, for at most `patience`. Whether it did.
pub(crate) fn within(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        // Nothing announces these conditions, so they are polled.
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// `hoop-agent uninstall`, where there is something to remove.
pub(crate) fn uninstall(agent: &Path, pins: &Path, state: &Path) -> Result<()> {
    if !pins.exists() {
        return Ok(());
    }
    let mut command = Command::new(agent);
    command
        .arg("uninstall")
        .arg("--pin-dir")
        .arg(pins)
        .arg("--state-dir")
        .arg(state);
    // Out of reach of the terminal's signals.
    run::capture(command.stdin(Stdio::null()).process_group(0)).map(drop)
}

/// Where the cgroup v2 hierarchy is mounted.
fn cgroup2() -> Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let found = table.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        source
            .starts_with("cgroup2 ")
            .then(|| mount.split(' ').nth(4))?
    });
    found
        .map(PathBuf::from)
        .context("cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup")
}

/// Kills what is in a cgroup and removes it, with those below.
fn empty(cgroup: &Path) {
    if fs::write(cgroup.join("cgroup.kill"), "1").is_err() {
        // Linux before 5.14 has no cgroup.kill.
        let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        empty(&entry.path());
    }
    // Fails while something is inside; it is tried again.
    let _ = fs::remove_dir(cgroup);
}

fn complain(path: &Path, err: &std::io::Error) {
    if err.kind() != ErrorKind::NotFound {
        eprintln!("left behind: {}: {err}", path.display());
    }
}
