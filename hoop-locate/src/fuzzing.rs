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
    use crate::{Kind, Options, locate};
    use proptest::prelude::*;
    use std::process::Command;
    use std::time::{Duration, Instant};

    /// A small file with something of every kind in it.
    fn small() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("small");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/small.s");
        let gcc = Command::new("gcc")
            .args(["-static", "-nostdlib", "-o"])
            .arg(&made)
            .arg(source)
            .status();
        assert!(gcc.unwrap().success());
        std::fs::read(made).unwrap()
    }

    #[test]
    fn something_of_every_kind_is_in_the_file_that_is_damaged() {
        let located = locate(&small(), Options { returns: true }).unwrap();
        let kinds: Vec<_> = located
            .libraries
            .iter()
            .map(|library| library.kind)
            .collect();
        assert_eq!(
            kinds,
            [Kind::OpenSsl, Kind::BoringSsl, Kind::GnuTls, Kind::Go]
        );
    }

    #[test]
    fn a_file_that_is_cut_anywhere() {
        let file = small();
        for end in (0..file.len()).step_by(7) {
            check(&file[..end]);
        }
    }

    #[test]
    fn sections_that_all_stand_for_the_whole_file_cost_no_more_than_one() {
        // 4000 sections over 16 MiB: 64 GiB to look through, if each were.
        const SECTIONS: usize = 4000;
        let mut file = small();
        file.resize(16 << 20, 0);
        let table = file.len() as u64;
        let mut section = [0_u8; 64];
        section[4] = 1; // SHT_PROGBITS
        section[8] = 2; // SHF_ALLOC
        section[32..40].copy_from_slice(&table.to_le_bytes());
        file.extend(section.repeat(SECTIONS));
        file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        file[0x3c..0x3e].copy_from_slice(&u16::try_from(SECTIONS).unwrap().to_le_bytes());
        file[0x3e..0x40].fill(0);
        let began = Instant::now();
        check(&file);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_behind_a_header(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut file = SMALL.with(|small| small[..64].to_vec());
            file.extend(bytes);
            check(&file);
        }

        #[test]
        fn any_damage(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..32)
        ) {
            let mut file = SMALL.with(Clone::clone);
            for (at, byte) in damage {
                let at = at.index(file.len());
                file[at] = byte;
            }
            check(&file);
        }
    }

    thread_local! {
        static SMALL: Vec<u8> = small();
    }
}
