//! Events on their way to user space: numbered first, then written if there is room.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
        generated::{bpf_ringbuf_output, bpf_ringbuf_query},
    },
};
use hoop_common::{
    event::{EventKind, Header, LossCause},
    limits::CONTROL_RING_RESERVED_FROM,
};

use crate::{
    kernel::Process,
    maps::{EVENTS, LOST, NUMBERED, STATE},
};

/// Whether an event may use the part of the ring that is kept for denials.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    Normal,
    Denial,
}

/// Numbers an event and makes its header. From here on the event is either written by [`send`] or
/// counted as lost by it.
#[inline(always)]
pub fn header<T>(kind: EventKind, workload: u64, process: Process) -> Header {
    let sequence = match NUMBERED.get_ptr_mut(0) {
        Some(counter) => fetch_add(counter, 1).wrapping_add(1),
        None => 0,
    };
    Header {
        sequence,
        // SAFETY: the helper takes no pointers.
        boot_ns: unsafe { bpf_ktime_get_boot_ns() },
        workload,
        start_ns: process.start_ns,
        tgid: process.tgid,
        tid: process.tid,
        kind: kind as u16,
        // SAFETY: the helper takes no pointers.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        size: size_of::<T>() as u32,
    }
}

/// Writes an event of fixed size.
#[inline(always)]
pub fn send<T>(event: &T, priority: Priority) {
    send_bytes(
        core::ptr::from_ref(event).cast(),
        size_of::<T>() as u64,
        priority,
    );
}

/// Writes the `len` bytes of an event that start at `event`.
#[inline(always)]
pub fn send_bytes(event: *const u8, len: u64, priority: Priority) {
    let ring = (&raw const EVENTS).cast_mut().cast::<c_void>();
    if priority == Priority::Normal {
        // SAFETY: `ring` is a ring buffer map.
        let waiting = unsafe { bpf_ringbuf_query(ring, u64::from(BPF_RB_AVAIL_DATA)) };
        if waiting > CONTROL_RING_RESERVED_FROM {
            lose(LossCause::ReservedForDenials);
            return;
        }
    }
    // SAFETY: `event` points to `len` readable bytes, which the verifier checks.
    let written =
        unsafe { bpf_ringbuf_output(ring, event.cast_mut().cast::<c_void>(), len, wake_flags()) };
    if written < 0 {
        lose(LossCause::RingFull);
    }
}

#[inline(always)]
fn wake_flags() -> u64 {
    let sleeping = match STATE.get(0) {
        // SAFETY: a map value. Volatile: the daemon changes it at any time.
        Some(state) => unsafe { core::ptr::read_volatile(&raw const state.sleeping) != 0 },
        None => true,
    };
    u64::from(if sleeping {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    })
}

#[inline(always)]
fn lose(cause: LossCause) {
    if let Some(counter) = LOST.get_ptr_mut(cause as u32) {
        fetch_add(counter, 1);
    }
}

/// Stores a word and returns what was there before, in one step.
#[inline(always)]
pub fn exchange(word: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: `word` points to a map value, which the verifier checks.
    unsafe {
        asm!(
            "{value} = xchg_64({word} + 0, {value})",
            word = in(reg) word,
            value = inout(reg) value,
            options(nostack),
        );
    }
    value
}

/// Adds and returns what was there before, in one step: a soft interrupt on this CPU may number
/// an event between the load and the store of another. `core`'s atomics are not to be had on this
/// target.
#[inline(always)]
pub fn fetch_add(counter: *mut u64, addend: u64) -> u64 {
    let mut value = addend;
    // SAFETY: `counter` points to a map value, which the verifier checks.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({counter} + 0), {value})",
            counter = in(reg) counter,
            value = inout(reg) value,
            options(nostack),
        );
    }
    value
}
