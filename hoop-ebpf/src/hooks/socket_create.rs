//! The LSM's `socket_create`: a task asks for a socket of any family, by `socket`, `socketpair` or
//! `io_uring`.
//!
//! Fails closed for a task of a workload, and open for families that a cgroup hook judges.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use hoop_common::event::Hook;

use super::lsm_answer;
use crate::family::{self, Means};

/// Entry.
#[lsm(hook = "socket_create")]
pub fn hoop_socket_create(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, socket_create, int family, int type, int protocol, int kern)
    let kern: i32 = ctx.arg(3);
    if kern != 0 {
        return 0;
    }
    lsm_answer(try_socket_create(ctx.arg(0), ctx.arg(1), ctx.arg(2)))
}

fn try_socket_create(family: u32, kind: u32, protocol: u32) -> bool {
    match family::judge(family, kind, protocol, Hook::SocketCreate, Means::Answer) {
        Some(decision) => !decision.passes(),
        None => false,
    }
}
