//! `io_uring_submit_req`: a request goes to `io_uring`; one kind of them makes a socket.
//!
//! Fails closed for a task of a workload, by SIGKILL, as `enter_socket` does. Requests that were
//! submitted together with this one may still be carried out.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use hoop_common::event::Hook;

use crate::{
    family::{self, Means},
    kernel::{KernelPtr, offset},
};

/// `IORING_OP_SOCKET` of `include/uapi/linux/io_uring.h`.
const IORING_OP_SOCKET: u8 = 45;

/// `SOCK_TYPE_MASK` of `include/linux/net.h`: the type without its flags.
const SOCK_TYPE_MASK: u32 = 0xf;

/// Entry.
#[raw_tracepoint(tracepoint = "io_uring_submit_req")]
pub fn hoop_ring_socket(ctx: RawTracePointContext) -> i32 {
    // TP_PROTO(struct io_kiocb *req)
    try_ring_socket(KernelPtr(ctx.arg(0)));
    0
}

fn try_ring_socket(request: KernelPtr) -> Option<()> {
    let opcode: u8 = request.at(offset!(io_kiocb_opcode)).read()?;
    if opcode != IORING_OP_SOCKET {
        return None;
    }
    let socket = request.at(offset!(io_kiocb_cmd));
    let kind: u32 = socket.at(offset!(io_socket_type)).read()?;
    family::judge(
        socket.at(offset!(io_socket_domain)).read()?,
        kind & SOCK_TYPE_MASK,
        socket.at(offset!(io_socket_protocol)).read()?,
        Hook::RingSocket,
        Means::Signal,
    )
    .map(drop)
}
