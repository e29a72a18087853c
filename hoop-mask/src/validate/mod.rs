//! Pure checks of formats: each takes the bytes as found, separators included.

/// A check of one format.
pub type Check = fn(&[u8]) -> bool;

/// Every check by the name that a policy gives it.
pub const ALL: &[(&str, Check)] = &[];
