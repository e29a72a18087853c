//! The shared [`State`], mapped so that each of its words changes in one store.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::atomic::{AtomicU64, Ordering},
};

use hoop_common::{policy::Epoch, state::State};

use super::mapped::Mapped;

/// The mapping.
pub struct StateMap(Mapped);

impl StateMap {
    /// Maps the `STATE` map.
    ///
    /// # Errors
    ///
    /// When mmap(2) fails.
    pub fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        Mapped::new(map, size_of::<State>()).map(Self)
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

    /// How many processes were condemned so far.
    #[must_use]
    pub fn condemned(&self) -> u64 {
        self.word(std::mem::offset_of!(State, condemned))
            .load(Ordering::SeqCst)
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        &self.0.words()[offset / 8]
    }
}
