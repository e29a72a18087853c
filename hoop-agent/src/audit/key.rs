//! The key that signs checkpoints: a file in the state directory that only the daemon's user can read.
//!
//! To rotate it, remove the file, or put another in its place, and start the daemon again: it closes the log
//! that the old key signed and begins another.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use hoop_log::SigningKey;

/// Where the key of a state directory is.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("audit.key")
}

/// Reads the key, and makes one where there is none.
///
/// # Errors
///
/// When none can be made, others may read it, or the file holds something else. The key itself is in no message.
pub fn read_or_make(state_dir: &Path) -> Result<SigningKey> {
    let path = path(state_dir);
    let named = || format!("the key of the audit log, {}", path.display());
    if fs::symlink_metadata(&path).is_err() {
        make(&path).with_context(named)?;
    }
    SigningKey::load(&path).with_context(named)
}

fn make(path: &Path) -> Result<()> {
    let key = SigningKey::generate(&format!("hoop/{}", host()))?;
    // Whole or not at all: half a key would keep the daemon from starting.
    let new = path.with_extension("key.new");
    let _ = fs::remove_file(&new);
    key.save(&new)?;
    Ok(fs::rename(&new, path)?)
}

/// The node's name, of letters, digits, `.`, `-` and `_`.
#[must_use]
pub fn host() -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let host: String = host
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        .collect();
    if host.is_empty() {
        "node".to_owned()
    } else {
        host
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_nobody_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = read_or_make(dir.path()).expect("a key");
        let again = read_or_make(dir.path()).expect("the same");
        assert_eq!(key.verifier(), again.verifier());
        let mode = |mode| fs::set_permissions(path(dir.path()), fs::Permissions::from_mode(mode));
        assert_eq!(
            fs::metadata(path(dir.path())).expect("a file").mode() & 0o777,
            0o600
        );
        mode(0o640).expect("it is ours");
        let said = format!(
            "{:#}",
            read_or_make(dir.path()).expect_err("others may read it")
        );
        assert!(
            said.contains("audit.key") && !said.contains("PRIVATE"),
            "{said}"
        );
    }
}
