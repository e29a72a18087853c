//! `BPF_CGROUP_INET_EGRESS`: the backstop below every system call. Every IPv4 and IPv6 packet
//! that leaves a socket made in a workload passes here: raw sockets, fast open, sockets opened
//! before the tag, replies of servers.
//!
//! Fails closed: a packet of a workload whose destination cannot be read, or whose workload has
//! no policy, is dropped. A packet whose socket belongs to no workload cannot get here, except
//! while a tag is being taken off; it passes.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_sk_fullsock},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use aya_log_ebpf::debug;
use hoop_common::{
    event::{EventKind, Hook, NetEvent, Verdict},
    policy::Epoch,
};

use super::{DENY, PASS};
use crate::{
    emit, hello,
    kernel::Process,
    maps::SocketState,
    packet::Packet,
    socket::{Age, Recall},
    verdict::Decision,
    workload::{self, Workload},
};

const IPPROTO_TCP: u8 = 6;

/// Entry.
#[cgroup_skb(egress)]
pub fn hoop_egress(ctx: SkBuffContext) -> i32 {
    match try_egress(&ctx) {
        Some(Verdict::Deny) => DENY,
        _ => PASS,
    }
}

fn try_egress(ctx: &SkBuffContext) -> Option<Verdict> {
    let skb = ctx.skb.skb;
    let mut state = state_of(skb);
    let packet = Packet::parse(skb);
    let mut recall = Recall::NOTHING;
    if let Some(state) = &mut state
        && !packet.opaque
    {
        // Most packets end here: their socket was judged in this epoch.
        if state.tasted == 0 && packet.destination.protocol == IPPROTO_TCP {
            hello::taste(skb, &packet, state);
        }
        recall = state.recall(workload::epoch(), packet.destination);
        match recall.current() {
            Some(verdict @ (Verdict::Allow | Verdict::Shadow)) => return Some(verdict),
            // TCP sends it again and again; it was recorded the first time.
            Some(Verdict::Deny) if packet.destination.protocol == IPPROTO_TCP => {
                return Some(Verdict::Deny);
            }
            _ => {}
        }
    }
    let made_in = match &state {
        Some(state) => state.workload,
        None => 0,
    };
    let workload = match made_in {
        0 => Workload::of_packet(skb)?,
        id => match Workload::by_id(id) {
            Some(workload) => workload,
            None => Workload::of_packet(skb)?,
        },
    };
    let governed = workload.governed();
    if packet.opaque {
        debug!(
            ctx,
            "a packet of workload {} hides its destination", workload.id
        );
    }
    let decision = if packet.opaque {
        governed.opaque()
    } else {
        governed.destination(packet.destination)
    };
    if let Some(state) = &mut state
        && !packet.opaque
    {
        state.remember(governed.epoch, packet.destination, decision);
    }
    if recall.age == Age::Outdated
        && recall.verdict == decision.verdict as u8
        && recall.rule == decision.rule
    {
        // Another epoch says the same of a destination that was recorded: nothing new.
        return Some(decision.verdict);
    }
    report(
        skb,
        workload,
        governed.epoch,
        &packet,
        decision,
        state.as_deref(),
    );
    Some(decision.verdict)
}

#[inline(always)]
fn state_of(skb: *mut __sk_buff) -> Option<&'static mut SocketState> {
    // SAFETY: the program's context.
    let sk = unsafe { core::ptr::read_volatile(&raw const (*skb).__bindgen_anon_2.sk) };
    if sk.is_null() {
        return None;
    }
    // SAFETY: not null; the verifier checks the rest.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return None;
    }
    SocketState::of(sk)
}

#[inline(always)]
fn report(
    skb: *mut __sk_buff,
    workload: Workload,
    epoch: Epoch,
    packet: &Packet,
    decision: Decision,
    state: Option<&SocketState>,
) {
    // Packets leave in soft interrupts too, so the running task says nothing: only the process
    // that the socket remembers is named.
    let process = match state {
        Some(state) if state.tgid != 0 => state.owner(),
        _ => Process::UNKNOWN,
    };
    let event = NetEvent {
        header: emit::header::<NetEvent>(EventKind::Net, workload.id, process),
        destination: packet.destination.address,
        source: packet.source,
        // SAFETY: the program's context.
        cookie: unsafe { bpf_get_socket_cookie(skb.cast()) },
        epoch: epoch.0,
        rule: decision.rule,
        reserved: 0,
        destination_port: packet.destination.port,
        source_port: packet.source_port,
        protocol: packet.destination.protocol,
        hook: Hook::Egress as u8,
        verdict: decision.verdict as u8,
        mode: decision.mode,
    };
    emit::send(&event, decision.priority());
}
