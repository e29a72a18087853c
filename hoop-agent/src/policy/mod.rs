//! Policy: from the file to the tables that the kernel searches.
//!
//! `load` reads and checks files, [`compile::compile`] turns policies into tables, and
//! [`explain::explain`] answers for one destination without them. Apart from reading files,
//! everything here but [`install`] is pure.

pub mod book;
pub mod compile;
mod dead;
pub mod exec;
pub mod explain;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod install;
mod load;
pub mod model;
pub mod needs;
pub mod show;
mod source;
mod sweep;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use crate::diagnostic::{Diagnostic, Diagnostics, Position};
pub use load::load;
