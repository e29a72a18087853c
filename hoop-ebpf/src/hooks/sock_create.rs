//! `BPF_CGROUP_INET_SOCK_CREATE`: a task asks for an IPv4 or IPv6 socket. Other families do not
//! pass here.
//!
//! Fails closed for a task of a workload. Only what is not allowed is recorded: a socket by
//! itself reaches nobody.

use aya_ebpf::{bindings::bpf_sock, macros::cgroup_sock, programs::SockContext};
use hoop_common::{
    event::{EventKind, Hook, SocketEvent, Verdict},
    policy::SocketKind,
};

use super::answer;
use crate::{emit, kernel::Process, maps::SocketState, verdict::Decision, workload::Workload};

/// Entry.
#[cgroup_sock(sock_create)]
pub fn hoop_sock_create(ctx: SockContext) -> i32 {
    answer(try_sock_create(ctx.sock))
}

fn try_sock_create(sock: *mut bpf_sock) -> Option<Decision> {
    let workload = Workload::of_current()?;
    // SAFETY: the program's context, read volatile so that loads are not merged.
    let (family, kind, protocol) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*sock).family),
            core::ptr::read_volatile(&raw const (*sock).type_),
            core::ptr::read_volatile(&raw const (*sock).protocol),
        )
    };
    let governed = workload.governed();
    let decision = governed.socket(SocketKind::of(family, kind, protocol));
    if decision.verdict as u8 != Verdict::Allow as u8 {
        let event = SocketEvent {
            header: emit::header::<SocketEvent>(EventKind::Socket, workload.id, Process::current()),
            epoch: governed.epoch.0,
            rule: decision.rule,
            family: family as u16,
            kind: kind as u16,
            protocol,
            hook: Hook::SockCreate as u8,
            verdict: decision.verdict as u8,
            mode: decision.mode,
            enforcement: decision.enforce_by_answer() as u8,
        };
        emit::send(&event, decision.priority());
    }
    if decision.passes()
        && let Some(state) = SocketState::of(sock)
    {
        // So that a packet names the process even if no connect or sendmsg hook saw it.
        state.own(workload.id, Process::current());
    }
    Some(decision)
}
