//! System calls that a signal interrupted are made again.

use nix::poll::{PollFd, PollTimeout};

/// Repeats `call` for as long as it fails with `EINTR`.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::Error::EINTR) => {}
            done => return done,
        }
    }
}

/// Waits until one of the descriptors is ready, and returns how many are: 0 after `limit`.
pub(crate) fn poll(fds: &mut [PollFd<'_>], limit: PollTimeout) -> nix::Result<i32> {
    retry(|| nix::poll::poll(fds, limit))
}
