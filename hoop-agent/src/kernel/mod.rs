//! What touches the kernel: type information, loading, pins, and netlink.

mod attach;
pub mod btf;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod hooks;
mod kfunc;
pub mod load;
pub mod mapped;
pub mod netns;
pub mod offsets;
pub mod perf;
pub mod pins;
pub mod probe;
pub mod sock_diag;
pub mod state;
mod sys;
mod tracefs;
