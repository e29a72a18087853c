//! Uprobe where a library, or Go's `crypto/tls`, gives a connection up.
//!
//! Observes only.

use aya_ebpf::{helpers::generated::bpf_get_attach_cookie, macros::uprobe, programs::ProbeContext};
use hoop_common::payload::TlsCall;

use crate::{payload, registers::Registers};

/// Entry.
#[uprobe]
pub fn hoop_tls_close(ctx: ProbeContext) -> u32 {
    let _ = try_tls_close(&ctx);
    0
}

fn try_tls_close(ctx: &ProbeContext) -> Option<()> {
    let (workload, _) = payload::captured()?;
    let registers = Registers(ctx.regs);
    // SAFETY: the program's context.
    let call = TlsCall::from_number(unsafe { bpf_get_attach_cookie(ctx.regs.cast()) })?;
    // Both are read: of a register that depends on the call the verifier would not know the offset.
    let (of_c, of_go) = (registers.argument(0), registers.go_argument(0));
    let object = if call as u8 == TlsCall::GoClose as u8 {
        of_go
    } else {
        of_c
    };
    payload::close(object, call, workload);
    Some(())
}
