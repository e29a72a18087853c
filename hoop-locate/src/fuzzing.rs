//! What holds of every file, for the fuzzer and for property tests.

use crate::{Kind, Options, locate};

/// The most probes that any file gives: every function as often as it may be probed.
const MAX_PROBES: usize = 1024;

/// Looks at a file and checks the answer.
///
/// # Panics
///
/// The answer breaks a promise of [`locate`].
pub fn check(file: &[u8]) {
    for returns in [false, true] {
        let Ok(located) = locate(file, Options { returns }) else {
            continue;
        };
        let within = |offset: u64| offset < file.len() as u64;
        for library in &located.libraries {
            assert!(!library.probes.is_empty());
            assert!(library.probes.len() <= MAX_PROBES);
            for probe in &library.probes {
                assert!(within(probe.entry));
                assert!(probe.returns.iter().all(|offset| within(*offset)));
                assert!(probe.returns.is_sorted_by(|a, b| a < b));
                assert!(library.kind != Kind::Go || !probe.returns.is_empty());
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::check;
    use proptest::prelude::*;

    /// This test itself: it has sections, symbols and names of Rust.
    fn own() -> Vec<u8> {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        // The first pages and the last: headers, and the tables of sections and symbols.
        file
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            check(&bytes);
        }

        #[test]
        fn any_bytes_behind_a_header(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut file = own()[..64].to_vec();
            file.extend(bytes);
            check(&file);
        }
    }
}
