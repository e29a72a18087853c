//! Uprobe at the return of the same functions.
//!
//! Observes only: takes the plaintext that the call really moved.

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_attach_cookie, bpf_probe_read_user},
    },
    macros::uretprobe,
    programs::RetProbeContext,
};
use hoop_common::payload::TlsCall;

use crate::{
    maps::CALLS,
    payload::{self, Call, CallKey},
    registers::Registers,
};

/// Entry.
#[uretprobe]
pub fn hoop_tls_return(ctx: RetProbeContext) -> u32 {
    let _ = try_tls_return(&ctx);
    0
}

fn try_tls_return(ctx: &RetProbeContext) -> Option<()> {
    let registers = Registers(ctx.regs);
    let key = CallKey {
        thread: bpf_get_current_pid_tgid(),
        frame: registers.stack_at_return(),
    };
    // SAFETY: only this thread writes the entry; copied at once.
    let noted: Call = unsafe { *CALLS.get_ptr(key)? };
    let _ = CALLS.remove(key);
    // SAFETY: the program's context.
    let call = TlsCall::from_number(unsafe { bpf_get_attach_cookie(ctx.regs.cast()) })?;
    let result = registers.result();
    let moved = match call {
        TlsCall::Write | TlsCall::Read => i64::from(result as i32),
        TlsCall::WriteEx | TlsCall::ReadEx if result as i32 == 1 => {
            let mut moved = 0_u64;
            // SAFETY: writes at most 8 bytes; zeroes them if it fails.
            unsafe {
                bpf_probe_read_user((&raw mut moved).cast(), 8, noted.out as *const _);
            }
            moved as i64
        }
        TlsCall::WriteSized
        | TlsCall::ReadSized
        | TlsCall::RustlsWrite
        | TlsCall::RustlsWriteSome => result as i64,
        _ => 0,
    };
    payload::end(&noted, call, moved.max(0) as u64);
    Some(())
}
