//! System calls that a signal interrupted are made again.

/// Repeats `call` for as long as it fails with `EINTR`.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::Error::EINTR) => {}
            done => return done,
        }
    }
}
