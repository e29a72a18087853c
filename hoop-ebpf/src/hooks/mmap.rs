//! A process maps a file to run code from it: a library, which may be one that speaks TLS.
//!
//! Observes only: tells the daemon to look at the process, where the policy takes plaintext. With the
//! LSM at its hook `mmap_file`, else at the entry of `mmap`.

use aya_ebpf::{
    EbpfContext,
    macros::{lsm, tracepoint},
    programs::{LsmContext, TracePointContext},
};
use hoop_common::payload::PieceKind;

use crate::{
    kernel::Process,
    payload,
    workload::{self, Workload},
};

/// `PROT_EXEC` of `include/uapi/asm-generic/mman-common.h`.
const PROT_EXEC: u64 = 4;

/// `struct syscall_trace_enter` of `kernel/trace/trace.h`, as far as it is needed here.
#[repr(C)]
struct Enter {
    common: u64,
    number: u64,
    address: u64,
    len: u64,
    prot: u64,
    flags: u64,
    fd: u64,
}

/// Entry with the LSM: `file`, `reqprot`, `prot`, `flags`, and the answer so far.
#[lsm(hook = "mmap_file")]
pub fn hoop_mmap(ctx: LsmContext) -> i32 {
    let file: *const u8 = ctx.arg(0);
    if !file.is_null() && ctx.arg::<u64>(2) & PROT_EXEC != 0 {
        let _ = tell();
    }
    super::lsm_answer(false)
}

/// Entry without.
#[tracepoint(category = "syscalls", name = "sys_enter_mmap")]
pub fn hoop_enter_mmap(ctx: TracePointContext) -> u32 {
    let enter = ctx.as_ptr().cast::<Enter>();
    // SAFETY: the program's context, read volatile so that loads are not merged.
    let (prot, fd) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*enter).prot),
            core::ptr::read_volatile(&raw const (*enter).fd) as i32,
        )
    };
    if prot & PROT_EXEC != 0 && fd >= 0 {
        let _ = tell();
    }
    0
}

#[inline(always)]
fn tell() -> Option<()> {
    if workload::reporting() {
        payload::tell(
            PieceKind::Mapped,
            Workload::of_current_process()?,
            Process::current(),
        );
    }
    Some(())
}
