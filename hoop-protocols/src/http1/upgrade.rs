//! What follows HTTP/1 on a connection: another protocol, a tunnel, or HTTP/1 after all.

use super::{Http1, Side, head};
use crate::connection::{Next, Passed};
use crate::out::{Both, Out};
use crate::websocket::Extension;
use crate::{Direction, EndReason, ResponseHead};

impl Http1 {
    /// After the answer that was waited for: no upgrade.
    pub(super) fn release(&mut self, direction: Direction) -> bool {
        let side = self.sides.get_mut(direction);
        let waits = matches!(side, Side::Await);
        if waits {
            *side = Side::Head { scanned: 0 };
        }
        waits
    }

    /// After 101: what is spoken from here on.
    pub(super) fn upgrade(
        &mut self,
        stream: u64,
        head: &ResponseHead,
        out: &mut Out<'_>,
    ) -> Option<Next> {
        let client = self.requests?;
        let searching = self.leave(client, out);
        let to = head.headers.get("upgrade").unwrap_or_default();
        Some(if to.eq_ignore_ascii_case(b"websocket") {
            let elements = head::names(&head.headers, "sec-websocket-extensions");
            let extension = Extension::agreed(elements);
            Next::WebSocket {
                stream,
                client,
                extension,
                searching,
            }
        } else if to.eq_ignore_ascii_case(b"h2c") {
            Next::Http2 {
                client: Some(client),
                searching,
            }
        } else {
            Next::Tunnel { searching }
        })
    }

    /// Ends HTTP/1 for the requests. Gives whether what follows is at a boundary.
    pub(super) fn leave(&mut self, requests: Direction, out: &mut Out<'_>) -> Both<Option<Passed>> {
        let side = self.sides.get_mut(requests);
        let passed = match std::mem::replace(side, Side::Head { scanned: 0 }) {
            Side::Search {
                skipped, reason, ..
            } => Some(Passed { skipped, reason }),
            Side::Body { body, .. } => {
                body.end(EndReason::Malformed, out);
                None
            }
            Side::Head { .. } | Side::Await => None,
        };
        Both::new(|direction| passed.filter(|_| direction == requests))
    }
}
