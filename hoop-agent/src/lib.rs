//! Hoop's daemon and command line, as a library so that tests and benchmarks can reach its parts.

mod eintr;
pub mod kernel;
pub mod policy;
pub mod workload;
