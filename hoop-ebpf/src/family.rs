//! Sockets of families that no cgroup hook sees.

use hoop_common::{
    event::{Enforcement, EventKind, Hook, SocketEvent, Verdict},
    policy::SocketKind,
};

use crate::{
    emit, escape,
    kernel::Process,
    verdict::Decision,
    workload::{self, Workload},
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// How a hook stops what is denied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// By its answer, the kernel then asks no other program.
    Answer,
    /// By a signal; every program that is attached sends one.
    Signal,
}

/// Judges a socket that the running task asks for, stops it if that is by a signal, and records it.
/// Whatever the family, who is outside its workload gets none.
/// `None`: it is not governed here.
#[inline(always)]
pub fn judge(family: u32, kind: u32, protocol: u32, hook: Hook, means: Means) -> Option<Decision> {
    if escape::stop_current() {
        return Some(Decision::CLOSED);
    }
    // Those have a cgroup hook.
    if family == AF_INET || family == AF_INET6 || SocketKind::is_common_netlink(family, protocol) {
        return None;
    }
    let workload = Workload::of_current_process()?;
    let governed = workload.governed();
    let decision = governed.socket(SocketKind::of(family, kind, protocol));
    let enforcement = match means {
        Means::Answer => decision.enforce_by_answer(),
        Means::Signal => decision.enforce_by_signal(),
    };
    // While one daemon takes over from another, two loads are attached. What is denied by an answer
    // reaches only one of them, which may be the one that does not report otherwise.
    let alone = enforcement as u8 == Enforcement::Refused as u8;
    if decision.verdict as u8 != Verdict::Allow as u8 && (alone || workload::reporting()) {
        let event = SocketEvent {
            header: emit::header::<SocketEvent>(EventKind::Socket, workload.id, Process::current()),
            epoch: governed.epoch.0,
            rule: decision.rule,
            family: family as u16,
            kind: kind as u16,
            protocol,
            hook: hook as u8,
            verdict: decision.verdict as u8,
            mode: decision.mode,
            enforcement: enforcement as u8,
        };
        emit::send(&event, decision.priority());
    }
    Some(decision)
}
