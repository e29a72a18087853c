//! The tracepoints of what a socket sent or received: they say which socket a TLS connection has.
//!
//! Observes only. Without them (before Linux 6.3) connections are joined to nothing.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_socket_cookie},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use hoop_common::payload::{Join, PieceHeader, PieceKind, SocketPair};

use crate::{
    kernel::{KernelPtr, offset},
    maps::TURNS,
    payload::{self, Turn},
    workload,
};

/// `AF_INET` and `AF_INET6` of `include/linux/socket.h`.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// What encryption adds to a TLS record, in bytes: header and authentication tag, at least and at most
/// (RFC 5246, 6.2.3; RFC 8446, 5.2, without padding).
const ADDED: core::ops::RangeInclusive<u64> = 17..=96;

/// What else may leave with the first records, in bytes: the last messages of a handshake.
const HANDSHAKE: u64 = 256;

/// What follows a piece of kind `Joined`.
#[repr(C)]
struct Joined {
    header: PieceHeader,
    pair: SocketPair,
}

/// Entry for `sock_send_length`.
#[btf_tracepoint(function = "sock_send_length")]
pub fn hoop_tls_send(ctx: BtfTracePointContext) -> i32 {
    if workload::reporting() {
        let _ = try_join(ctx.arg(0), ctx.arg::<i32>(1), true);
    }
    0
}

/// Entry for `sock_recv_length`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn hoop_tls_receive(ctx: BtfTracePointContext) -> i32 {
    if workload::reporting() {
        let _ = try_join(ctx.arg(0), ctx.arg::<i32>(1), false);
    }
    0
}

#[inline(always)]
fn try_join(sk: *const u8, moved: i32, sends: bool) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only this thread writes the entry; copied at once.
    let turn: Turn = unsafe { *TURNS.get_ptr(thread)? };
    let socket = KernelPtr(sk as u64);
    let family: u16 = socket.at(offset!(sock_common_skc_family)).read_or_zero();
    if family != AF_INET && family != AF_INET6 {
        return None;
    }
    let join = if turn.inside != 0 {
        if turn.goroutine == 0 {
            Join::Nested
        } else {
            Join::NestedInGoroutine
        }
    } else {
        let added = (moved.max(0) as u64).wrapping_sub(turn.plain);
        let most = turn.records * *ADDED.end() + HANDSHAKE;
        if !sends || added < turn.records * *ADDED.start() || added > most {
            return None;
        }
        Join::NextSend
    };
    let _ = TURNS.remove(thread);
    // SAFETY: the tracepoint's argument, which the verifier knows to be a socket.
    let cookie = unsafe { bpf_get_socket_cookie(sk.cast_mut().cast()) };
    let connection = payload::join((thread >> 32) as u32, turn.object, cookie)?;
    let header = PieceHeader {
        workload: turn.workload,
        start_ns: turn.start_ns,
        object: turn.object,
        since_ns: connection.since_ns,
        offset: connection.sent,
        other: cookie,
        kind: PieceKind::Joined as u8,
        join: join as u8,
        ..payload::blank()
    };
    payload::send(&Joined {
        header,
        pair: pair(socket, family),
    });
    Some(())
}

#[inline(always)]
fn pair(socket: KernelPtr, family: u16) -> SocketPair {
    let port: u16 = socket.at(offset!(sock_common_skc_dport)).read_or_zero();
    let mut pair = SocketPair {
        remote: [0; 16],
        local: [0; 16],
        remote_port: u16::from_be(port),
        local_port: socket.at(offset!(sock_common_skc_num)).read_or_zero(),
        family,
        reserved: 0,
    };
    if family == AF_INET {
        let remote: u32 = socket.at(offset!(sock_common_skc_daddr)).read_or_zero();
        let local: u32 = socket.at(offset!(sock_common_skc_rcv_saddr)).read_or_zero();
        pair.remote[..4].copy_from_slice(&remote.to_ne_bytes());
        pair.local[..4].copy_from_slice(&local.to_ne_bytes());
    } else {
        let remote = socket
            .at(offset!(sock_common_skc_v6_daddr))
            .read::<[u8; 16]>();
        let local = socket
            .at(offset!(sock_common_skc_v6_rcv_saddr))
            .read::<[u8; 16]>();
        if let (Some(remote), Some(local)) = (remote, local) {
            pair.remote = remote;
            pair.local = local;
        }
    }
    pair
}
