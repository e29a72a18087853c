//! Finds secrets and personal data in bytes and masks them.

mod rule;
mod validate;

pub use rule::{Action, Rule, Validator};
