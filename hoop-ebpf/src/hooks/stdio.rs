//! `sys_exit`: a system call returns, perhaps one by which a process wrote to a file, or began a program.
//!
//! Observes only: takes what was written to pipes and Unix sockets, if it looks like JSON-RPC. It runs for every call
//! of every process, so it looks at the call's number first.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_user, macros::btf_tracepoint, programs::BtfTracePointContext,
};

use crate::{
    payload::Text,
    registers::{EXECVE, EXECVEAT, Registers, SENDMSG, SENDTO, WRITE, WRITEV},
    stdio,
};

/// Entry.
#[btf_tracepoint(function = "sys_exit")]
pub fn hoop_stdio(ctx: BtfTracePointContext) -> i32 {
    // TP_PROTO(struct pt_regs *regs, long ret)
    let (registers, result) = (Registers(ctx.arg(0)), ctx.arg::<i64>(1));
    let number = registers.system_call();
    if result > 0 && matches!(number, WRITE | WRITEV | SENDTO | SENDMSG) {
        let _ = try_stdio(registers, number, result as u64);
    } else if result == 0 && matches!(number, EXECVE | EXECVEAT) {
        let _ = stdio::begin();
    }
    0
}

#[inline(always)]
fn try_stdio(registers: Registers, number: u64, moved: u64) -> Option<()> {
    let [descriptor, buffer, count] = registers.system_call_arguments();
    let to = stdio::written_to(descriptor as u32)?;
    let text = match number {
        WRITEV => Text::scattered(buffer, count),
        SENDMSG => text_of(buffer)?,
        _ => Text::in_one_place(buffer),
    };
    stdio::take(to, text, moved)
}

/// The text of a `struct user_msghdr` (`include/linux/socket.h`), which begins with `msg_name`, `msg_namelen`,
/// `msg_iov` and `msg_iovlen`.
#[inline(always)]
fn text_of(message: u64) -> Option<Text> {
    let mut read = [0_u64; 4];
    // SAFETY: writes as many bytes as there are.
    let failed = unsafe {
        bpf_probe_read_user(
            read.as_mut_ptr().cast(),
            size_of::<[u64; 4]>() as u32,
            message as *const _,
        )
    };
    let [_, _, slices, count] = read;
    (failed == 0 && count != 0).then(|| Text::scattered(slices, count))
}
