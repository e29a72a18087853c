//! Cgroups that a test makes and removes.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::wait;

/// A cgroup v2 directory that the test made. Dropping it kills what is inside and removes it, with
/// everything below.
#[derive(Debug)]
pub struct Cgroup {
    directory: PathBuf,
    path: String,
}

/// Cgroups below each other, of which the deepest is open. Dropping it kills what is inside and
/// removes them.
#[derive(Debug)]
pub struct Nest {
    top: PathBuf,
    deepest: OwnedFd,
    depth: u32,
}

/// The name of each.
const NESTED: &str = "n";

impl Cgroup {
    /// Makes the cgroup `path`, which starts with `/` and is relative to the cgroup v2 mount.
    ///
    /// # Errors
    ///
    /// When cgroup v2 is not mounted, or the directory cannot be made.
    pub fn create(path: &str) -> Result<Self> {
        let directory = mount()?.join(path.trim_start_matches('/'));
        fs::create_dir(&directory).with_context(|| format!("mkdir {}", directory.display()))?;
        Ok(Self {
            directory,
            path: path.to_owned(),
        })
    }

    /// Makes a cgroup below this one.
    ///
    /// # Panics
    ///
    /// When the directory cannot be made.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self::create(&format!("{}/{name}", self.path)).expect("a cgroup below")
    }

    /// Makes so many cgroups below this one, each in the one before: deeper than any path reaches.
    ///
    /// # Panics
    ///
    /// When the kernel refuses.
    #[must_use]
    pub fn nest(&self, depth: u32) -> Nest {
        let deepest = File::open(&self.directory)
            .expect("the cgroup exists")
            .into();
        let mut nest = Nest {
            top: self.directory.clone(),
            deepest,
            depth: 0,
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        for _ in 0..depth {
            mkdirat(&nest.deepest, NESTED, Mode::from_bits_truncate(0o755)).expect("mkdir");
            nest.depth += 1;
            nest.deepest = openat(&nest.deepest, NESTED, flags, Mode::empty()).expect("open");
        }
        nest
    }

    /// Path relative to the cgroup v2 mount, as policies and records name it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Path in the file system.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Id of the cgroup: its inode number.
    ///
    /// # Panics
    ///
    /// When the directory is gone.
    #[must_use]
    pub fn id(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(&self.directory)
            .expect("the cgroup exists")
            .ino()
    }

    /// Moves a process in.
    ///
    /// # Panics
    ///
    /// When the kernel refuses.
    pub fn adopt(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).expect("move a process");
    }

    /// Kills every process inside and below.
    pub fn kill(&self) {
        if fs::write(self.directory.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // Linux before 5.14 has no cgroup.kill.
        for directory in below(&self.directory) {
            let pids = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines().filter_map(|line| line.parse().ok()) {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
}

impl Nest {
    /// Moves a process into the deepest.
    ///
    /// # Panics
    ///
    /// When the kernel refuses.
    pub fn adopt(&self, pid: u32) {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let procs = openat(&self.deepest, "cgroup.procs", flags, Mode::empty());
        let mut procs = File::from(procs.expect("cgroup.procs"));
        procs
            .write_all(pid.to_string().as_bytes())
            .expect("move a process");
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let gone = wait::within(wait::patience(), || {
            let _ = fs::write(self.top.join("cgroup.kill"), "1");
            while self.depth > 0 {
                let above = openat(&self.deepest, "..", flags, Mode::empty()).ok()?;
                unlinkat(&above, NESTED, UnlinkatFlags::RemoveDir).ok()?;
                self.deepest = above;
                self.depth -= 1;
            }
            Some(())
        });
        if gone.is_none() {
            eprintln!(
                "left behind: {} cgroups below {}",
                self.depth,
                self.top.display()
            );
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A killed process leaves its cgroup a moment later; a child may have been forked meanwhile.
        let gone = wait::within(wait::patience(), || {
            if !self.directory.exists() {
                return Some(());
            }
            self.kill();
            for directory in below(&self.directory) {
                let _ = fs::remove_dir(directory);
            }
            (!self.directory.exists()).then_some(())
        });
        if gone.is_none() {
            eprintln!("left behind: {}", self.directory.display());
        }
    }
}

/// The directory and all below it, deepest first.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.extend(below(&entry.path()));
    }
    found.push(directory.to_owned());
    found
}

/// Where the cgroup v2 hierarchy is mounted.
///
/// # Errors
///
/// When it is not.
pub fn mount() -> Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    table
        .lines()
        .find_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            source
                .starts_with("cgroup2 ")
                .then(|| mount.split(' ').nth(4))?
        })
        .map(PathBuf::from)
        .context("cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup")
}
