//! Tests that have a short form and a long one.

/// Whether the long form was asked for: `cargo xtask test --long`, which sets `$HOOP_LONG`.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os("HOOP_LONG").is_some()
}

/// One of two, by which form was asked for.
#[must_use]
pub fn either<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}
