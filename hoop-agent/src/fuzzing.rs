//! What fuzzers drive: one function per decoder of the kernel's bytes and per parser of files.
//!
//! Each says what holds whatever the bytes are, and panics where it does not. `fuzz/` makes a
//! cargo-fuzz target of each; the test here runs them over the seeds that are kept there.

pub use crate::agent::fuzzing::state;
pub use crate::audit::fuzzing::log;
pub use crate::kernel::fuzzing::{btf, netlink};
pub use crate::pipeline::fuzzing::events;
pub use crate::policy::fuzzing::{field, pattern, policy, tables};
pub use crate::workload::fuzzing::proc;

/// What a fuzzer calls with the bytes that it made.
pub type Target = fn(&[u8]);

/// Every target by the name that it has in `fuzz/`.
pub const TARGETS: [(&str, Target); 10] = [
    ("btf", btf),
    ("events", events),
    ("field", field),
    ("log", log),
    ("netlink", netlink),
    ("pattern", pattern),
    ("policy", policy),
    ("proc", proc),
    ("state", state),
    ("tables", tables),
];

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
