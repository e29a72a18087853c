//! Many destinations, one after another, only to see which the kernel refuses.

use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use hoop_tests::packet;
use hoop_tests::probe::{Done, Failure};
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};

use crate::call::{call, set};
use crate::ip::{inet, send_bytes};

pub(crate) fn each(at: &[(u8, SocketAddr)]) -> Done {
    let errnos = at.iter().map(|&(protocol, to)| match aim(protocol, to) {
        Ok(()) => "0".to_owned(),
        Err(failure) => failure.errno.to_string(),
    });
    Done {
        text: errnos.collect::<Vec<_>>().join(" "),
        ..Done::default()
    }
}

fn aim(protocol: u8, to: SocketAddr) -> Result<(), Failure> {
    let kind = match protocol {
        packet::TCP => libc::SOCK_STREAM,
        packet::UDP => libc::SOCK_DGRAM,
        _ => libc::SOCK_RAW,
    };
    let socket = inet(to.is_ipv6(), kind, protocol.into())?;
    // Without it the kernel refuses before the policy does.
    set(&socket, libc::SOL_SOCKET, libc::SO_BROADCAST, &1_i32)?;
    if kind == libc::SOCK_RAW {
        let to = SocketAddr::new(to.ip(), 0);
        return send_bytes(socket.as_raw_fd(), to, &[0; 16], 0).map(drop);
    }
    let address = SockaddrStorage::from(to);
    // SAFETY: the address is as long as the call is told.
    let connected = call("connect", || unsafe {
        libc::connect(socket.as_raw_fd(), address.as_ptr(), address.len())
    });
    match connected {
        // The handshake may go on without us.
        Err(failure) if failure.errno == libc::EINPROGRESS => Ok(()),
        connected => connected.map(drop),
    }
}
