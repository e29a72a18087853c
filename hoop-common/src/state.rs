//! State that the daemon and the kernel programs keep together.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What changes for all workloads at once. The daemon stores each word whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State {
    /// The epoch in force, see [`crate::policy::Epoch`].
    pub epoch: u64,
    /// Bit `n` is set if a workload's cgroup is at level `n`. 0: there is no workload.
    pub levels: u64,
    /// The load of the process programs that reports. While one daemon takes over from another
    /// two loads are attached, and only the one whose number stands here acts.
    pub generation: u64,
    /// 1 while the daemon waits to be woken by the next event. Otherwise it looks into the ring by
    /// itself every few milliseconds, and events cost no interrupt.
    pub sleeping: u64,
    /// Processes that were [condemned](Standing::Condemned) so far. The daemon looks for them when
    /// it sees the number change, whether or not there was room for their events.
    pub condemned: u64,
}

/// A process of a workload, by tgid.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessEntry {
    /// Cgroup id of the workload that the process belongs to.
    pub workload: u64,
    /// Start of the process in clock ticks of 10 ms, the resolution that the daemon has when it
    /// enters processes that were there first. Tells an entry from one of a reused pid.
    pub start_ticks: u64,
    /// A [`Standing`] as a number.
    pub standing: u64,
    /// 1 once the escape that the process is on is in a record, or is that of an ancestor. Apart from
    /// `standing`, since a process may be condemned before the kernel announces how it was moved.
    pub recorded: u64,
}

/// Where a process is, as seen from its workload.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In the workload's cgroup, or below it.
    Inside = 0,
    /// In another cgroup. What it does is still the workload's.
    Outside = 1,
    /// To be ended, because it left a workload whose policy enforces, or moved another process out
    /// of it. Coming back does not help.
    Condemned = 2,
}

const _: () = {
    assert!(size_of::<State>() == 40);
    assert!(size_of::<ProcessEntry>() == 32);
};
