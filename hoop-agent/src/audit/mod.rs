//! The audit log: records get their numbers, are kept on disk and are shown to followers.

pub mod follow;
pub mod log;
