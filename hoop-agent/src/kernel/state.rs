//! The shared [`State`], mapped so that each of its words changes in one store.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use hoop_common::{policy::Epoch, state::State};

/// The mapping.
pub struct StateMap {
    words: NonNull<[AtomicU64; size_of::<State>() / 8]>,
}

// SAFETY: the mapping is memory of the process, and only atomics are used on it.
unsafe impl Send for StateMap {}

const MAPPED: usize = 4096;

impl StateMap {
    /// Maps the `STATE` map.
    ///
    /// # Errors
    ///
    /// When mmap(2) fails.
    pub fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: a new mapping; nothing else is at its address.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                MAPPED,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast())
            .map(|words| Self { words })
            .ok_or_else(|| io::Error::other("mmap returned null"))
    }

    /// The epoch in force.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(
            self.word(std::mem::offset_of!(State, epoch))
                .load(Ordering::SeqCst),
        )
    }

    /// Puts an epoch in force.
    pub fn set_epoch(&self, epoch: Epoch) {
        self.word(std::mem::offset_of!(State, epoch))
            .store(epoch.0, Ordering::SeqCst);
    }

    /// Says at which levels there are workloads.
    pub fn set_levels(&self, levels: u64) {
        self.word(std::mem::offset_of!(State, levels))
            .store(levels, Ordering::SeqCst);
    }

    /// Lets one load of the process programs report, and silences every other.
    pub fn set_generation(&self, generation: u64) {
        self.word(std::mem::offset_of!(State, generation))
            .store(generation, Ordering::SeqCst);
    }

    /// Says whether the next event must wake the reader of the ring.
    pub fn set_sleeping(&self, sleeping: bool) {
        self.word(std::mem::offset_of!(State, sleeping))
            .store(sleeping.into(), Ordering::SeqCst);
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the mapping lives as long as `self`.
        let words = unsafe { self.words.as_ref() };
        &words[offset / 8]
    }
}

impl Drop for StateMap {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length.
        unsafe { libc::munmap(self.words.as_ptr().cast(), MAPPED) };
    }
}
