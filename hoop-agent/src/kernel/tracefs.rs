//! The file system of tracepoints, where aya reads their numbers.

use std::path::Path;

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{FsType, statfs},
};

/// Where distributions mount it.
const TRACEFS: &str = "/sys/kernel/tracing";

/// `TRACEFS_MAGIC` of `include/uapi/linux/magic.h`.
const TRACEFS_MAGIC: FsType = FsType(0x7472_6163);

/// A mount of our own, gone when this is dropped.
pub(super) struct Tracefs(());

impl Tracefs {
    /// Mounts it if it is not mounted. `None` if it is, or cannot be: aya says then what it misses.
    pub(super) fn mount() -> Option<Self> {
        if statfs(Path::new(TRACEFS)).is_ok_and(|stat| stat.filesystem_type() == TRACEFS_MAGIC) {
            return None;
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some("tracefs"),
            TRACEFS,
            Some("tracefs"),
            flags,
            Some("mode=0700"),
        )
        .ok()?;
        Some(Self(()))
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        // Somebody may have begun to use it: it goes when they are done.
        let _ = umount2(TRACEFS, MntFlags::MNT_DETACH);
    }
}
