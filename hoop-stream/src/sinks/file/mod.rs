//! Lines of JSON in a file that is rotated by its size.

mod config;
mod sink;

pub use config::{Config, Rotation};

pub(crate) use sink::sink;
