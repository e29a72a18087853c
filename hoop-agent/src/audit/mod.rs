//! The audit log: records get their numbers, are kept on disk and are shown to followers.

pub mod follow;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod log;
