//! Where a packet really goes.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};
use hoop_common::policy::Key;

use crate::verdict::Destination;

const ETH_P_IP: u32 = 0x0800;
const ETH_P_IPV6: u32 = 0x86dd;

const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_DCCP: u8 = 33;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_DSTOPTS: u8 = 60;
const IPPROTO_SCTP: u8 = 132;
const IPPROTO_UDPLITE: u8 = 136;

/// Extension headers that are followed before a packet counts as opaque.
const MAX_EXTENSION_HEADERS: u32 = 4;

/// A packet's destination and source.
#[derive(Clone, Copy)]
pub struct Packet {
    pub destination: Destination,
    pub source: Key,
    pub source_port: u16,
    /// Where the transport header begins, in bytes.
    pub transport: u32,
    /// The destination in the header is not all: a fragment made by hand, IPv4 options, a routing
    /// header, or headers that cannot be followed. What the kernel itself fragments
    /// comes here whole (`ip_finish_output` runs the hook before it fragments).
    pub opaque: bool,
}

impl Packet {
    /// Reads the headers of a packet at `cgroup_skb`: `data` starts at the network header.
    #[inline(always)]
    pub fn parse(skb: *mut __sk_buff) -> Self {
        // SAFETY: `skb` is the program's context.
        let protocol = u32::from(u16::from_be(unsafe { (*skb).protocol } as u16));
        match protocol {
            ETH_P_IP => parse_v4(skb),
            ETH_P_IPV6 => parse_v6(skb),
            _ => OPAQUE,
        }
    }
}

const OPAQUE: Packet = Packet {
    destination: Destination {
        address: Key { hi: 0, lo: 0 },
        port: 0,
        protocol: 0,
    },
    source: Key { hi: 0, lo: 0 },
    source_port: 0,
    transport: 0,
    opaque: true,
};

#[inline(always)]
fn parse_v4(skb: *mut __sk_buff) -> Packet {
    let Some(header) = load_at::<[u8; 20], 0>(skb) else {
        return OPAQUE;
    };
    let header_len = u32::from(header[0] & 0x0f) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let mut packet = Packet {
        destination: Destination {
            address: Key::from_v4(u32::from_be_bytes([
                header[16], header[17], header[18], header[19],
            ])),
            port: 0,
            protocol: header[9],
        },
        source: Key::from_v4(u32::from_be_bytes([
            header[12], header[13], header[14], header[15],
        ])),
        source_port: 0,
        transport: header_len,
        // More fragments, or an offset; options, of which a source route (RFC 791, 3.1) names
        // another destination.
        opaque: fragment & 0x3fff != 0 || header_len != 20,
    };
    // With options the packet is opaque, and its ports are only for the record.
    read_ports(load_at::<[u8; 4], 20>(skb), &mut packet);
    packet
}

#[inline(always)]
fn parse_v6(skb: *mut __sk_buff) -> Packet {
    let Some(header) = load_at::<[u64; 5], 0>(skb) else {
        return OPAQUE;
    };
    // The fifth to eighth bytes: payload length, next header, hop limit.
    let next_header = (u64::from_be(header[0]) >> 8) as u8;
    let mut packet = Packet {
        destination: Destination {
            address: Key {
                hi: u64::from_be(header[3]),
                lo: u64::from_be(header[4]),
            },
            port: 0,
            protocol: next_header,
        },
        source: Key {
            hi: u64::from_be(header[1]),
            lo: u64::from_be(header[2]),
        },
        source_port: 0,
        transport: 40,
        opaque: false,
    };
    let mut at = 40;
    for _ in 0..MAX_EXTENSION_HEADERS {
        match packet.destination.protocol {
            IPPROTO_HOPOPTS | IPPROTO_DSTOPTS => {
                let Some(extension) = load::<[u8; 2]>(skb, at) else {
                    packet.opaque = true;
                    return packet;
                };
                packet.destination.protocol = extension[0];
                at += (u32::from(extension[1]) + 1) * 8;
            }
            IPPROTO_ROUTING | IPPROTO_FRAGMENT => {
                packet.opaque = true;
                return packet;
            }
            _ => {
                let ports = if at == 40 {
                    load_at::<[u8; 4], 40>(skb)
                } else {
                    load::<[u8; 4]>(skb, at)
                };
                read_ports(ports, &mut packet);
                packet.transport = at;
                return packet;
            }
        }
    }
    packet.opaque = true;
    packet
}

#[inline(always)]
fn read_ports(ports: Option<[u8; 4]>, packet: &mut Packet) {
    match packet.destination.protocol {
        IPPROTO_TCP | IPPROTO_UDP | IPPROTO_UDPLITE | IPPROTO_SCTP | IPPROTO_DCCP => match ports {
            Some(ports) => {
                packet.source_port = u16::from_be_bytes([ports[0], ports[1]]);
                packet.destination.port = u16::from_be_bytes([ports[2], ports[3]]);
            }
            None => packet.opaque = true,
        },
        _ => {}
    }
}

/// Reads at an offset that is known beforehand: from the packet's linear part, where its headers
/// nearly always are, without a call.
#[inline(always)]
fn load_at<T: Copy, const AT: u32>(skb: *mut __sk_buff) -> Option<T> {
    // SAFETY: the program's context, read volatile so that the two loads are not merged.
    let (data, end) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*skb).data) as usize,
            core::ptr::read_volatile(&raw const (*skb).data_end) as usize,
        )
    };
    if data + AT as usize + size_of::<T>() > end {
        return load(skb, AT);
    }
    // SAFETY: inside the packet, as was just checked; the verifier checks it again.
    Some(unsafe { core::ptr::read_unaligned((data + AT as usize) as *const T) })
}

#[inline(always)]
pub fn load<T: Copy>(skb: *mut __sk_buff, at: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes exactly `size_of::<T>()` bytes, or fails.
    let result = unsafe {
        bpf_skb_load_bytes(
            skb.cast(),
            at,
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
        )
    };
    if result == 0 {
        // SAFETY: written above; `T` is made of plain integers at every call.
        Some(unsafe { value.assume_init() })
    } else {
        None
    }
}
