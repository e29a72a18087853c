//! The LSM's `unix_stream_connect`: a task connects to a stream or packet socket of the Unix family.
//!
//! Fails open for a task of a workload whose policy does not deny that socket's path, which is what
//! not being denied means.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use hoop_common::event::Hook;

use super::lsm_answer;
use crate::{kernel::KernelPtr, unix};

/// `SOCK_STREAM`
const STREAM: u16 = 1;

/// Entry.
#[lsm(hook = "unix_stream_connect")]
pub fn hoop_unix_connect(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, unix_stream_connect, struct sock *sock, struct sock *other,
    //          struct sock *newsk)
    let other: *const u8 = ctx.arg(1);
    lsm_answer(try_unix_connect(KernelPtr(other as u64)))
}

fn try_unix_connect(other: KernelPtr) -> bool {
    match unix::judge(other, STREAM, Hook::UnixConnect) {
        Some(decision) => !decision.passes(),
        None => false,
    }
}
