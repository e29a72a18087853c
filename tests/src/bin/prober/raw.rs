//! Raw and packet sockets, and sockets that hide where they send.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use hoop_tests::lab::{FAR_MAC, NEAR_INTERFACE, NEAR_MAC};
use hoop_tests::packet;
use hoop_tests::probe::{Failure, Outcome, Route};

use crate::call::{call, set, socket};
use crate::ip::{done, inet, near, send_bytes};

/// Source port of datagrams made by hand.
const SOURCE_PORT: u16 = 40_000;

/// "More fragments" in the flags of an IPv4 header.
const MORE_FRAGMENTS: u16 = 0x2000;

pub(crate) fn reach(route: Route, to: SocketAddr, text: &str) -> Outcome {
    let v6 = to.is_ipv6();
    let source = source(to);
    let icmp = if v6 { packet::ICMPV6 } else { packet::ICMP };
    match route {
        Route::Ping => {
            let message = packet::echo_request(v6, text.as_bytes());
            send(v6, libc::SOCK_DGRAM, icmp.into(), to, &message)
        }
        Route::RawPing => {
            let message = packet::echo_request(v6, text.as_bytes());
            send(v6, libc::SOCK_RAW, icmp.into(), to, &message)
        }
        Route::RawUdp => {
            let datagram = packet::udp(source, to, text.as_bytes());
            send(v6, libc::SOCK_RAW, packet::UDP.into(), to, &datagram)
        }
        Route::RawForged => {
            let forged = match source.ip() {
                IpAddr::V4(_) => IpAddr::from([192, 0, 2, 77]),
                IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x77]),
            };
            let forged = SocketAddr::new(forged, SOURCE_PORT);
            let bytes = packet::udp_packet(forged, to, text.as_bytes());
            send(v6, libc::SOCK_RAW, libc::IPPROTO_RAW, to, &bytes)
        }
        Route::RawFragments => fragments(source, to, text),
        _ => frame(source, to, text),
    }
}

pub(crate) fn tunnel(protocol: u8, outer: IpAddr, inner: SocketAddr, text: &str) -> Outcome {
    let load = packet::udp_packet(source(inner), inner, text.as_bytes());
    let mut bytes = Vec::new();
    if protocol == packet::GRE {
        let kind: u16 = if inner.is_ipv4() { 0x0800 } else { 0x86dd };
        bytes.extend([0, 0]);
        bytes.extend(kind.to_be_bytes());
    }
    bytes.extend(load);
    let outer = SocketAddr::new(outer, 0);
    send(
        outer.is_ipv6(),
        libc::SOCK_RAW,
        protocol.into(),
        outer,
        &bytes,
    )
}

pub(crate) fn source_route(via: IpAddr, to: SocketAddr, text: &str) -> Outcome {
    let IpAddr::V4(via) = via else {
        return Err(Failure::new("setsockopt", libc::EAFNOSUPPORT));
    };
    let socket = inet(false, libc::SOCK_DGRAM, 0)?;
    // RFC 791, 3.1: no-operation, then loose source routing with one hop.
    let mut options = [1, 131, 7, 4, 0, 0, 0, 0];
    options[4..].copy_from_slice(&via.octets());
    set(&socket, libc::IPPROTO_IP, libc::IP_OPTIONS, &options)?;
    send_bytes(socket.as_raw_fd(), to, text.as_bytes(), 0)
}

/// The first fragment holds the ports, the second one the text.
fn fragments(source: SocketAddr, to: SocketAddr, text: &str) -> Outcome {
    let (IpAddr::V4(from), IpAddr::V4(address)) = (source.ip(), to.ip()) else {
        return Err(Failure::new("socket", libc::EAFNOSUPPORT));
    };
    let datagram = packet::udp(source, to, format!("8 octets{text}").as_bytes());
    let (first, second) = datagram.split_at(16);
    for (fragment, bytes) in [(MORE_FRAGMENTS, first), (16 / 8, second)] {
        let bytes = packet::ipv4(from, address, packet::UDP, fragment, bytes);
        send(false, libc::SOCK_RAW, libc::IPPROTO_RAW, to, &bytes)?;
    }
    Ok(done(0))
}

fn frame(source: SocketAddr, to: SocketAddr, text: &str) -> Outcome {
    let kind: u16 = if to.is_ipv4() { 0x0800 } else { 0x86dd };
    let mut bytes = [FAR_MAC, NEAR_MAC].concat();
    bytes.extend(kind.to_be_bytes());
    bytes.extend(packet::udp_packet(source, to, text.as_bytes()));

    let socket = socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    // SAFETY: all zero is a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = nix::net::if_::if_nametoindex(NEAR_INTERFACE)
        .map_err(|errno| Failure::new("if_nametoindex", errno as i32))?
        .cast_signed();
    // SAFETY: buffer and address are as long as the call is told.
    let sent = call("sendto", || unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    })?;
    Ok(done(sent))
}

fn send(v6: bool, kind: i32, protocol: i32, to: SocketAddr, bytes: &[u8]) -> Outcome {
    let socket = inet(v6, kind, protocol)?;
    // A raw IPv6 socket takes the port for a protocol number.
    send_bytes(socket.as_raw_fd(), SocketAddr::new(to.ip(), 0), bytes, 0)
}

fn source(to: SocketAddr) -> SocketAddr {
    SocketAddr::new(near(to).ip(), SOURCE_PORT)
}
