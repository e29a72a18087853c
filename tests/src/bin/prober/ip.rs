//! TCP and UDP, by every call that names a destination.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use hoop_tests::lab::{NEAR_V4, NEAR_V6};
use hoop_tests::probe::{Done, Failure, Outcome, Route, Stream};
use nix::poll::PollFlags;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrLike as _, SockaddrStorage, recvmsg,
};

use crate::call::{call, failure, pending_error, set, socket, wait_ready};
use crate::{raw, ring};

pub(crate) fn reach(route: Route, to: SocketAddr, text: &str) -> Outcome {
    match route {
        Route::TcpConnect => tcp(to, text, 0, |_| Ok(())),
        Route::TcpMapped => tcp(mapped(to), text, 0, |_| Ok(())),
        Route::Mptcp => tcp(to, text, libc::IPPROTO_MPTCP, |_| Ok(())),
        Route::TcpBound => tcp(to, text, 0, |socket| bind(socket, near(to))),
        Route::TcpFastOpenConnect => tcp(to, text, 0, |socket| {
            set(
                socket,
                libc::IPPROTO_TCP,
                libc::TCP_FASTOPEN_CONNECT,
                &1_i32,
            )
        }),
        Route::TcpFastOpen => {
            let socket = inet(to.is_ipv6(), libc::SOCK_STREAM, 0)?;
            match send_to(socket.as_raw_fd(), to, text, libc::MSG_FASTOPEN) {
                // Without a cookie the call only starts the handshake.
                Err(failure) if failure.errno == libc::EINPROGRESS => {
                    established(socket.as_raw_fd(), "sendto")?;
                    send(socket.as_raw_fd(), text)
                }
                done => done,
            }
        }
        Route::TcpRing => {
            let socket = socket(family(to), libc::SOCK_STREAM, 0)?;
            ring::connect(&socket, to)?;
            send(socket.as_raw_fd(), text)
        }
        Route::UdpConnect => {
            let socket = inet(to.is_ipv6(), libc::SOCK_DGRAM, 0)?;
            connect(socket.as_raw_fd(), to)?;
            send(socket.as_raw_fd(), text)
        }
        Route::UdpSendto => udp(to, |socket| send_to(socket.as_raw_fd(), to, text, 0)),
        Route::UdpMapped => {
            let to = mapped(to);
            udp(to, |socket| send_to(socket.as_raw_fd(), to, text, 0))
        }
        Route::UdpSendmsg => udp(to, |socket| {
            with_message(to, text, |message| {
                // SAFETY: the message and all it points to live through the call.
                let sent = call("sendmsg", || unsafe {
                    libc::sendmsg(socket.as_raw_fd(), message, 0)
                })?;
                Ok(done(sent))
            })
        }),
        Route::UdpSendmmsg => send_many(&[to, to], text),
        Route::UdpRing => udp(to, |socket| {
            with_message(to, text, |message| ring::sendmsg(socket, message))
        }),
        Route::Ping
        | Route::RawPing
        | Route::RawUdp
        | Route::RawForged
        | Route::RawFragments
        | Route::Frame => raw::reach(route, to, text),
    }
}

pub(crate) fn send_many(to: &[SocketAddr], text: &str) -> Outcome {
    let v6 = to.iter().any(SocketAddr::is_ipv6);
    let socket = inet(v6, libc::SOCK_DGRAM, 0)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_BROADCAST, &1_i32)?;
    let addresses: Vec<SockaddrStorage> = to.iter().copied().map(SockaddrStorage::from).collect();
    let mut load = libc::iovec {
        iov_base: text.as_ptr().cast_mut().cast(),
        iov_len: text.len(),
    };
    let mut messages: Vec<libc::mmsghdr> = addresses
        .iter()
        .map(|address| libc::mmsghdr {
            msg_hdr: message(address, &mut load),
            msg_len: 0,
        })
        .collect();
    // SAFETY: as many messages as the call is told; what they point to outlives it.
    let sent = call("sendmmsg", || unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as u32,
            0,
        )
    })?;
    Ok(done(sent))
}

pub(crate) fn open(stream: Stream, v6: bool) -> Outcome {
    let kind = match stream {
        Stream::Tcp => libc::SOCK_STREAM,
        Stream::Udp => libc::SOCK_DGRAM,
    };
    let socket = inet(v6, kind, 0)?;
    Ok(done(socket.into_raw_fd().into()))
}

pub(crate) fn connect(fd: i32, to: SocketAddr) -> Outcome {
    let address = SockaddrStorage::from(to);
    // SAFETY: the address is as long as the call is told.
    match call("connect", || unsafe {
        libc::connect(fd, address.as_ptr(), address.len())
    }) {
        Err(failure) if failure.errno == libc::EINPROGRESS => established(fd, "connect")?,
        connected => {
            connected?;
        }
    }
    Ok(Done::default())
}

pub(crate) fn send(fd: i32, text: &str) -> Outcome {
    // SAFETY: the buffer is as long as the call is told.
    let sent = call("send", || unsafe {
        libc::send(fd, text.as_ptr().cast(), text.len(), libc::MSG_NOSIGNAL)
    })?;
    Ok(done(sent))
}

pub(crate) fn send_to(fd: i32, to: SocketAddr, text: &str, flags: i32) -> Outcome {
    send_bytes(fd, to, text.as_bytes(), flags)
}

pub(crate) fn send_bytes(fd: i32, to: SocketAddr, bytes: &[u8], flags: i32) -> Outcome {
    let address = SockaddrStorage::from(to);
    // SAFETY: buffer and address are as long as the call is told.
    let sent = call("sendto", || unsafe {
        libc::sendto(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            flags | libc::MSG_NOSIGNAL,
            address.as_ptr(),
            address.len(),
        )
    })?;
    Ok(done(sent))
}

pub(crate) fn receive(fd: i32) -> Outcome {
    wait_ready(fd, PollFlags::POLLIN)?;
    let mut buffer = vec![0_u8; 65536];
    // SAFETY: the buffer is as long as the call is told.
    let count = call("recv", || unsafe {
        libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0)
    })?;
    buffer.truncate(count as usize);
    Ok(Done {
        text: String::from_utf8_lossy(&buffer).into_owned(),
        ..done(count)
    })
}

pub(crate) fn take_socket(path: &Path) -> Outcome {
    let stream = UnixStream::connect(path).map_err(|error| failure("connect", &error))?;
    wait_ready(stream.as_raw_fd(), PollFlags::POLLIN)?;
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut byte = [0];
    let mut load = [IoSliceMut::new(&mut byte)];
    let message = loop {
        match recvmsg::<()>(
            stream.as_raw_fd(),
            &mut load,
            Some(&mut space),
            MsgFlags::empty(),
        ) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Failure::new("recvmsg", errno as i32)),
            Ok(message) => break message,
        }
    };
    let passed = message
        .cmsgs()
        .into_iter()
        .flatten()
        .find_map(|control| match control {
            ControlMessageOwned::ScmRights(passed) => passed.first().copied(),
            _ => None,
        });
    let fd = passed.ok_or_else(|| Failure::new("recvmsg", libc::ENOMSG))?;
    Ok(done(fd.into()))
}

/// A socket that does not block.
pub(crate) fn inet(v6: bool, kind: i32, protocol: i32) -> Result<OwnedFd, Failure> {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    socket(family, kind | libc::SOCK_NONBLOCK, protocol)
}

/// The near side's address of the same family, with a free port.
pub(crate) fn near(to: SocketAddr) -> SocketAddr {
    let address: IpAddr = if to.is_ipv4() {
        NEAR_V4.into()
    } else {
        NEAR_V6.into()
    };
    SocketAddr::new(address, 0)
}

pub(crate) fn done(value: i64) -> Done {
    Done {
        value,
        ..Done::default()
    }
}

fn tcp(
    to: SocketAddr,
    text: &str,
    protocol: i32,
    prepare: impl FnOnce(&OwnedFd) -> Result<(), Failure>,
) -> Outcome {
    let socket = inet(to.is_ipv6(), libc::SOCK_STREAM, protocol)?;
    prepare(&socket)?;
    connect(socket.as_raw_fd(), to)?;
    send(socket.as_raw_fd(), text)
}

fn udp(to: SocketAddr, act: impl FnOnce(&OwnedFd) -> Outcome) -> Outcome {
    let socket = inet(to.is_ipv6(), libc::SOCK_DGRAM, 0)?;
    // What tells a broadcast apart is the destination; the permission is nobody's to ask for.
    set(&socket, libc::SOL_SOCKET, libc::SO_BROADCAST, &1_i32)?;
    act(&socket)
}

fn bind(socket: &OwnedFd, to: SocketAddr) -> Result<(), Failure> {
    let address = SockaddrStorage::from(to);
    // SAFETY: the address is as long as the call is told.
    call("bind", || unsafe {
        libc::bind(socket.as_raw_fd(), address.as_ptr(), address.len())
    })?;
    Ok(())
}

/// Waits for the end of a handshake that `name` began.
fn established(fd: i32, name: &str) -> Result<(), Failure> {
    wait_ready(fd, PollFlags::POLLOUT).map_err(|failure| Failure::new(name, failure.errno))?;
    pending_error(fd, name)
}

fn with_message(
    to: SocketAddr,
    text: &str,
    act: impl FnOnce(*const libc::msghdr) -> Outcome,
) -> Outcome {
    let address = SockaddrStorage::from(to);
    let mut load = libc::iovec {
        iov_base: text.as_ptr().cast_mut().cast(),
        iov_len: text.len(),
    };
    let message = message(&address, &mut load);
    act(&raw const message)
}

/// A message that points to the address and the load, so must not outlive them.
fn message(address: &SockaddrStorage, load: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all zero is a valid, empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_namelen = address.len();
    message.msg_iov = load;
    message.msg_iovlen = 1;
    message
}

fn family(to: SocketAddr) -> i32 {
    if to.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    }
}

fn mapped(to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), to.port()),
        IpAddr::V6(_) => to,
    }
}
