//! What is known of the TLS connection that something was said on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hoop_common::payload::{Join, PieceHeader, SocketPair, TlsCall};

use hoop_records::{Endpoint, TlsConnection};

/// `AF_INET` of `include/linux/socket.h`.
const AF_INET: u16 = 2;

/// A connection, with nothing known of its socket yet.
pub(super) fn connection(header: &PieceHeader) -> TlsConnection {
    TlsConnection {
        uid: format!("{}-{:x}-{}", header.tgid, header.object, header.since_ns),
        ..TlsConnection::default()
    }
}

/// Adds the socket.
pub(super) fn join(connection: &mut TlsConnection, join: Join, pair: &SocketPair, cookie: u64) {
    let (joined_by, confidence) = match join {
        Join::Nested => ("nested", 1.0),
        Join::NestedInGoroutine => ("goroutine", 0.95),
        Join::NextSend => ("next send", 0.9),
    };
    connection.dst_endpoint = Some(endpoint(pair.family, pair.remote, pair.remote_port));
    connection.src_endpoint = Some(endpoint(pair.family, pair.local, pair.local_port));
    connection.socket = cookie;
    joined_by.clone_into(&mut connection.joined_by);
    connection.confidence = confidence;
}

/// The function that a piece went through.
pub(super) fn function(call: u8) -> &'static str {
    match TlsCall::from_number(call.into()) {
        Some(TlsCall::Write) => "SSL_write",
        Some(TlsCall::Read) => "SSL_read",
        Some(TlsCall::WriteEx) => "SSL_write_ex",
        Some(TlsCall::ReadEx) => "SSL_read_ex",
        Some(TlsCall::WriteSized) => "gnutls_record_send",
        Some(TlsCall::ReadSized) => "gnutls_record_recv",
        Some(TlsCall::GoWrite) => "crypto/tls.(*Conn).Write",
        Some(TlsCall::GoRead) => "crypto/tls.(*Conn).Read",
        Some(TlsCall::RustlsWrite | TlsCall::RustlsRead | TlsCall::RustlsWriteSome) => "rustls",
        Some(TlsCall::Close | TlsCall::GoClose) | None => "",
    }
}

/// Where a socket leads.
pub(super) fn remote(pair: &SocketPair) -> Endpoint {
    endpoint(pair.family, pair.remote, pair.remote_port)
}

fn endpoint(family: u16, address: [u8; 16], port: u16) -> Endpoint {
    let ip = if family == AF_INET {
        let [a, b, c, d, ..] = address;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(Ipv6Addr::from(address)).to_canonical()
    };
    Endpoint {
        ip: ip.to_string(),
        port: Some(port.into()),
    }
}
