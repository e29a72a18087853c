//! What the benches of this package share: the peer's rules, and scores.

pub mod peer;
pub mod score;
