//! How far a sink is, on disk.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The file of one sink's cursor: the number of the last record that is done with, in decimal.
#[derive(Clone, Debug)]
pub(crate) struct CursorFile {
    path: PathBuf,
    temporary: PathBuf,
}

impl CursorFile {
    /// The cursor of the sink of that name.
    pub(crate) fn new(directory: &Path, sink: &str) -> Self {
        Self {
            path: directory.join(sink),
            // No sink's name has a dot.
            temporary: directory.join(format!("{sink}.new")),
        }
    }

    /// What is stored; `None` if there is nothing.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, and with `InvalidData` if it holds no number, as a power cut can
    /// leave it: it is never synced, since to deliver twice is allowed.
    pub(crate) fn read(&self) -> io::Result<Option<u64>> {
        let text = match fs::read_to_string(&self.path) {
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let number = text.strip_suffix('\n').and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| {
            io::Error::new(
                ErrorKind::InvalidData,
                format!("{} holds no number", self.path.display()),
            )
        })
    }

    /// Stores `number`, whole or not at all.
    pub(crate) fn write(&self, number: u64) -> io::Result<()> {
        let mut file = fs::File::create(&self.temporary)?;
        writeln!(file, "{number}")?;
        fs::rename(&self.temporary, &self.path)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_broken_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let cursor = CursorFile::new(directory.path(), "soc");
        assert_eq!(cursor.read().unwrap(), None);
        for number in [0, 7, u64::MAX] {
            cursor.write(number).unwrap();
            assert_eq!(cursor.read().unwrap(), Some(number));
        }
        // The last lacks its newline: more digits may have been meant.
        for broken in ["", "\n", "x\n", "12"] {
            fs::write(directory.path().join("soc"), broken).unwrap();
            assert_eq!(cursor.read().unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
