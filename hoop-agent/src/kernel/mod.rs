//! What touches the kernel: type information, loading, pins, and netlink.

pub mod btf;
pub mod load;
pub mod offsets;
pub mod pins;
pub mod state;
mod sys;
