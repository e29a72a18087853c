//! The file system of tracepoints, which names their numbers.

use std::{collections::HashMap, fs, path::Path};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{FsType, statfs},
};

use super::hooks::{Duty, HOOKS, Place};

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

/// The numbers of the tracepoints at the entry of system calls where programs are attached later than at
/// the start, by the call. Without those that this kernel does not have.
pub(super) fn syscalls() -> HashMap<&'static str, u64> {
    let _mounted = Tracefs::mount();
    HOOKS
        .iter()
        .filter(|hook| hook.duty == Duty::Captures)
        .filter_map(|hook| match hook.place {
            Place::Syscall(name) => {
                let path = format!("{TRACEFS}/events/syscalls/sys_enter_{name}/id");
                Some((name, fs::read_to_string(path).ok()?.trim().parse().ok()?))
            }
            _ => None,
        })
        .collect()
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        // Somebody may have begun to use it: it goes when they are done.
        let _ = umount2(TRACEFS, MntFlags::MNT_DETACH);
    }
}
