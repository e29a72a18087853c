//! Registers of a program at a probe: arguments and results by the calling conventions of System V
//! (C) and of Go (`cmd/compile/abi-internal.md`).

use aya_ebpf::bindings::pt_regs;

/// Registers where a probe was hit.
#[derive(Clone, Copy)]
pub struct Registers(pub *const pt_regs);

/// Reads one register of the context.
macro_rules! register {
    ($registers:expr, $name:ident) => {
        // SAFETY: the program's context, read volatile so that loads are not merged.
        unsafe { core::ptr::read_volatile(&raw const (*$registers.0).$name) as u64 }
    };
}

/// Numbers of system calls that write or begin a program (`arch/x86/entry/syscalls/syscall_64.tbl`).
#[cfg(bpf_target_arch = "x86_64")]
mod numbers {
    pub const WRITE: u64 = 1;
    pub const WRITEV: u64 = 20;
    pub const SENDTO: u64 = 44;
    pub const SENDMSG: u64 = 46;
    pub const EXECVE: u64 = 59;
    pub const EXECVEAT: u64 = 322;
}

/// The same (`include/uapi/asm-generic/unistd.h`).
#[cfg(bpf_target_arch = "aarch64")]
mod numbers {
    pub const WRITE: u64 = 64;
    pub const WRITEV: u64 = 66;
    pub const SENDTO: u64 = 206;
    pub const SENDMSG: u64 = 211;
    pub const EXECVE: u64 = 221;
    pub const EXECVEAT: u64 = 281;
}

pub use numbers::{EXECVE, EXECVEAT, SENDMSG, SENDTO, WRITE, WRITEV};

#[cfg(bpf_target_arch = "x86_64")]
impl Registers {
    /// Number of the system call that the registers are from.
    #[inline(always)]
    pub fn system_call(self) -> u64 {
        register!(self, orig_rax)
    }

    /// Its first arguments, also when it returns.
    #[inline(always)]
    pub fn system_call_arguments(self) -> [u64; 3] {
        [
            register!(self, rdi),
            register!(self, rsi),
            register!(self, rdx),
        ]
    }

    /// Argument of a C function, from 0 to 3.
    #[inline(always)]
    pub fn argument(self, n: usize) -> u64 {
        match n {
            0 => register!(self, rdi),
            1 => register!(self, rsi),
            2 => register!(self, rdx),
            _ => register!(self, rcx),
        }
    }

    /// Result of a C function.
    #[inline(always)]
    pub fn result(self) -> u64 {
        register!(self, rax)
    }

    /// The stack pointer as the caller has it, at the first instruction of a function.
    #[inline(always)]
    pub fn stack_at_entry(self) -> u64 {
        // Without the return address.
        register!(self, rsp).wrapping_add(8)
    }

    /// The same after the function returned.
    #[inline(always)]
    pub fn stack_at_return(self) -> u64 {
        register!(self, rsp)
    }

    /// Argument of a Go function, from 0 to 2: the receiver, and a slice's pointer and length.
    #[inline(always)]
    pub fn go_argument(self, n: usize) -> u64 {
        match n {
            0 => register!(self, rax),
            1 => register!(self, rbx),
            _ => register!(self, rcx),
        }
    }

    /// First result of a Go function.
    #[inline(always)]
    pub fn go_result(self) -> u64 {
        register!(self, rax)
    }

    /// The goroutine.
    #[inline(always)]
    pub fn goroutine(self) -> u64 {
        register!(self, r14)
    }
}

#[cfg(bpf_target_arch = "aarch64")]
impl Registers {
    /// Number of the system call that the registers are from: `syscallno`, behind `orig_x0` and what
    /// `struct user_pt_regs` has (`arch/arm64/include/asm/ptrace.h`).
    #[inline(always)]
    pub fn system_call(self) -> u64 {
        // SAFETY: the program's context, read volatile so that loads are not merged.
        u64::from(unsafe { core::ptr::read_volatile(self.0.add(1).cast::<u32>().add(2)) })
    }

    /// Its first arguments, also when it returns: its result is then in the register of the first one.
    #[inline(always)]
    pub fn system_call_arguments(self) -> [u64; 3] {
        // SAFETY: the program's context, read volatile so that loads are not merged.
        let first = unsafe { core::ptr::read_volatile(self.0.add(1).cast::<u64>()) };
        [first, self.x(1), self.x(2)]
    }

    /// Argument of a C function, from 0 to 3.
    #[inline(always)]
    pub fn argument(self, n: usize) -> u64 {
        match n {
            0 => self.x(0),
            1 => self.x(1),
            2 => self.x(2),
            _ => self.x(3),
        }
    }

    /// Result of a C function.
    #[inline(always)]
    pub fn result(self) -> u64 {
        self.x(0)
    }

    /// The stack pointer as the caller has it, at the first instruction of a function.
    #[inline(always)]
    pub fn stack_at_entry(self) -> u64 {
        register!(self, sp)
    }

    /// The same after the function returned.
    #[inline(always)]
    pub fn stack_at_return(self) -> u64 {
        register!(self, sp)
    }

    /// Argument of a Go function, from 0 to 2: the receiver, and a slice's pointer and length.
    #[inline(always)]
    pub fn go_argument(self, n: usize) -> u64 {
        self.argument(n)
    }

    /// First result of a Go function.
    #[inline(always)]
    pub fn go_result(self) -> u64 {
        self.x(0)
    }

    /// The goroutine.
    #[inline(always)]
    pub fn goroutine(self) -> u64 {
        self.x(28)
    }

    #[inline(always)]
    fn x(self, n: usize) -> u64 {
        // SAFETY: the program's context, read volatile so that loads are not merged.
        unsafe { core::ptr::read_volatile((&raw const (*self.0).regs).cast::<u64>().add(n)) }
    }
}
