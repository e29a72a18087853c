//! Secrets are in files, never in the configuration.

use std::io;
use std::ops::Deref;
use std::path::PathBuf;
use std::{fmt, fs};

use serde::Deserialize;

/// So long a token may be, in bytes.
const LONGEST: u64 = 64 << 10;

/// The file of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretFile(pub PathBuf);

/// A secret. It is not to be seen in a log.
pub(crate) struct Secret(String);

impl SecretFile {
    /// The secret, without the space around it.
    pub(crate) async fn read(&self) -> io::Result<Secret> {
        let file = self.clone();
        let read = tokio::task::spawn_blocking(move || file.read_now());
        read.await.map_err(io::Error::other).flatten()
    }

    /// As [`Self::read`], on this thread.
    pub(crate) fn read_now(&self) -> io::Result<Secret> {
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.0.display()))
        };
        if fs::metadata(&self.0).map_err(told)?.len() > LONGEST {
            return Err(told(io::Error::other("is too long for a secret")));
        }
        let text = fs::read_to_string(&self.0).map_err(told)?;
        let text = text.trim();
        if text.is_empty() {
            return Err(told(io::Error::other("is empty")));
        }
        Ok(Secret(text.to_owned()))
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
