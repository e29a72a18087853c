//! What fuzzers drive: one function per decoder of the kernel's bytes and per parser of files.
//!
//! Each says what holds whatever the bytes are, and panics where it does not. `fuzz/` makes a
//! cargo-fuzz target of each; the test here runs them over the seeds that are kept there.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use hoop_mask::{Config, Key, Masker, Rule};

pub use crate::agent::fuzzing::{key_file, state};
pub use crate::kernel::fuzzing::{btf, netlink};
pub use crate::pipeline::fuzzing::events;
pub use crate::pipeline::payload::fuzzing::payload;
pub use crate::policy::fuzzing::{field, gitleaks, pattern, policy, tables};
pub use crate::workload::fuzzing::proc;
pub use hoop_locate::fuzzing::check as locate;
pub use hoop_protocols::fuzz as connection;
pub use hoop_protocols::genai::fuzz as genai;
pub use hoop_protocols::mcp::fuzz as mcp;

/// What a fuzzer calls with the bytes that it made.
pub type Target = fn(&[u8]);

/// Every target by the name that it has in `fuzz/`.
pub const TARGETS: [(&str, Target); 19] = [
    ("btf", btf),
    ("config", config),
    ("connection", connection),
    ("events", events),
    ("field", field),
    ("genai", genai),
    ("gitleaks", gitleaks),
    ("key_file", key_file),
    ("locate", locate),
    ("log", log),
    ("mask", mask),
    ("mcp", mcp),
    ("netlink", netlink),
    ("pattern", pattern),
    ("payload", payload),
    ("policy", policy),
    ("proc", proc),
    ("state", state),
    ("tables", tables),
];

/// A segment of the audit log, as it is written or sealed, a checkpoint or a proof, or a key.
///
/// Holds: no panic, bounded memory; what is read and written again is the same.
pub fn log(data: &[u8]) {
    hoop_log::fuzzing::segment(data);
    hoop_log::fuzzing::sealed(data);
    hoop_log::fuzzing::note(data);
    hoop_log::fuzzing::key(data);
}

/// The configuration file.
///
/// Holds: no panic; what is wrong has a place in the file.
pub fn config(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Err(problems) = crate::config::file::parse(Path::new("config.yaml"), text)
    {
        assert!(problems.as_slice().iter().all(|it| it.position.is_some()));
    }
}

/// A text to mask, behind a byte that says how it is cut.
///
/// Holds: no panic; the output is the same however the text is cut.
pub fn mask(data: &[u8]) {
    static MASKER: LazyLock<Arc<Masker>> = LazyLock::new(|| {
        let rule = |name: &str, pattern: &str| Rule {
            name: name.to_owned(),
            class: "OWN".to_owned(),
            pattern: pattern.to_owned(),
            ..Rule::default()
        };
        let config = Config {
            rules: vec![
                rule("badge", r"\bEMP-(\d{5})\b"),
                Rule {
                    keywords: vec!["ticket".to_owned()],
                    fields: vec!["*.id".to_owned()],
                    ..rule("ticket", "[a-f]{4}[0-9]{4,}")
                },
            ],
            ..Config::default()
        };
        let masker = Masker::new(&config, Key::new("fuzz", &[0; 32]));
        Arc::new(masker.expect("the rules are right"))
    });
    hoop_mask::fuzz(&MASKER, data);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::TARGETS;

    /// Inputs that once failed are among them.
    #[test]
    fn every_seed_is_taken() -> anyhow::Result<()> {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        for (name, target) in TARGETS {
            target(b"");
            let seeds = fuzz.join("seeds").join(name);
            let mut count = 0;
            for seed in fs::read_dir(&seeds)? {
                target(&fs::read(seed?.path())?);
                count += 1;
            }
            assert!(count > 0, "{name} has no seeds");
            assert!(fuzz.join("targets").join(format!("{name}.rs")).is_file());
        }
        Ok(())
    }
}
