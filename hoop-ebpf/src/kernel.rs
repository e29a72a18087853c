//! The only reads of kernel structs. Offsets come from the kernel's BTF by way of the daemon.

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task, bpf_probe_read_kernel},
    },
};
use hoop_common::event::{Offsets, ProcessKey};

/// Set by the daemon before it loads the programs.
#[unsafe(no_mangle)]
static OFFSETS: Global<Offsets> = Global::new(Offsets::ZERO);

/// Reads one offset. The daemon refuses to load without it, so 0 never gets here by accident.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::read_offset(core::mem::offset_of!(hoop_common::event::Offsets, $field))
    };
}
pub(crate) use offset;

/// Reads the offset at `position` bytes into [`OFFSETS`]. Volatile, and one field at a time: the
/// verifier knows each as a constant.
#[inline(always)]
pub fn read_offset(position: usize) -> usize {
    let base = core::ptr::from_ref(&OFFSETS).cast::<u8>();
    // SAFETY: `position` comes from `offset_of!` on the same type.
    unsafe { core::ptr::read_volatile(base.add(position).cast::<u32>()) as usize }
}

/// A pointer to a kernel struct, known only by its address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KernelPtr(pub u64);

impl KernelPtr {
    /// The struct at `offset` inside this one.
    #[inline(always)]
    pub fn at(self, offset: usize) -> Self {
        Self(self.0.wrapping_add(offset as u64))
    }

    /// Reads a value; `None` if the memory cannot be read.
    #[inline(always)]
    pub fn read<T: Copy>(self) -> Option<T> {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        // SAFETY: the helper checks the source and writes exactly `size_of::<T>()` bytes.
        let result = unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                self.0 as *const _,
            )
        };
        if result == 0 {
            // SAFETY: written above; `T` is a plain integer at every call.
            Some(unsafe { value.assume_init() })
        } else {
            None
        }
    }

    /// Reads a number; 0 if the memory cannot be read, as the helper then leaves it. No branch, so
    /// the verifier has no second path to follow.
    #[inline(always)]
    pub fn read_or_zero<T: Copy + From<u8>>(self) -> T {
        let mut value = T::from(0);
        // SAFETY: the helper checks the source and writes exactly `size_of::<T>()` bytes.
        unsafe {
            bpf_probe_read_kernel(
                (&raw mut value).cast(),
                size_of::<T>() as u32,
                self.0 as *const _,
            );
        }
        value
    }

    /// Follows the pointer at `offset`, to the address 0 if that fails: nothing can be read there,
    /// nor within a struct's size of it.
    #[inline(always)]
    pub fn follow_or_zero(self, offset: usize) -> Self {
        Self(self.at(offset).read_or_zero())
    }

    /// Follows the pointer at `offset`; `None` if it cannot be read or is null.
    #[inline(always)]
    pub fn follow(self, offset: usize) -> Option<Self> {
        match self.at(offset).read::<u64>() {
            Some(0) | None => None,
            Some(address) => Some(Self(address)),
        }
    }
}

/// A process as events name it.
#[derive(Clone, Copy)]
pub struct Process {
    pub start_ns: u64,
    pub tgid: u32,
    pub tid: u32,
}

impl Process {
    /// For events of which the kernel cannot say which process caused them.
    pub const UNKNOWN: Self = Self {
        start_ns: 0,
        tgid: 0,
        tid: 0,
    };

    /// The process that runs now.
    #[inline(always)]
    pub fn current() -> Self {
        let pid_tgid = bpf_get_current_pid_tgid();
        Self {
            start_ns: current_task().start_ns(),
            tgid: (pid_tgid >> 32) as u32,
            tid: pid_tgid as u32,
        }
    }

    /// The process key.
    #[inline(always)]
    pub fn key(self) -> ProcessKey {
        ProcessKey {
            start_ns: self.start_ns,
            tgid: self.tgid,
            reserved: 0,
        }
    }

    /// Start in clock ticks of 10 ms, as in `/proc/PID/stat`.
    #[inline(always)]
    pub fn start_ticks(self) -> u64 {
        self.start_ns / 10_000_000
    }
}

/// A `task_struct`.
#[derive(Clone, Copy)]
pub struct Task(pub KernelPtr);

/// The task that runs now.
#[inline(always)]
pub fn current_task() -> Task {
    // SAFETY: the helper takes no pointers.
    Task(KernelPtr(unsafe { bpf_get_current_task() }))
}

impl Task {
    /// The task's process.
    #[inline(always)]
    pub fn process(self) -> Process {
        Process {
            start_ns: self.start_ns(),
            tgid: self.0.at(offset!(task_struct_tgid)).read_or_zero(),
            tid: self.0.at(offset!(task_struct_pid)).read_or_zero(),
        }
    }

    /// Start of the process: of the leader, since other threads start later.
    #[inline(always)]
    pub fn start_ns(self) -> u64 {
        self.leader()
            .at(offset!(task_struct_start_boottime))
            .read_or_zero()
    }

    /// The parent as wait(2) sees it.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        self.0.follow(offset!(task_struct_real_parent)).map(Self)
    }

    /// Address of the `css_set`: tasks with the same one are in the same cgroups.
    #[inline(always)]
    pub fn css_set(self) -> Option<KernelPtr> {
        self.0.follow(offset!(task_struct_cgroups))
    }

    /// The cgroup v2 cgroup.
    #[inline(always)]
    pub fn cgroup(self) -> Option<Cgroup> {
        self.css_set()?
            .follow(offset!(css_set_dfl_cgrp))
            .map(Cgroup)
    }

    /// Whether this was the last thread of its process to end (`signal_struct.live`).
    #[inline(always)]
    pub fn is_last_thread(self) -> bool {
        match self.0.follow(offset!(task_struct_signal)) {
            Some(signal) => signal.at(offset!(signal_struct_live)).read::<i32>() == Some(0),
            None => false,
        }
    }

    /// The status that the parent will get from wait(2).
    #[inline(always)]
    pub fn exit_status(self) -> u32 {
        self.leader()
            .at(offset!(task_struct_exit_code))
            .read_or_zero()
    }

    #[inline(always)]
    fn leader(self) -> KernelPtr {
        self.0.follow_or_zero(offset!(task_struct_group_leader))
    }
}

/// A `cgroup` of the v2 hierarchy.
#[derive(Clone, Copy)]
pub struct Cgroup(pub KernelPtr);

impl Cgroup {
    /// Its id: the inode number of its directory.
    #[inline(always)]
    pub fn id(self) -> u64 {
        self.0
            .follow_or_zero(offset!(cgroup_kn))
            .at(offset!(kernfs_node_id))
            .read_or_zero()
    }

    /// Id of its ancestor at `level`, itself included; 0 if it is not that deep.
    #[inline(always)]
    pub fn ancestor_id(self, level: u32) -> u64 {
        let own_level: u32 = self.0.at(offset!(cgroup_level)).read_or_zero();
        if level > own_level {
            return 0;
        }
        let slot = level as usize * size_of::<u64>();
        if offset!(cgroup_ancestors) != 0 {
            Self(self.0.follow_or_zero(offset!(cgroup_ancestors) + slot)).id()
        } else {
            self.0
                .at(offset!(cgroup_ancestor_ids) + slot)
                .read_or_zero()
        }
    }
}
