//! Settings of the daemon: checked once, then taken as they are.

pub mod file;

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Where the daemon looks for policies.
pub const DEFAULT_POLICY: &str = "/etc/hoop";

/// Where the daemon keeps records and state.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/hoop";

/// What `run` was asked for.
#[derive(Debug)]
pub struct Settings {
    /// A policy file, or a directory of them.
    pub policy: PathBuf,
    /// Records and state.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// A directory on a BPF file system.
    pub pin_dir: PathBuf,
    /// The key for masking; `None`: one in the state directory.
    pub mask_key: Option<PathBuf>,
    /// What the configuration file says.
    pub file: file::ConfigFile,
    /// Whether records go to standard output too.
    pub stdout: bool,
    /// aya-log's level for the kernel programs' diagnostics; 0 for none.
    pub kernel_log_level: u8,
}

/// The state directory, held by this daemon alone as long as this lives.
pub struct StateDir {
    _lock: File,
}

impl StateDir {
    /// Makes the directory, 0700, and locks it.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written to, belongs to somebody else, or another daemon holds it.
    pub fn open(path: &Path) -> Result<Self> {
        let next = || {
            format!(
                "the state directory {} cannot be used: name another with --state-dir",
                path.display()
            )
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(next)?;
        let metadata = fs::metadata(path).with_context(next)?;
        let me = nix::unistd::geteuid().as_raw();
        if metadata.uid() != me {
            bail!(
                "{} belongs to user {}, not to {me}: {}",
                path.display(),
                metadata.uid(),
                next()
            );
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(next)?;
        let mut lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(next)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                bail!(
                    "a daemon already runs on {} (pid {}): stop it first, or name another --state-dir",
                    path.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(next),
        }
        lock.set_len(0).with_context(next)?;
        write!(lock, "{}", std::process::id()).with_context(next)?;
        Ok(Self { _lock: lock })
    }
}
