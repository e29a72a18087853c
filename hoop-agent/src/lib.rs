//! Hoop's daemon and command line, as a library so that tests and benchmarks can reach its parts.

pub mod audit;
pub mod clock;
pub mod pipeline;
pub mod policy;
pub mod proto;
