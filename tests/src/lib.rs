//! Helpers for tests that go through the real kernel, one test file per guarantee.
//!
//! A test makes a [`lab::Lab`] (two network namespaces, a cgroup subtree, a BPF file system of its
//! own), starts a [`daemon::Daemon`] in it, puts a [`prober::Prober`] into a
//! [`lab::Workload`], tells it to reach something by one of many [`probe::Route`]s, and asks
//! the [`far::Far`] side what arrived. Helpers panic where a test cannot go on; on the way out the
//! daemon's last words are printed and everything is removed.

pub mod attempt;
pub mod bpf;
pub mod cgroup;
pub mod daemon;
pub mod descriptor;
pub mod disk;
pub mod far;
pub mod guest;
pub mod lab;
pub mod long;
pub mod namespace;
pub mod packet;
pub mod probe;
pub mod prober;
pub mod random;
pub mod server;
pub mod tls;
pub mod wait;
