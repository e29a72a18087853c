//! Files that compilers make, and what is found in them. Where functions are is known by other means:
//! by their bytes, by binutils, or by the same file before it was stripped.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod boringssl;
mod c_libraries;
mod go;
mod rustls;
mod support;
