//! Room on the disk for the one record that a full disk must not stop: what is removed to make room.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{FallocateFlags, fallocate};

/// Bytes that are held.
const BYTES: i64 = 64 << 10;

/// A file that holds the room.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    /// One in that directory, which holds nothing yet.
    pub(super) fn at(dir: &Path) -> Self {
        Self {
            path: dir.join("reserve"),
            held: false,
        }
    }

    /// Takes the room, if there is any.
    pub(super) fn fill(&mut self) {
        self.held = self.held || self.take().is_ok();
    }

    /// Gives the room back, for somebody to take.
    pub(super) fn give_up(&mut self) {
        self.held = false;
        let _ = fs::remove_file(&self.path);
    }

    fn take(&self) -> io::Result<()> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)?;
        Ok(fallocate(&file, FallocateFlags::empty(), 0, BYTES)?)
    }
}
