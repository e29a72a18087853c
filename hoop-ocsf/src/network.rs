//! 4001 Network Activity.

use hoop_records::{ConnectionInfo, Kind, NetworkActivity, Plaintext, Record, TlsConnection};
use serde_json::{Value, json};

use crate::Node;
use crate::event::{Event, NETWORK, OTHER};
use crate::object::{Object, endpoint, id};

/// A connection or datagram.
pub(crate) fn connection(record: &Record, node: &Node, fact: &NetworkActivity) -> Event {
    let activity = match record.kind() {
        Kind::Connect => (1, "Open"),
        Kind::Packet => (6, "Traffic"),
        Kind::Reset => (3, "Reset"),
        _ => (OTHER, record.kind().word()),
    };
    let mut event = Event::new(record, node, NETWORK, activity);
    for (name, value) in connection_objects(fact) {
        event.attributes.set(name, value);
    }
    require_endpoint(&mut event, node);
    event
}

/// Plaintext in a protocol that is not read further.
pub(crate) fn plaintext(record: &Record, node: &Node, fact: &Plaintext) -> Event {
    let mut event = Event::new(record, node, NETWORK, (6, "Traffic"));
    if let Some(connection) = &fact.connection {
        for (name, value) in tls_endpoints(connection) {
            event.attributes.set(name, value);
        }
        event
            .attributes
            .set("connection_info", tls_info(connection));
    }
    let size = |body: &Option<hoop_records::Body>| body.as_ref().map_or(0, |body| body.size);
    let (sent, received) = (size(&fact.sent), size(&fact.received));
    let traffic = json!({
        "bytes_out": sent,
        "bytes_in": received,
        "bytes": sent.saturating_add(received),
    });
    event.attributes.set("traffic", traffic);
    event.unmapped.set_json("plaintext", fact);
    require_endpoint(&mut event, node);
    event
}

/// The attributes of a connection, which a finding has as evidence.
pub(crate) fn connection_objects(fact: &NetworkActivity) -> Vec<(&'static str, Value)> {
    let mut objects = Vec::new();
    if let Some(endpoint) = endpoint(fact.dst_endpoint.as_ref()) {
        objects.push(("dst_endpoint", endpoint.into_value()));
    }
    if let Some(endpoint) = endpoint(fact.src_endpoint.as_ref()) {
        objects.push(("src_endpoint", endpoint.into_value()));
    }
    if let Some(info) = &fact.connection_info {
        objects.push(("connection_info", info_object(info)));
    }
    objects
}

/// The endpoints of a TLS connection, as far as they are known.
pub(crate) fn tls_endpoints(connection: &TlsConnection) -> Vec<(&'static str, Value)> {
    let ends = [
        ("dst_endpoint", &connection.dst_endpoint),
        ("src_endpoint", &connection.src_endpoint),
    ];
    let known = ends.into_iter().filter_map(|(name, end)| {
        let end = endpoint(end.as_ref())?;
        Some((name, end.into_value()))
    });
    known.collect()
}

fn tls_info(connection: &TlsConnection) -> Value {
    json!({
        "uid": id(&connection.uid),
        "direction_id": 2,
        "direction": "Outbound",
        "protocol_num": 6,
        "protocol_name": "tcp",
    })
}

fn info_object(info: &ConnectionInfo) -> Value {
    let mut object = Object::default();
    if info.uid != 0 {
        object.set("uid", info.uid.to_string());
    }
    object.set("protocol_num", info.protocol_num);
    object.set_text("protocol_name", &info.protocol_name);
    object.set("direction_id", 2);
    object.set("direction", "Outbound");
    object.into_value()
}

/// Where neither end is known, the node is the one that it is from.
fn require_endpoint(event: &mut Event, node: &Node) {
    let attributes = &event.attributes.0;
    if !attributes.contains_key("dst_endpoint") && !attributes.contains_key("src_endpoint") {
        let here = json!({ "hostname": id(&node.hostname) });
        event.attributes.set("src_endpoint", here);
    }
}
