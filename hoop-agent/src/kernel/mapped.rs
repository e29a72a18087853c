//! Array maps in the daemon's own memory.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64},
};

use hoop_common::limits::MAX_MATCHER_CELLS;

/// An array map made with `BPF_F_MMAPABLE`, mapped.
pub struct Mapped {
    address: NonNull<libc::c_void>,
    len: usize,
}

// SAFETY: the mapping is memory of the process, and only atomics are used on it.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Maps the first `len` bytes of the values, which is rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// When mmap(2) fails, for instance because the values are shorter.
    pub fn new(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping; nothing else is at its address.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address)
            .map(|address| Self { address, len })
            .ok_or_else(|| io::Error::other("mmap returned null"))
    }

    /// The values as words of 64 bits.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has this length, is aligned to a page, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr().cast(), self.len / 8) }
    }

    /// The values as words of 32 bits.
    #[must_use]
    pub fn half_words(&self) -> &[AtomicU32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr().cast(), self.len / 4) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length.
        unsafe { libc::munmap(self.address.as_ptr(), self.len) };
    }
}

/// The map `MATCHER`: the automata of both banks.
pub struct MatcherMap(Mapped);

impl MatcherMap {
    /// Maps it.
    ///
    /// # Errors
    ///
    /// When mmap(2) fails.
    pub fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        Mapped::new(map, 2 * 4 * MAX_MATCHER_CELLS as usize).map(Self)
    }

    /// Writes the automata of a bank that no program reads.
    pub fn fill(&self, bank: u32, cells: &[u32]) {
        let first = (bank * MAX_MATCHER_CELLS) as usize;
        let bank = &self.0.half_words()[first..][..MAX_MATCHER_CELLS as usize];
        for (to, from) in bank.iter().zip(cells) {
            to.store(*from, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
