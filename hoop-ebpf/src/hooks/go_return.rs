//! Uprobe at every return instruction of `Read` and `Write` of Go's `tls.Conn`. A return probe would
//! change the return address on the stack, which Go's runtime reads when it moves the stack.
//!
//! Observes only.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_attach_cookie},
    macros::uprobe,
    programs::ProbeContext,
};
use hoop_common::payload::TlsCall;

use crate::{
    maps::CALLS,
    payload::{self, Call, CallKey},
    registers::Registers,
};

/// Entry.
#[uprobe]
pub fn hoop_go_return(ctx: ProbeContext) -> u32 {
    let _ = try_go_return(&ctx);
    0
}

fn try_go_return(ctx: &ProbeContext) -> Option<()> {
    let registers = Registers(ctx.regs);
    let key = CallKey {
        thread: bpf_get_current_pid_tgid() >> 32,
        frame: registers.goroutine(),
    };
    // SAFETY: only this goroutine writes the entry; copied at once.
    let noted: Call = unsafe { *CALLS.get_ptr(key)? };
    let _ = CALLS.remove(key);
    // SAFETY: the program's context.
    let call = TlsCall::from_number(unsafe { bpf_get_attach_cookie(ctx.regs.cast()) })?;
    payload::end(&noted, call, (registers.go_result() as i64).max(0) as u64);
    Some(())
}
