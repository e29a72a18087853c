//! The LSM's `unix_may_send`: a task connects or sends to a datagram socket of the Unix family.
//!
//! Fails open for a task of a workload whose policy does not deny that socket's path, which is what
//! not being denied means.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use hoop_common::event::Hook;

use super::lsm_answer;
use crate::{
    kernel::{KernelPtr, offset},
    unix,
};

/// `SOCK_DGRAM`
const DATAGRAM: u16 = 2;

/// Entry.
#[lsm(hook = "unix_may_send")]
pub fn hoop_unix_send(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, unix_may_send, struct socket *sock, struct socket *other)
    let other: *const u8 = ctx.arg(1);
    lsm_answer(try_unix_send(KernelPtr(other as u64)).is_some())
}

fn try_unix_send(other: KernelPtr) -> Option<()> {
    let server = other.follow(offset!(socket_sk))?;
    let decision = unix::judge(server, DATAGRAM, Hook::UnixSend)?;
    (!decision.passes()).then_some(())
}
