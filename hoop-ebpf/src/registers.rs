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

#[cfg(bpf_target_arch = "x86_64")]
impl Registers {
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
