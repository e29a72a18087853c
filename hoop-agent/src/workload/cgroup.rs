//! The cgroup v2 tree of this machine.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use thiserror::Error;

use super::path::CgroupPath;
use super::walk::{Step, Walk, is_gone, is_no_cgroup, open_beneath};
use crate::eintr::retry;

/// The id of the root cgroup: the first inode of every kernfs tree (`kernfs_create_root`).
const ROOT_ID: u64 = 1;

/// The whole cgroup v2 tree, held open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CgroupRoot {
    mount: PathBuf,
    dir: Arc<OwnedFd>,
}

/// What can go wrong with cgroups.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// Only cgroup v1 is mounted.
    #[error(
        "only cgroup v1 is mounted: boot with `systemd.unified_cgroup_hierarchy=1`, or mount v2 \
         beside it with `mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified`"
    )]
    V1Only,
    /// No cgroup file system is mounted.
    #[error("no cgroup v2 mount: run `mount -t cgroup2 cgroup2 /sys/fs/cgroup`")]
    NotMounted,
    /// The mount shows a part of the tree, as in a container with a cgroup namespace of its own.
    #[error(
        "{} shows only the part of the cgroup tree below this container: run hoop-agent in the \
         host's cgroup namespace, or mount the host's /sys/fs/cgroup into the container",
        mount.display()
    )]
    Partial {
        /// Where it is mounted.
        mount: PathBuf,
    },
    /// A component of the path is a symbolic link or another mount.
    #[error(
        "{path} leads out of the cgroup tree by a symbolic link or a mount: name the cgroup itself"
    )]
    Escapes {
        /// The path as it was asked for.
        path: CgroupPath,
    },
    /// There is no such cgroup.
    #[error("there is no cgroup {path}")]
    NotFound {
        /// The path as it was asked for.
        path: CgroupPath,
    },
    /// The cgroup still has processes.
    #[error("cgroup {path} still has processes")]
    Busy {
        /// The path as it was asked for.
        path: CgroupPath,
    },
    /// The kernel refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl CgroupRoot {
    /// Finds the cgroup v2 tree in this process's mount table, on hybrid hosts too.
    ///
    /// A mount counts only if it shows the root cgroup. What the mount table calls the mount's root
    /// does not tell: a cgroup namespace calls its own root `/`, and the host's tree mounted into
    /// it `/../..`.
    ///
    /// # Errors
    /// [`CgroupError::V1Only`], [`CgroupError::NotMounted`], [`CgroupError::Partial`], or
    /// [`CgroupError::Io`] if the mount table cannot be read.
    pub fn find() -> Result<Self, CgroupError> {
        let table = Path::new("/proc/self/mountinfo");
        let content = fs::read(table).map_err(|source| CgroupError::Io {
            action: "read",
            path: table.to_path_buf(),
            source,
        })?;
        let mounts = Mounts::parse(&content);
        let mut refused = None;
        for mount in mounts.v2 {
            match Self::at(mount) {
                Ok(root) => return Ok(root),
                // A mount that is hidden below another one cannot be opened; it may not be the only.
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or(if mounts.v1 {
            CgroupError::V1Only
        } else {
            CgroupError::NotMounted
        }))
    }

    /// The tree mounted at `mount`.
    ///
    /// # Errors
    /// [`CgroupError::Partial`] if its root is not the root cgroup, [`CgroupError::Io`].
    pub fn at(mount: PathBuf) -> Result<Self, CgroupError> {
        let root = Self::open_dir(mount)?;
        let id = inode(root.dir.as_fd()).map_err(|errno| root.io("open", "", errno))?;
        if id == ROOT_ID {
            Ok(root)
        } else {
            Err(CgroupError::Partial { mount: root.mount })
        }
    }

    pub(super) fn open_dir(mount: PathBuf) -> Result<Self, CgroupError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match retry(|| open(&mount, flags, Mode::empty())) {
            Ok(dir) => Ok(Self {
                mount,
                dir: Arc::new(dir),
            }),
            Err(errno) => Err(CgroupError::Io {
                action: "open",
                path: mount,
                source: errno.into(),
            }),
        }
    }

    /// Where the tree is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Where the cgroup is in the file system, for messages.
    #[must_use]
    pub fn full_path(&self, path: &CgroupPath) -> PathBuf {
        self.join(path.as_str())
    }

    /// Opens the cgroup's directory; links, `..` and other mounts are refused.
    ///
    /// # Errors
    /// [`CgroupError::NotFound`], [`CgroupError::Escapes`], [`CgroupError::Io`].
    pub fn open(&self, path: &CgroupPath) -> Result<OwnedFd, CgroupError> {
        open_beneath(self.dir.as_fd(), path.as_str().as_bytes())
            .map_err(|errno| self.error("open", path, errno))
    }

    /// The cgroup's id, as `bpf_get_current_cgroup_id()` gives it.
    ///
    /// # Errors
    /// As [`CgroupRoot::open`].
    pub fn id(&self, path: &CgroupPath) -> Result<u64, CgroupError> {
        inode(self.open(path)?.as_fd()).map_err(|errno| self.error("stat", path, errno))
    }

    /// The path of the cgroup with this id. `None` if there is none, if it is the root, or if its
    /// path is not UTF-8 or longer than a page.
    ///
    /// # Errors
    /// [`CgroupError::Io`]; the look-up needs `CAP_DAC_READ_SEARCH`.
    pub fn path_of(&self, id: u64) -> Result<Option<CgroupPath>, CgroupError> {
        let dir = match open_by_id(self.dir.as_fd(), id) {
            Ok(dir) => dir,
            Err(Errno::ESTALE | Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.io("look up a cgroup id in", "", errno)),
        };
        let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => return Ok(None),
            Err(source) => {
                return Err(CgroupError::Io {
                    action: "read",
                    path: link.into(),
                    source,
                });
            }
        };
        let path = target
            .strip_prefix(&self.mount)
            .ok()
            .and_then(Path::to_str)
            .and_then(|path| CgroupPath::parse(path).ok());
        // A cgroup removed meanwhile reads `NAME (deleted)`, which another one may be called.
        match path {
            Some(path) => match self.id(&path) {
                Ok(found) if found == id => Ok(Some(path)),
                Ok(_) | Err(CgroupError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            None => Ok(None),
        }
    }

    /// Makes a cgroup, and the cgroups above it that are missing. Returns its id.
    ///
    /// # Errors
    /// [`CgroupError::Io`] with `AlreadyExists` if the cgroup itself was there.
    pub fn create(&self, path: &CgroupPath) -> Result<u64, CgroupError> {
        let refused = |errno| self.error("create", path, errno);
        let mut dir = open_beneath(self.dir.as_fd(), b"").map_err(refused)?;
        let mut names = path.as_str().split('/').skip(1).peekable();
        while let Some(name) = names.next() {
            match retry(|| mkdirat(&dir, name, Mode::from_bits_truncate(0o755))) {
                Err(Errno::EEXIST) if names.peek().is_some() => {}
                made => made.map_err(refused)?,
            }
            dir = open_beneath(dir.as_fd(), name.as_bytes()).map_err(refused)?;
        }
        inode(dir.as_fd()).map_err(refused)
    }

    /// Removes a cgroup and every cgroup below it. One that is not there any more is no error.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] while a process is in any of them; cgroups without are gone then.
    pub fn remove(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        let refused = |errno| self.error("remove", path, errno);
        let (parent, name) = path.as_str().rsplit_once('/').unwrap_or(("", ""));
        let parent = match open_beneath(self.dir.as_fd(), parent.as_bytes()) {
            Ok(parent) => parent,
            Err(errno) if is_gone(errno) => return Ok(()),
            Err(errno) => return Err(refused(errno)),
        };
        let dir = match open_beneath(parent.as_fd(), name.as_bytes()) {
            Ok(dir) => dir,
            Err(errno) if is_gone(errno) => return Ok(()),
            Err(errno) => return Err(refused(errno)),
        };
        let mut walk = Walk::new(dir, path.as_str().as_bytes());
        while let Some(step) = walk
            .advance(true)
            .map_err(|error| self.walking(path, error))?
        {
            if let Step::Left(name) = step {
                remove_dir(walk.dir(), name.as_c_str()).map_err(refused)?;
            }
        }
        remove_dir(parent.as_fd(), name).map_err(refused)
    }

    /// The ids of the cgroup and of every cgroup below it.
    ///
    /// # Errors
    /// As [`CgroupRoot::open`].
    pub fn subtree_ids(&self, path: &CgroupPath) -> Result<BTreeSet<u64>, CgroupError> {
        let mut ids = BTreeSet::new();
        self.for_each(path, |dir| {
            ids.insert(inode(dir)?);
            Ok(())
        })?;
        Ok(ids)
    }

    /// The processes in the cgroup and in every cgroup below it: thread group ids in this
    /// process's PID namespace, ascending.
    ///
    /// Processes fork, move and end while the tree is read; a caller that must not miss one reads
    /// again until nothing new appears.
    ///
    /// # Errors
    /// As [`CgroupRoot::open`].
    pub fn processes(&self, path: &CgroupPath) -> Result<Vec<u32>, CgroupError> {
        let mut processes = BTreeSet::new();
        self.for_each(path, |dir| read_processes(dir, &mut processes))?;
        Ok(processes.into_iter().collect())
    }

    /// Whether a process that has not ended is in the cgroup or below it.
    ///
    /// # Errors
    /// As [`CgroupRoot::open`].
    pub fn populated(&self, path: &CgroupPath) -> Result<bool, CgroupError> {
        let dir = self.open(path)?;
        let events =
            read_at(dir.as_fd(), "cgroup.events").map_err(|error| self.walking(path, error))?;
        Ok(events
            .split(|&byte| byte == b'\n')
            .any(|line| line == b"populated 1"))
    }

    /// A walk over `path` (empty for the root) and everything below it. `None` if no cgroup is
    /// there.
    pub(super) fn walk(&self, path: &str) -> nix::Result<Option<Walk>> {
        match open_beneath(self.dir.as_fd(), path.as_bytes()) {
            Ok(dir) => Ok(Some(Walk::new(dir, path.as_bytes()))),
            Err(errno) if is_gone(errno) || is_no_cgroup(errno) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn for_each(
        &self,
        path: &CgroupPath,
        mut visit: impl FnMut(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<(), CgroupError> {
        let mut walk = Walk::new(self.open(path)?, path.as_str().as_bytes());
        let mut entered = true;
        loop {
            let step = if entered { visit(walk.dir()) } else { Ok(()) };
            match step.and_then(|()| walk.advance(true)) {
                Ok(Some(step)) => entered = matches!(step, Step::Entered),
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.walking(path, error)),
            }
        }
    }

    fn join(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }

    fn io(&self, action: &'static str, path: &str, source: impl Into<io::Error>) -> CgroupError {
        CgroupError::Io {
            action,
            path: self.join(path),
            source: source.into(),
        }
    }

    fn walking(&self, path: &CgroupPath, error: io::Error) -> CgroupError {
        match error.raw_os_error() {
            Some(errno) => self.error("read", path, Errno::from_raw(errno)),
            None => self.io("read", path.as_str(), error),
        }
    }

    fn error(&self, action: &'static str, path: &CgroupPath, errno: Errno) -> CgroupError {
        let path = path.clone();
        match errno {
            Errno::EBUSY => CgroupError::Busy { path },
            errno if is_no_cgroup(errno) => CgroupError::Escapes { path },
            errno if is_gone(errno) => CgroupError::NotFound { path },
            errno => self.io(action, path.as_str(), errno),
        }
    }
}

/// The id of an open cgroup: its kernfs inode number, which on 64-bit kernels is all of the id.
pub(super) fn inode(dir: BorrowedFd<'_>) -> nix::Result<u64> {
    retry(|| fstat(dir)).map(|stat| stat.st_ino)
}

fn remove_dir<P: ?Sized + nix::NixPath>(parent: BorrowedFd<'_>, name: &P) -> nix::Result<()> {
    match retry(|| unlinkat(parent, name, UnlinkatFlags::RemoveDir)) {
        Err(errno) if !is_gone(errno) => Err(errno),
        _ => Ok(()),
    }
}

fn read_at(dir: BorrowedFd<'_>, name: &str) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut content = Vec::new();
    File::from(retry(|| openat(dir, name, flags, Mode::empty()))?).read_to_end(&mut content)?;
    Ok(content)
}

fn read_processes(dir: BorrowedFd<'_>, processes: &mut BTreeSet<u32>) -> io::Result<()> {
    match read_at(dir, "cgroup.procs") {
        Ok(content) => {
            processes.extend(numbers(&content));
            Ok(())
        }
        // A threaded cgroup lists threads only.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            match read_at(dir, "cgroup.threads") {
                Ok(content) => {
                    processes.extend(numbers(&content).filter_map(super::procfs::process_of));
                    Ok(())
                }
                Err(error) => ignore_gone(error),
            }
        }
        Err(error) => ignore_gone(error),
    }
}

fn ignore_gone(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(errno) if is_gone(Errno::from_raw(errno)) => Ok(()),
        _ => Err(error),
    }
}

/// Process ids, one a line. 0 stands for one outside this PID namespace.
pub(super) fn numbers(content: &[u8]) -> impl Iterator<Item = u32> {
    content
        .split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok())
        .filter(|&id| id != 0)
}

/// A `struct file_handle` of type `FILEID_KERNFS` (include/linux/exportfs.h).
#[repr(C)]
struct KernfsHandle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

fn open_by_id(mount: BorrowedFd<'_>, id: u64) -> nix::Result<OwnedFd> {
    let mut handle = KernfsHandle {
        bytes: 8,
        kind: 0xfe,
        id: id.to_ne_bytes(),
    };
    let fd = retry(|| {
        // SAFETY: `handle` is laid out as a `file_handle` that is followed by `bytes` bytes, and
        // lives through the call.
        Errno::result(unsafe {
            libc::open_by_handle_at(
                mount.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
            )
        })
    })?;
    // SAFETY: the call returned a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a mount table says about cgroups.
pub(super) struct Mounts {
    v2: Vec<PathBuf>,
    v1: bool,
}

impl Mounts {
    /// Reads `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`), on bytes: mount points need not be
    /// UTF-8.
    pub(super) fn parse(table: &[u8]) -> Self {
        let mut mounts = Self {
            v2: Vec::new(),
            v1: false,
        };
        for line in table.split(|&byte| byte == b'\n') {
            let mut fields = line.split(|&byte| byte == b' ');
            let point = fields.nth(4);
            let kind = fields.skip_while(|field| *field != b"-").nth(1);
            match (kind, point) {
                (Some(b"cgroup2"), Some(point)) => mounts.v2.push(unescape(point)),
                (Some(b"cgroup"), _) => mounts.v1 = true,
                _ => {}
            }
        }
        mounts
    }
}

/// Undoes the kernel's `mangle()`: space, tab, newline and backslash are three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        match (first, after) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes).to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{CgroupError, CgroupPath, CgroupRoot, Mounts};

    #[test]
    fn links_lead_nowhere() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("real/below"))?;
        std::os::unix::fs::symlink("real", dir.path().join("link"))?;
        let root = CgroupRoot::open_dir(dir.path().to_path_buf())?;
        assert!(root.id(&CgroupPath::parse("/real/below")?).is_ok());
        for path in ["/link", "/link/below"] {
            let path = CgroupPath::parse(path)?;
            let refused = root.id(&path);
            assert!(matches!(refused, Err(CgroupError::Escapes { .. })));
            let made = root.create(&CgroupPath::parse(&format!("{path}/new"))?);
            assert!(matches!(made, Err(CgroupError::Escapes { .. })));
        }
        assert_eq!(fs::read_dir(dir.path().join("real/below"))?.count(), 0);
        Ok(())
    }

    #[test]
    fn finds_v2_beside_v1() {
        let mounts = Mounts::parse(
            b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
              32 31 0:29 / /sys/fs/cgroup/cpu rw shared:9 master:1 - cgroup cgroup rw,cpu\n\
              41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
              42 31 0:38 /.. /mnt/a\\040b\\134\xff rw shared:7 - cgroup2 - rw\n\
              garbage\n",
        );
        assert!(mounts.v1);
        assert_eq!(mounts.v2.len(), 2);
        assert_eq!(mounts.v2[0], PathBuf::from("/sys/fs/cgroup/unified"));
        assert_eq!(
            mounts.v2[1].as_os_str().as_encoded_bytes(),
            b"/mnt/a b\\\xff"
        );
    }

    #[test]
    fn a_mount_point_called_cgroup2_is_none() {
        let mounts = Mounts::parse(b"1 2 0:3 / /cgroup2 rw - tmpfs cgroup2 rw\n");
        assert!(mounts.v2.is_empty() && !mounts.v1);
    }
}
