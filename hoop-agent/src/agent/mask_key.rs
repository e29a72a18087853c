//! The key under which placeholders are made: a file that the operator holds. Who has it can tell
//! whether a placeholder stands for a value that he guesses; nobody reads the value from it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use hoop_mask::Key;

/// Bytes of a key, and of its name when it is made here.
const KEY_BYTES: usize = 32;
const NAME_BYTES: usize = 4;

/// Reads the key, and makes one where there is none. The file has one line: the key's name, a space, and
/// 64 hexadecimal digits. To rotate it, write another and have the daemon reload its policy.
///
/// # Errors
///
/// When others may read the file, or it holds something else. The key itself is in no message.
pub(super) fn read_or_make(path: &Path) -> Result<Key> {
    match File::open(path) {
        Ok(file) => read(file).with_context(|| format!("the key for masking, {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make(path).with_context(|| format!("no key for masking at {}", path.display()))
        }
        Err(error) => {
            Err(error).with_context(|| format!("the key for masking, {}", path.display()))
        }
    }
}

fn read(file: File) -> Result<Key> {
    let metadata = file.metadata()?;
    ensure!(
        metadata.mode() & 0o077 == 0,
        "others may read it: `chmod 600` it, and take another key"
    );
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text)?;
    let Some((name, digits)) = text.trim().split_once(' ') else {
        bail!("it is not a name, a space, and 64 hexadecimal digits");
    };
    let mut bytes = [0; KEY_BYTES];
    let digits = digits.trim();
    ensure!(
        digits.len() == 2 * KEY_BYTES && digits.is_ascii(),
        "the key is not 64 hexadecimal digits"
    );
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16)
            .map_err(|_| anyhow::anyhow!("the key is not 64 hexadecimal digits"))?;
    }
    Ok(Key::new(name, &bytes))
}

fn make(path: &Path) -> Result<Key> {
    let mut random = [0; KEY_BYTES + NAME_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let (name, key) = random.split_at(NAME_BYTES);
    let name = hex(name);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{name} {}", hex(key))?;
    file.sync_all()?;
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(key);
    Ok(Key::new(name, &bytes))
}
