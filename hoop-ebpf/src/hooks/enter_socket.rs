//! The tracepoints of `socket` and `socketpair`, for kernels without the LSM: a program asks for a
//! socket.
//!
//! Fails closed for a task of a workload, by SIGKILL: the call cannot be made to fail from here. It
//! makes its socket, and the process ends before it returns.

use aya_ebpf::{EbpfContext, macros::tracepoint, programs::TracePointContext};
use hoop_common::event::Hook;

use crate::family::{self, Means};

/// `SOCK_TYPE_MASK` of `include/linux/net.h`: the type without its flags.
const SOCK_TYPE_MASK: u64 = 0xf;

/// `struct syscall_trace_enter` of `kernel/trace/trace.h`, as far as it is needed here.
#[repr(C)]
struct Enter {
    common: u64,
    number: u64,
    family: u64,
    kind: u64,
    protocol: u64,
}

/// Entry for `socket`.
#[tracepoint(category = "syscalls", name = "sys_enter_socket")]
pub fn hoop_enter_socket(ctx: TracePointContext) -> u32 {
    try_enter_socket(&ctx)
}

/// Entry for `socketpair`, whose first arguments are the same.
#[tracepoint(category = "syscalls", name = "sys_enter_socketpair")]
pub fn hoop_enter_socketpair(ctx: TracePointContext) -> u32 {
    try_enter_socket(&ctx)
}

#[inline(always)]
fn try_enter_socket(ctx: &TracePointContext) -> u32 {
    let enter = ctx.as_ptr().cast::<Enter>();
    // SAFETY: the program's context, read volatile so that loads are not merged.
    let (family, kind, protocol) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*enter).family) as u32,
            core::ptr::read_volatile(&raw const (*enter).kind) & SOCK_TYPE_MASK,
            core::ptr::read_volatile(&raw const (*enter).protocol) as u32,
        )
    };
    let _ = family::judge(
        family,
        kind as u32,
        protocol,
        Hook::EnterSocket,
        Means::Signal,
    );
    0
}
