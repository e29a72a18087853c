//! IP packets by hand: made by the prober for raw sockets, taken apart by the far side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// IP in IP (RFC 2003).
pub const IPIP: u8 = 4;
/// ICMP.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// The TCP flag that begins a connection.
pub const SYN: u8 = 2;
/// UDP.
pub const UDP: u8 = 17;
/// IPv6 in IP (RFC 4213).
pub const IPV6: u8 = 41;
/// Generic routing encapsulation (RFC 2784).
pub const GRE: u8 = 47;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// An IP packet as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IANA protocol number.
    pub protocol: u8,
    /// Source port; 0 for protocols without and for later fragments.
    pub source_port: u16,
    /// Destination port; 0 for protocols without and for later fragments.
    pub destination_port: u16,
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// The whole packet from its IP header.
    pub bytes: Vec<u8>,
}

impl Packet {
    /// Takes an Ethernet frame apart. `None` if it is no IP packet, or cut short.
    #[must_use]
    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        let bytes = frame.get(14..)?;
        match frame[12..14] {
            [0x08, 0x00] => Self::v4(bytes),
            [0x86, 0xdd] => Self::v6(bytes),
            _ => None,
        }
    }

    /// Whether `needle` is anywhere in the packet.
    #[must_use]
    pub fn carries(&self, needle: &str) -> bool {
        !needle.is_empty()
            && self
                .bytes
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
    }

    fn v4(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..20)?;
        let source: [u8; 4] = header[12..16].try_into().ok()?;
        let destination: [u8; 4] = header[16..20].try_into().ok()?;
        let first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
        let transport = bytes
            .get(usize::from(header[0] & 0xf) * 4..)
            .filter(|_| first);
        Some(Self::new(
            source.into(),
            destination.into(),
            header[9],
            transport,
            bytes,
        ))
    }

    fn v6(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..40)?;
        let source: [u8; 16] = header[8..24].try_into().ok()?;
        let destination: [u8; 16] = header[24..40].try_into().ok()?;
        let transport = bytes.get(40..);
        Some(Self::new(
            source.into(),
            destination.into(),
            header[6],
            transport,
            bytes,
        ))
    }

    fn new(
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        transport: Option<&[u8]>,
        bytes: &[u8],
    ) -> Self {
        let ported = transport.filter(|rest| matches!(protocol, TCP | UDP) && rest.len() >= 8);
        let port =
            |at: usize| ported.map_or(0, |rest| u16::from_be_bytes([rest[at], rest[at + 1]]));
        Self {
            source,
            destination,
            protocol,
            source_port: port(0),
            destination_port: port(2),
            tcp_flags: ported
                .filter(|_| protocol == TCP)
                .and_then(|rest| rest.get(13).copied())
                .unwrap_or(0),
            bytes: bytes.to_vec(),
        }
    }
}

/// An IPv4 packet. `fragment` is the header's flags and offset field.
#[must_use]
pub fn ipv4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(length(20 + payload.len()).to_be_bytes());
    packet.extend([0x48, 0x4f]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// An IPv6 packet without extension headers.
#[must_use]
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(payload.len()).to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A whole IP packet with a UDP datagram in it.
///
/// # Panics
///
/// When the two addresses are of different families.
#[must_use]
pub fn udp_packet(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let datagram = udp(source, destination, payload);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, UDP, 0, &datagram),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, UDP, &datagram),
        _ => panic!("{source} and {destination} are of different families"),
    }
}

/// A UDP header and its payload.
#[must_use]
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let size = length(8 + payload.len());
    let mut datagram = Vec::new();
    datagram.extend(source.port().to_be_bytes());
    datagram.extend(destination.port().to_be_bytes());
    datagram.extend(size.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);

    let mut covered = Vec::new();
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(address) => covered.extend(address.octets()),
            IpAddr::V6(address) => covered.extend(address.octets()),
        }
    }
    covered.extend([0, UDP]);
    covered.extend(size.to_be_bytes());
    covered.extend(&datagram);
    let sum = checksum(&covered);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// An ICMP echo request. The kernel fills in the checksum for v6.
#[must_use]
pub fn echo_request(v6: bool, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![if v6 { 128 } else { 8 }, 0, 0, 0, 0x48, 0x4f, 0, 1];
    message.extend(payload);
    if !v6 {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("a test packet fits into 64 KiB")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_by_hand_is_read_back() {
        for (from, to) in [
            ("192.0.2.1:7", "198.51.100.9:53"),
            ("[2001:db8::1]:7", "[2001:db8::9]:53"),
        ] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let mut frame = vec![0; 12];
            frame.extend(if to.is_ipv4() {
                [0x08, 0x00]
            } else {
                [0x86, 0xdd]
            });
            frame.extend(udp_packet(from, to, b"odd"));
            let packet = Packet::from_frame(&frame).unwrap();
            assert_eq!(
                (packet.source, packet.source_port),
                (from.ip(), from.port())
            );
            assert_eq!(
                (packet.destination, packet.destination_port),
                (to.ip(), to.port())
            );
            assert_eq!((packet.protocol, packet.tcp_flags), (UDP, 0));
            assert!(packet.carries("odd") && !packet.carries("even"));
        }
    }

    #[test]
    fn a_checksummed_header_sums_to_zero() {
        let packet = ipv4(
            "192.0.2.1".parse().unwrap(),
            "192.0.2.2".parse().unwrap(),
            UDP,
            0,
            b"x",
        );
        assert_eq!(checksum(&packet[..20]), 0);
    }

    #[test]
    fn a_frame_cut_short_is_no_packet() {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00]);
        frame.extend([0x45; 10]);
        assert_eq!(Packet::from_frame(&frame), None);
        assert_eq!(Packet::from_frame(&[0; 3]), None);
    }
}
