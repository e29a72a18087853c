//! Everything that crosses the boundary between the kernel programs and the daemon: the layout of
//! events, the layout of compiled policy and the search over it, and the limits both sides share.
//!
//! Knows neither aya nor the agent. Every struct here is laid out in explicit integers without
//! hidden padding; sizes are asserted at compile time.

#![no_std]

pub mod event;
pub mod exec;
pub mod limits;
pub mod matcher;
pub mod payload;
pub mod policy;
pub mod state;
pub mod unix_path;
