//! Descriptors of other processes.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// A copy of the descriptor `fd` of process `pid`.
///
/// # Errors
///
/// What the kernel says: EPERM for who may not trace the process.
pub fn copy_of(pid: u32, fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: neither call takes memory.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: as above.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
}

fn owned(returned: libc::c_long) -> io::Result<OwnedFd> {
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(returned).map_err(io::Error::other)?;
    // SAFETY: the kernel just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
