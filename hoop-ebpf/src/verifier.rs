//! What the kernel's verifier is to know of a value, and what not.

/// A number that lives in memory, so that the verifier forgets what it knew of it. Otherwise it
/// follows every way out of a loop with every value separately, and gives up.
#[repr(transparent)]
pub struct Forgotten<T>(T);

impl<T: Copy> Forgotten<T> {
    #[inline(always)]
    pub fn set(&mut self, value: T) {
        // SAFETY: an exclusive reference.
        unsafe { core::ptr::write_volatile(&raw mut self.0, value) };
    }

    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: a reference.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }
}

/// Hides a value from the optimiser, so that a bound which it could prove stays in the program
/// for the verifier to see. A move onto itself: an empty statement would leave two line records
/// at one instruction, which the kernel refuses.
#[inline(always)]
pub fn opaque(value: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: changes nothing.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags));
    };
    value as u32
}

/// The smaller of `value` and `MAX`, compared in the very register that is used from here on: of a
/// copy, the verifier of Linux 6.1 would not learn the bound.
#[inline(always)]
pub fn at_most<const MAX: u32>(value: u32) -> u32 {
    let mut value = u64::from(value);
    // SAFETY: changes one register.
    unsafe {
        core::arch::asm!(
            "if {0} <= {max} goto +1",
            "{0} = {max}",
            inout(reg) value,
            max = const MAX,
            options(nomem, nostack),
        );
    };
    value as u32
}
