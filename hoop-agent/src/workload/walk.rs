//! A walk over a cgroup and everything below it.
//!
//! Holds one directory open at a time and goes up by `..`, so that depth costs neither stack nor
//! descriptors and every cgroup is looked up once, from its parent. Works on bytes: a workload must
//! not be able to hide a cgroup behind a name that is not UTF-8.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

use crate::eintr::retry;

/// Opens a directory by a path relative to `dir` that meets no symbolic link, no `..` and no other
/// mount. Paths may be longer than `PATH_MAX`.
pub(super) fn open_beneath(dir: BorrowedFd<'_>, path: &[u8]) -> nix::Result<OwnedFd> {
    // Below PATH_MAX with room for the NUL.
    const PART: usize = 4000;
    let mut rest = path.strip_prefix(b"/").unwrap_or(path);
    let mut current = open_part(dir, b".")?;
    while !rest.is_empty() {
        let end = if rest.len() <= PART {
            rest.len()
        } else {
            let slash = rest[..PART].iter().rposition(|&byte| byte == b'/');
            slash.ok_or(Errno::ENAMETOOLONG)?
        };
        current = open_part(current.as_fd(), &rest[..end])?;
        rest = &rest[(end + 1).min(rest.len())..];
    }
    Ok(current)
}

fn open_part(dir: BorrowedFd<'_>, path: &[u8]) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
    retry(|| openat2(dir, path, how))
}

/// Whether an error says that a cgroup is not there any more.
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

/// Whether an error says that something else is in the place of a cgroup: a link or another mount.
pub(super) fn is_no_cgroup(errno: Errno) -> bool {
    matches!(errno, Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV)
}

/// What the walk did.
pub(super) enum Step {
    /// It went into a cgroup: [`Walk::dir`] and [`Walk::path`] are its.
    Entered,
    /// It is done with the cgroup of this name and everything below it; [`Walk::dir`] is the
    /// parent's again.
    Left(CString),
}

/// A depth-first walk.
pub(super) struct Walk {
    dir: OwnedFd,
    path: Vec<u8>,
    entered: bool,
    levels: Vec<Level>,
}

struct Level {
    /// `None` for the cgroup where the walk starts.
    name: Option<CString>,
    left: Vec<CString>,
}

impl Walk {
    /// Starts in `dir`, whose path is `path`.
    pub(super) fn new(dir: OwnedFd, path: &[u8]) -> Self {
        Self {
            dir,
            path: path.to_vec(),
            entered: true,
            levels: vec![Level {
                name: None,
                left: Vec::new(),
            }],
        }
    }

    /// The cgroup that the walk is in.
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its path below the mount; empty for the root.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Goes on. A cgroup that was just entered is listed only now, and only if `descend`.
    ///
    /// Returns `None` when the walk is back where it started. Cgroups that vanish are passed over.
    pub(super) fn advance(&mut self, descend: bool) -> io::Result<Option<Step>> {
        if self.entered
            && descend
            && let Some(level) = self.levels.last_mut()
        {
            level.left = children(self.dir.as_fd())?;
        }
        self.entered = false;
        let Some(level) = self.levels.last_mut() else {
            return Ok(None);
        };
        while let Some(name) = level.left.pop() {
            match open_part(self.dir.as_fd(), name.to_bytes()) {
                Ok(dir) => {
                    self.dir = dir;
                    self.path.push(b'/');
                    self.path.extend_from_slice(name.to_bytes());
                    self.levels.push(Level {
                        name: Some(name),
                        left: Vec::new(),
                    });
                    self.entered = true;
                    return Ok(Some(Step::Entered));
                }
                Err(errno) if is_gone(errno) || is_no_cgroup(errno) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let Some(name) = self.levels.pop().and_then(|level| level.name) else {
            return Ok(None);
        };
        self.dir = retry(|| {
            openat(
                &self.dir,
                c"..",
                OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )
        })?;
        self.path
            .truncate(self.path.len() - name.to_bytes().len() - 1);
        Ok(Some(Step::Left(name)))
    }
}

fn children(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut dir = match retry(|| Dir::openat(dir, c".", OFlag::O_RDONLY, Mode::empty())) {
        Ok(dir) => dir,
        Err(errno) if is_gone(errno) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    };
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(errno) if is_gone(errno) => break,
            Err(errno) => return Err(errno.into()),
        };
        let name: &CStr = entry.file_name();
        if matches!(entry.file_type(), Some(Type::Directory) | None)
            && name != c"."
            && name != c".."
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
