//! Workloads: the cgroup tree, which cgroups are tagged, and the processes in them.

pub mod cgroup;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod path;
pub mod procfs;
pub mod selector;
mod walk;
pub mod watch;
