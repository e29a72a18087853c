//! Where maps and links are pinned, so that enforcement outlives the daemon.
//!
//! `PIN_DIR/LAYOUT/maps/NAME`, `PIN_DIR/LAYOUT/links/node/PROGRAM` and
//! `PIN_DIR/LAYOUT/links/cgroup-ID/PROGRAM`. Each layout of events and maps has its own directory:
//! a pin is only ever opened by a daemon that knows what is in it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use thiserror::Error;

/// Where distributions mount the BPF file system.
pub const BPFFS: &str = "/sys/fs/bpf";

/// The pin directory unless another is named.
pub const DEFAULT_DIR: &str = "/sys/fs/bpf/hoop";

/// Name of the layout that this build uses.
pub const LAYOUT: &str = env!("HOOP_LAYOUT");

/// Why there is no place for pins.
#[derive(Debug, Error)]
pub enum PinError {
    /// The directory is on another file system.
    #[error(
        "{0} is not on a BPF file system: mount one with `mount -t bpf bpf {BPFFS}` or name another --pin-dir"
    )]
    NotBpffs(PathBuf),
    /// The file system could not be mounted, or a directory not made or read.
    #[error("{path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The pins of one layout.
#[derive(Clone, Debug)]
pub struct Pins {
    dir: PathBuf,
    layout: PathBuf,
}

/// What a link is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The whole node: tracepoints.
    Node,
    /// A tagged cgroup, by id.
    Cgroup(u64),
}

impl Pins {
    /// Opens the pin directory and makes what is missing of it. Mounts the BPF file system at its
    /// usual place if nothing is there.
    ///
    /// # Errors
    ///
    /// When there is no BPF file system, or it cannot be written to.
    pub fn open(dir: &Path) -> Result<Self, PinError> {
        if dir.starts_with(BPFFS) && !is_bpffs(Path::new(BPFFS)) {
            mount(
                Some("bpf"),
                BPFFS,
                Some("bpf"),
                MsFlags::empty(),
                Some("mode=0700"),
            )
            .map_err(|errno| PinError::Io {
                path: BPFFS.into(),
                source: errno.into(),
            })?;
        }
        let existing = dir
            .ancestors()
            .find(|ancestor| ancestor.exists())
            .unwrap_or(dir);
        if !is_bpffs(existing) {
            return Err(PinError::NotBpffs(dir.to_owned()));
        }
        let pins = Self {
            dir: dir.to_owned(),
            layout: dir.join(LAYOUT),
        };
        for path in [pins.layout.join("maps"), pins.layout.join("links/node")] {
            create_dir(&path)?;
        }
        Ok(pins)
    }

    /// Path of a map's pin.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.layout.join("maps").join(name)
    }

    /// Path of a link's pin. Its directory exists after [`Pins::prepare`].
    #[must_use]
    pub fn link(&self, target: Target, program: &str) -> PathBuf {
        self.target(target).join(program)
    }

    /// Makes the directory for a target's links.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn prepare(&self, target: Target) -> Result<(), PinError> {
        create_dir(&self.target(target))
    }

    /// Removes a target's links, which detaches them.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn release(&self, target: Target) -> Result<(), PinError> {
        remove(&self.target(target))
    }

    /// Every link that is pinned.
    #[must_use]
    pub fn links(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| {
            fs::read_dir(dir)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
        };
        entries(&self.layout.join("links"))
            .flat_map(|target| entries(&target))
            .collect()
    }

    /// The cgroups that have links, by id.
    #[must_use]
    pub fn cgroups(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(self.layout.join("links")) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| {
                entry
                    .ok()?
                    .file_name()
                    .to_str()?
                    .strip_prefix("cgroup-")?
                    .parse()
                    .ok()
            })
            .collect()
    }

    /// Removes what daemons of other layouts pinned. To be called once this daemon enforces.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn release_other_layouts(&self) -> Result<Vec<PathBuf>, PinError> {
        let mut released = Vec::new();
        let entries = fs::read_dir(&self.dir).map_err(|source| PinError::Io {
            path: self.dir.clone(),
            source,
        })?;
        for entry in entries.flatten() {
            if entry.path() != self.layout {
                remove(&entry.path())?;
                released.push(entry.path());
            }
        }
        Ok(released)
    }

    fn target(&self, target: Target) -> PathBuf {
        match target {
            Target::Node => self.layout.join("links/node"),
            Target::Cgroup(id) => self.layout.join(format!("links/cgroup-{id}")),
        }
    }
}

/// Removes everything that was pinned below `dir`, of every layout. Returns how many links and
/// maps that were.
///
/// # Errors
///
/// When a pin cannot be removed.
pub fn remove_all(dir: &Path) -> Result<usize, PinError> {
    if !dir.exists() {
        return Ok(0);
    }
    if !is_bpffs(dir) {
        return Err(PinError::NotBpffs(dir.to_owned()));
    }
    let count = count_files(dir);
    let entries = fs::read_dir(dir).map_err(|source| PinError::Io {
        path: dir.to_owned(),
        source,
    })?;
    for entry in entries.flatten() {
        remove(&entry.path())?;
    }
    // The directory may be a mount point of its own, which stays.
    let _ = fs::remove_dir(dir);
    Ok(count)
}

/// Whether a path is on a BPF file system.
#[must_use]
pub fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}

fn count_files(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, |entries| {
        entries
            .flatten()
            .map(|entry| {
                if entry.path().is_dir() {
                    count_files(&entry.path())
                } else {
                    1
                }
            })
            .sum()
    })
}

/// Links go before maps: `links` sorts first.
fn remove(path: &Path) -> Result<(), PinError> {
    let failed = |source: io::Error| PinError::Io {
        path: path.to_owned(),
        source,
    };
    let mut entries: Vec<PathBuf> = match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return fs::remove_file(path).map_err(failed);
        }
        Err(error) => return Err(failed(error)),
    };
    entries.sort();
    for entry in entries {
        remove(&entry)?;
    }
    fs::remove_dir(path).map_err(failed)
}

fn create_dir(path: &Path) -> Result<(), PinError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| PinError::Io {
            path: path.to_owned(),
            source,
        })
}
