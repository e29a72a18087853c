//! Network namespaces.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::eintr::retry;

/// A network namespace, kept alive by being open.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
    inode: u64,
}

impl NetNs {
    /// The network namespace of the calling thread.
    ///
    /// # Errors
    /// As open(2).
    pub fn current() -> io::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The network namespace of a process's main thread. `None` if there is no such process, or if
    /// that thread has ended.
    ///
    /// # Errors
    /// As open(2); `PermissionDenied` without `CAP_SYS_PTRACE` over the process.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        if_there(Self::open(format!("/proc/{pid}/ns/net").as_ref()))
    }

    /// The network namespaces that the threads of these processes are in, each once. Every thread
    /// counts: one can leave the namespace of its process by itself.
    ///
    /// A namespace that only an open socket or file refers to is not among them.
    ///
    /// # Errors
    /// As [`NetNs::of`]. Processes that are gone are passed over.
    pub fn distinct(pids: impl IntoIterator<Item = u32>) -> io::Result<Vec<Self>> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for pid in pids {
            let Some(threads) = if_there(fs::read_dir(format!("/proc/{pid}/task")))? else {
                continue;
            };
            for thread in threads {
                let Some(thread) = if_there(thread)? else {
                    break;
                };
                let Some(netns) = if_there(Self::open(&thread.path().join("ns/net")))? else {
                    continue;
                };
                if seen.insert(netns.inode) {
                    found.push(netns);
                }
            }
        }
        Ok(found)
    }

    /// Its inode number, as events have it.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs `task` inside the namespace, on a thread of its own that ends with it, so that no
    /// thread of the async runtime ever changes its namespace. Sockets that `task` opens stay in
    /// the namespace for their life. Blocks until `task` is done.
    ///
    /// # Errors
    /// As setns(2) (needs `CAP_SYS_ADMIN`), or if no thread can be made.
    ///
    /// # Panics
    /// If `task` does.
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let worker = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, || {
                    retry(|| setns(self.as_fd(), CloneFlags::CLONE_NEWNET))?;
                    Ok(task())
                })?;
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Self {
            fd: file.into(),
            inode,
        })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes "no such process" `None`.
fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::NetNs;

    #[test]
    fn one_process_twice_is_one_namespace() -> anyhow::Result<()> {
        let own = std::process::id();
        let found = NetNs::distinct([own, own, u32::MAX])?;
        let inodes: Vec<u64> = found.iter().map(NetNs::inode).collect();
        assert_eq!(inodes, [NetNs::current()?.inode()]);
        assert!(NetNs::of(u32::MAX)?.is_none());
        Ok(())
    }
}
