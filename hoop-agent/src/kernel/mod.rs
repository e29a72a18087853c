//! What the daemon asks of the kernel.

pub mod netns;
pub mod sock_diag;
