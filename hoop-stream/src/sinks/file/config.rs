use std::path::PathBuf;

use serde::Deserialize;

use crate::config::{FieldError, Format};

/// A file sink: `{ kind: file, path, format, rotate: { bytes, keep } }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Config {
    /// The file, made with mode 0600 where it is missing. Its directory must exist.
    pub path: PathBuf,
    /// How records are written, one a line.
    pub format: Format,
    /// When another file is begun.
    pub rotate: Rotation,
}

/// When another file is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// The file is renamed before it would grow beyond so many bytes, at least 64 KiB. A batch is never divided.
    pub bytes: u64,
    /// So many files are kept beside it, 1 to 1000: `PATH.1` is the newest.
    pub keep: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            bytes: 100 << 20,
            keep: 5,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    path: PathBuf,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    rotate: Rotation,
}

impl TryFrom<Fields> for Config {
    type Error = FieldError;

    fn try_from(fields: Fields) -> Result<Self, FieldError> {
        let Fields {
            path,
            format,
            rotate,
        } = fields;
        if !path.is_absolute() || path.file_name().is_none() {
            return Err(FieldError::new(
                "path",
                "is not the absolute path of a file",
            ));
        }
        if rotate.bytes < 64 << 10 {
            return Err(FieldError::new("rotate.bytes", "is less than 65536"));
        }
        if !(1..=1000).contains(&rotate.keep) {
            return Err(FieldError::new("rotate.keep", "is not 1 to 1000"));
        }
        Ok(Self {
            path,
            format,
            rotate,
        })
    }
}
