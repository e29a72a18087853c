//! Uprobe at the first instruction of `Read` and `Write` of Go's `tls.Conn`.
//!
//! Observes only. A goroutine changes threads and its stack moves, so its call is known by the
//! goroutine.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_attach_cookie},
    macros::uprobe,
    programs::ProbeContext,
};
use hoop_common::payload::TlsCall;

use crate::{
    payload::{self, Call},
    registers::Registers,
};

/// Entry.
#[uprobe]
pub fn hoop_go_call(ctx: ProbeContext) -> u32 {
    let _ = try_go_call(&ctx);
    0
}

fn try_go_call(ctx: &ProbeContext) -> Option<()> {
    let (workload, limit) = payload::captured()?;
    let registers = Registers(ctx.regs);
    // SAFETY: the program's context.
    let call = TlsCall::from_number(unsafe { bpf_get_attach_cookie(ctx.regs.cast()) })?;
    let noted = Call {
        object: registers.go_argument(0),
        buffer: registers.go_argument(1),
        len: registers.go_argument(2),
        out: 0,
        start: 0,
        workload: 0,
        start_ns: 0,
        limit: 0,
    };
    let process = bpf_get_current_pid_tgid() >> 32;
    payload::begin(registers.goroutine(), process, call, noted, workload, limit);
    Some(())
}
