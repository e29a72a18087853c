//! System calls that say which of them failed.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use hoop_tests::probe::Failure;
use nix::errno::Errno;
use nix::poll::PollFlags;

/// How long a prober waits for the network, in milliseconds.
const PATIENCE_MS: i32 = 5_000;

/// Calls `call` until it is not interrupted.
pub(crate) fn call<T: TryInto<i64>>(
    name: &str,
    mut call: impl FnMut() -> T,
) -> Result<i64, Failure> {
    loop {
        match call().try_into() {
            Ok(result) if result >= 0 => return Ok(result),
            _ if Errno::last() == Errno::EINTR => {}
            _ => return Err(Failure::new(name, Errno::last_raw())),
        }
    }
}

/// A failure of the standard library.
pub(crate) fn failure(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(name, error.raw_os_error().unwrap_or(libc::EIO))
}

/// A new socket. It is inherited over exec, as an agent's would be that means to pass it on.
pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Failure> {
    // SAFETY: socket takes no memory.
    let fd = call("socket", || unsafe { libc::socket(family, kind, protocol) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sets a socket option.
pub(crate) fn set<T>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> Result<(), Failure> {
    // SAFETY: the value is as long as the call is told.
    call("setsockopt", || unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    })?;
    Ok(())
}

/// Waits until a socket is ready, or fails with ETIMEDOUT.
pub(crate) fn wait_ready(fd: i32, events: PollFlags) -> Result<(), Failure> {
    let mut polled = libc::pollfd {
        fd,
        events: events.bits(),
        revents: 0,
    };
    // SAFETY: one pollfd, as the call is told.
    match call("poll", || unsafe {
        libc::poll(&raw mut polled, 1, PATIENCE_MS)
    })? {
        0 => Err(Failure::new("poll", libc::ETIMEDOUT)),
        _ => Ok(()),
    }
}

/// Takes a socket's pending error, if there is one, as `name`'s.
pub(crate) fn pending_error(fd: i32, name: &str) -> Result<(), Failure> {
    let mut error: libc::c_int = 0;
    let mut size = size_of_val(&error) as u32;
    // SAFETY: the value is as long as the call is told.
    call("getsockopt", || unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut size,
        )
    })?;
    match error {
        0 => Ok(()),
        _ => Err(Failure::new(name, error)),
    }
}
