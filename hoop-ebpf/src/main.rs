//! Hoop's kernel programs: one file per hook under `hooks/`, and what they share.
//!
//! Every hook returns at once for a task or socket outside every workload, before it reads
//! anything of it. A verdict never depends on ring space: emitting may fail, the verdict stands.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the macros of aya-ebpf hand the context to an entry by value"
)]

mod command;
mod emit;
mod escape;
mod family;
mod guard;
mod hello;
mod hooks;
mod kernel;
mod maps;
mod matcher;
mod packet;
mod path;
mod payload;
mod registers;
mod socket;
mod stdio;
mod unix;
mod verdict;
mod verifier;
mod workload;

/// The verifier refuses a program in which this loop can be reached, so no panic can be.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are only for programs under a licence that is compatible with the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
