//! `io_uring`: no system call names the destination.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use hoop_tests::probe::{Failure, Outcome};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};

use crate::call::failure;
use crate::ip::done;

pub(crate) fn connect(socket: &OwnedFd, to: SocketAddr) -> Outcome {
    let address = SockaddrStorage::from(to);
    let entry = opcode::Connect::new(Fd(socket.as_raw_fd()), address.as_ptr(), address.len());
    // SAFETY: the address outlives the call.
    unsafe { submit("IORING_OP_CONNECT", &entry.build()) }
}

pub(crate) fn sendmsg(socket: &OwnedFd, message: *const libc::msghdr) -> Outcome {
    let entry = opcode::SendMsg::new(Fd(socket.as_raw_fd()), message);
    // SAFETY: the caller's message outlives the call.
    unsafe { submit("IORING_OP_SENDMSG", &entry.build()) }
}

pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> Outcome {
    let entry = opcode::Socket::new(family, kind, protocol).build();
    // SAFETY: the entry points to nothing.
    let made = unsafe { submit("IORING_OP_SOCKET", &entry) }?;
    // SAFETY: the descriptor is new and nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(made.value as i32) });
    Ok(made)
}

/// Submits one entry and waits for its completion.
///
/// # Safety
///
/// What the entry points to must outlive the call.
unsafe fn submit(name: &str, entry: &squeue::Entry) -> Outcome {
    let mut ring = IoUring::new(2).map_err(|error| failure("io_uring_setup", &error))?;
    // SAFETY: the caller vouches for what the entry points to; dropping the ring cancels it.
    unsafe { ring.submission().push(entry) }.map_err(|_full| Failure::new(name, libc::EBUSY))?;
    let patience = Timespec::new().sec(5);
    loop {
        match ring
            .submitter()
            .submit_with_args(1, &SubmitArgs::new().timespec(&patience))
        {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            submitted => {
                submitted.map_err(|error| failure("io_uring_enter", &error))?;
                break;
            }
        }
    }
    let completion = ring.completion().next();
    match completion.map(|completion| completion.result()) {
        Some(result) if result >= 0 => Ok(done(result.into())),
        Some(errno) => Err(Failure::new(name, -errno)),
        None => Err(Failure::new(name, libc::ETIMEDOUT)),
    }
}
