//! A file system of the test's own, to be filled and taken away.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A small file system in memory. Dropping it unmounts it.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
}

/// A directory that cannot be written to. Dropping it ends that.
#[derive(Debug)]
pub struct ReadOnly {
    directory: PathBuf,
}

impl Disk {
    /// Mounts one of `kib` KiB at `directory`, which is made.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[must_use]
    pub fn at(directory: &Path, kib: u32) -> Self {
        fs::create_dir(directory).expect("a directory to mount at");
        let options = format!("size={kib}k,mode=0700");
        let kind = Some("tmpfs");
        mount(kind, directory, kind, MsFlags::empty(), Some(&*options)).expect("mount a tmpfs");
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Takes all of its room.
    ///
    /// # Panics
    ///
    /// When writing fails in another way.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        for size in [4096, 1] {
            loop {
                match file.write(&vec![0; size]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("write: {error}"),
                }
            }
        }
    }

    /// Gives its room back.
    ///
    /// # Panics
    ///
    /// When it was not taken.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.directory.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.directory);
    }
}

impl ReadOnly {
    /// Lets nobody write below `directory`, except to files that are open already.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        let none = None::<&str>;
        mount(Some(directory), directory, none, MsFlags::MS_BIND, none).expect("bind");
        let guard = Self {
            directory: directory.to_owned(),
        };
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, directory, none, flags, none).expect("remount read-only");
        guard
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        unmount(&self.directory);
    }
}

fn unmount(directory: &Path) {
    if let Err(error) = umount2(directory, MntFlags::MNT_DETACH) {
        eprintln!("left behind: {}: {error}", directory.display());
    }
}
