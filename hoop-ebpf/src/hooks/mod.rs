//! One file per hook: a thin entry that the kernel calls, and a `try_` function that decides.

pub mod bpf;
pub mod cgroup_move;
pub mod connect4;
pub mod connect6;
pub mod egress;
pub mod end;
pub mod enter_socket;
pub mod exec;
pub mod exec_check;
pub mod exit;
pub mod fork;
pub mod go_call;
pub mod go_return;
pub mod mmap;
pub mod pins;
pub mod ptrace;
pub mod ring_socket;
pub mod sendmsg4;
pub mod sendmsg6;
pub mod signal;
pub mod sock_create;
pub mod socket_create;
pub mod stdio;
pub mod tls_call;
pub mod tls_close;
pub mod tls_return;
pub mod tls_socket;
pub mod unix_connect;
pub mod unix_send;

/// Return values of cgroup programs.
const DENY: i32 = 0;
const PASS: i32 = 1;

/// `EPERM` of `include/uapi/asm-generic/errno-base.h`.
const EPERM: i32 = 1;

/// What a program of the LSM returns. Of a number that is computed the verifier would not know that
/// it is one of the two, and the compiler would compute it.
#[inline(always)]
fn lsm_answer(denied: bool) -> i32 {
    let answer: i64;
    // SAFETY: changes one register.
    unsafe {
        core::arch::asm!(
            "{answer} = 0",
            "if {denied} == 0 goto +1",
            "{answer} = -{EPERM}",
            answer = out(reg) answer,
            denied = in(reg) u64::from(denied),
            EPERM = const EPERM,
            options(nomem, nostack),
        );
    }
    answer as i32
}

/// What a decision means to the kernel of a cgroup program.
#[inline(always)]
fn answer(decision: Option<crate::verdict::Decision>) -> i32 {
    match decision {
        Some(decision) if !decision.passes() => DENY,
        _ => PASS,
    }
}

/// The address that a v4 hook was called with.
#[inline(always)]
fn user_address_v4(ctx: *mut aya_ebpf::bindings::bpf_sock_addr) -> hoop_common::policy::Key {
    // SAFETY: the program's context, read volatile so that loads are not merged.
    hoop_common::policy::Key::from_v4(u32::from_be(unsafe {
        core::ptr::read_volatile(&raw const (*ctx).user_ip4)
    }))
}

/// The address that a v6 hook was called with.
#[inline(always)]
fn user_address_v6(ctx: *mut aya_ebpf::bindings::bpf_sock_addr) -> hoop_common::policy::Key {
    let word = |n: usize| {
        // SAFETY: as above; `n` is below 4.
        u64::from(u32::from_be(unsafe {
            core::ptr::read_volatile((&raw const (*ctx).user_ip6).cast::<u32>().add(n))
        }))
    };
    hoop_common::policy::Key {
        hi: word(0) << 32 | word(1),
        lo: word(2) << 32 | word(3),
    }
}
