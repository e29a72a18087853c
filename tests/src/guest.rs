//! Tests that only a guest of `cargo xtask vm` can stand.

/// Whether this machine is such a guest: its first process is `vm-init`.
#[must_use]
pub fn is_guest() -> bool {
    std::fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "vm-init")
}
