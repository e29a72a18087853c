//! The first bytes that a TCP socket sends: whether TLS begins on it.
//!
//! A process that speaks TLS and of which nothing is read must not go unsaid.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_get_smp_processor_id, bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
};
use hoop_common::{
    payload::{PieceHeader, PieceKind, SocketPair},
    policy::Key,
};

use crate::{
    maps::SocketState,
    packet::{self, Packet},
    payload,
    workload::{self, Workload},
};

/// A TLS record of handshake messages (RFC 8446, 5.1), and the first message in it.
const HANDSHAKE: u8 = 22;
const MAJOR_VERSION: u8 = 3;
const CLIENT_HELLO: u8 = 1;

/// `AF_INET6` of `include/linux/socket.h`.
const AF_INET6: u16 = 10;

/// What is sent of a `ClientHello`.
#[repr(C)]
struct Hello {
    header: PieceHeader,
    pair: SocketPair,
}

/// Looks at the first payload that a socket sends, once.
#[inline(always)]
pub fn taste(skb: *mut __sk_buff, packet: &Packet, state: &mut SocketState) {
    let transport = packet.transport;
    // Data offset (RFC 9293, 3.1).
    let Some(offset) = packet::load::<u8>(skb, transport + 12) else {
        return;
    };
    let payload = transport + u32::from(offset >> 4) * 4;
    let Some(first) = packet::load::<[u8; 6]>(skb, payload) else {
        // A packet without payload, such as the first one; or too little to be TLS.
        return;
    };
    state.tasted = 1;
    if first[0] != HANDSHAKE || first[1] != MAJOR_VERSION || first[5] != CLIENT_HELLO {
        return;
    }
    let _ = tell(skb, packet, state);
}

fn tell(skb: *mut __sk_buff, packet: &Packet, state: &SocketState) -> Option<()> {
    if !workload::reporting() {
        return None;
    }
    let workload = Workload::by_id(state.workload)?;
    if workload.governed().policy?.capture_bytes == 0 {
        return None;
    }
    let hello = Hello {
        header: PieceHeader {
            // SAFETY: the helper takes no pointers.
            boot_ns: unsafe { bpf_ktime_get_boot_ns() },
            workload: workload.id,
            start_ns: state.start_ns,
            tgid: state.tgid,
            tid: 0,
            object: 0,
            since_ns: 0,
            offset: 0,
            // SAFETY: the program's context.
            other: unsafe { bpf_get_socket_cookie(skb.cast()) },
            len: 0,
            skipped: 0,
            kind: PieceKind::Hello as u8,
            direction: 0,
            join: 0,
            call: 0,
            // SAFETY: the helper takes no pointers.
            cpu: unsafe { bpf_get_smp_processor_id() },
        },
        pair: SocketPair {
            remote: octets(packet.destination.address),
            local: octets(packet.source),
            remote_port: packet.destination.port,
            local_port: packet.source_port,
            // An IPv4 address is written as its mapped form.
            family: AF_INET6,
            reserved: 0,
        },
    };
    payload::send(&hello);
    Some(())
}

#[inline(always)]
fn octets(address: Key) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&address.hi.to_be_bytes());
    octets[8..].copy_from_slice(&address.lo.to_be_bytes());
    octets
}
