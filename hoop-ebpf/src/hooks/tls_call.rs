//! Uprobe at the first instruction of a C function that sends or receives plaintext.
//!
//! Observes only: notes what the call was given, so that its end can say what it moved.

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_attach_cookie, bpf_probe_read_user},
    },
    macros::uprobe,
    programs::ProbeContext,
};
use hoop_common::payload::TlsCall;

use crate::{
    kernel::Process,
    payload::{self, Call},
    registers::Registers,
    workload::Workload,
};

/// Entry.
#[uprobe]
pub fn hoop_tls_call(ctx: ProbeContext) -> u32 {
    let _ = try_tls_call(&ctx);
    0
}

fn try_tls_call(ctx: &ProbeContext) -> Option<()> {
    let (workload, limit) = payload::captured()?;
    let registers = Registers(ctx.regs);
    // SAFETY: the program's context.
    let call = TlsCall::from_number(unsafe { bpf_get_attach_cookie(ctx.regs.cast()) })?;
    if matches!(call, TlsCall::RustlsRead | TlsCall::RustlsWrite) {
        return try_rustls(registers, call, workload, limit);
    }
    let len = match call {
        // `int`: negative is an error of the caller.
        TlsCall::Read | TlsCall::Write => u64::from((registers.argument(2) as i32).max(0) as u32),
        _ => registers.argument(2),
    };
    let noted = Call {
        object: registers.argument(0),
        buffer: registers.argument(1),
        len,
        out: registers.argument(3),
        start: 0,
        workload: 0,
        start_ns: 0,
        limit: 0,
    };
    let thread = bpf_get_current_pid_tgid();
    payload::begin(
        registers.stack_at_entry(),
        thread,
        call,
        noted,
        workload,
        limit,
    );
    Some(())
}

/// The arguments of rustls are behind a pointer: four words of which the first says what the others are.
#[inline(always)]
fn try_rustls(registers: Registers, call: TlsCall, workload: Workload, limit: u64) -> Option<()> {
    let mut words = [0_u64; 4];
    // `Payload` has three.
    let len = if call as u8 == TlsCall::RustlsRead as u8 {
        24
    } else {
        32
    };
    // SAFETY: `words` has room for it.
    let read = unsafe {
        bpf_probe_read_user(
            words.as_mut_ptr().cast(),
            len,
            registers.argument(1) as *const _,
        )
    };
    if read != 0 {
        return None;
    }
    let [first, second, third, fourth] = words;
    let whole = call as u8 == TlsCall::RustlsRead as u8 || first == 0;
    let mut noted = Call {
        object: registers.argument(0),
        buffer: if whole { second } else { first },
        len: if whole {
            third
        } else {
            fourth.wrapping_sub(third)
        },
        out: if whole { 0 } else { second },
        start: if whole { 0 } else { third },
        workload: workload.id,
        start_ns: Process::current().start_ns,
        limit,
    };
    if call as u8 == TlsCall::RustlsRead as u8 {
        let moved = noted.len;
        noted.out = 0;
        payload::end(&noted, call, moved);
    } else {
        let thread = bpf_get_current_pid_tgid();
        payload::begin(
            registers.stack_at_entry(),
            thread,
            call,
            noted,
            workload,
            limit,
        );
    }
    Some(())
}
