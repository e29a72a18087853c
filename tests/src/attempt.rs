//! Attempts to get a message somewhere, and what must come of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::lab::Lab;
use crate::packet::{Packet, SYN, TCP};
use crate::probe::{Act, Outcome, Route, Step};
use crate::prober::Prober;

/// Something to do whose message nobody else sends.
#[derive(Clone, Debug)]
pub struct Attempt {
    act: Act,
    /// The message: it tells this attempt's packets from all others.
    pub text: String,
    /// Where its packets arrive, if they do.
    pub at: IpAddr,
}

impl Attempt {
    /// A message to `to` by `route`.
    #[must_use]
    pub fn by(route: Route, to: SocketAddr) -> Self {
        Self::new(to.ip(), |text| Act::Reach { route, to, text })
    }

    /// A packet to `outer` that carries another one to `inner`.
    #[must_use]
    pub fn tunnel(protocol: u8, outer: IpAddr, inner: SocketAddr) -> Self {
        Self::new(outer, |text| Act::Tunnel {
            protocol,
            outer,
            inner,
            text,
        })
    }

    /// A datagram to `to` that the kernel sends to `via` first.
    #[must_use]
    pub fn source_route(via: IpAddr, to: SocketAddr) -> Self {
        Self::new(via, |text| Act::SourceRoute { via, to, text })
    }

    /// A message on a connected socket.
    #[must_use]
    pub fn on(fd: i32, to: SocketAddr) -> Self {
        Self::new(to.ip(), |text| Act::Send { fd, text })
    }

    /// A datagram on an unconnected socket.
    #[must_use]
    pub fn datagram(fd: i32, to: SocketAddr) -> Self {
        Self::new(to.ip(), |text| Act::SendTo { fd, to, text })
    }

    /// The same by a descendant that has taken some steps.
    #[must_use]
    pub fn after(self, steps: &[Step]) -> Self {
        Self {
            act: Act::After {
                steps: steps.to_vec(),
                act: Box::new(self.act),
            },
            ..self
        }
    }

    /// Makes the attempt.
    #[track_caller]
    pub fn make(&self, prober: &mut Prober) -> Outcome {
        prober.act(&self.act)
    }

    /// Makes the attempt, which must succeed, and its message must arrive.
    ///
    /// # Panics
    ///
    /// When that is not what happens.
    #[track_caller]
    pub fn succeeds(&self, lab: &Lab, prober: &mut Prober) {
        let outcome = self.make(prober);
        assert!(outcome.is_ok(), "{self:?} should succeed: {outcome:?}");
        lab.far.wait_for(&self.text, |packet| self.sent(packet));
    }

    /// Makes the attempt, which must fail with EPERM, and nothing of it may arrive.
    ///
    /// # Panics
    ///
    /// When that is not what happens.
    #[track_caller]
    pub fn is_denied(&self, lab: &Lab, prober: &mut Prober) {
        let outcome = self.stays(lab, prober);
        if self.is_told_nothing() {
            return;
        }
        let denied = outcome
            .as_ref()
            .is_err_and(crate::probe::Failure::is_denial);
        assert!(denied, "{self:?} should fail with EPERM: {outcome:?}");
    }

    /// Makes the attempt, of which nothing may arrive, whatever the program is told.
    ///
    /// # Panics
    ///
    /// When something does.
    #[track_caller]
    pub fn stays(&self, lab: &Lab, prober: &mut Prober) -> Outcome {
        let before = lab.far.arrived().len();
        let outcome = self.make(prober);
        let arrived = lab.far.arrived();
        // The end of an earlier connection may still be on its way; a new one begins with SYN.
        let is_new = |packet: &Packet| packet.protocol != TCP || packet.tcp_flags & SYN != 0;
        let leak = arrived.iter().enumerate().find(|&(number, packet)| {
            packet.carries(&self.text)
                || number >= before && packet.destination == self.at && is_new(packet)
        });
        assert!(leak.is_none(), "{self:?} got out: {outcome:?}, {leak:#?}");
        outcome
    }

    /// `ping_v6_sendmsg` does not look at what becomes of its packet.
    fn is_told_nothing(&self) -> bool {
        matches!(&self.act, Act::Reach { route: Route::Ping, to, .. } if to.is_ipv6())
    }

    fn sent(&self, packet: &Packet) -> bool {
        packet.destination == self.at && packet.carries(&self.text)
    }

    fn new(at: IpAddr, act: impl FnOnce(String) -> Act) -> Self {
        static ATTEMPTS: AtomicU32 = AtomicU32::new(1);
        let text = format!("attempt {}.", ATTEMPTS.fetch_add(1, Ordering::Relaxed));
        Self {
            act: act(text.clone()),
            text,
            at,
        }
    }
}
