//! Hoop's daemon and command line, as a library so that tests and benchmarks can reach its parts.

pub mod agent;
pub mod audit;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
mod confine;
pub mod control;
mod diagnostic;
mod eintr;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod kernel;
pub mod pipeline;
pub mod policy;
pub mod workload;
mod yaml;
