//! Finds secrets and personal data in bytes and masks them.

pub mod gitleaks;
mod rule;
mod validate;

pub use rule::{Action, Rule, Validator};
