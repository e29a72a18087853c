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

/// Most bytes that are read of a file.
const MAX_FILE_BYTES: u64 = 4096;

/// Reads the key. The file has one line: the key's name, a space, and 64 hexadecimal digits. To rotate
/// it, write another and have the daemon reload its policy.
///
/// # Errors
///
/// When there is no such file, others may read it, or it holds something else. The key itself is in no
/// message.
pub(crate) fn read(path: &Path) -> Result<Key> {
    let named = || format!("the key for masking, {}", path.display());
    File::open(path)
        .map_err(anyhow::Error::from)
        .and_then(read_file)
        .with_context(named)
}

/// Reads the key, and makes one where there is none.
///
/// # Errors
///
/// As [`read`], or when none can be made.
pub(crate) fn read_or_make(path: &Path) -> Result<Key> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make(path).with_context(|| format!("no key for masking at {}", path.display()))
        }
        _ => read(path),
    }
}

/// A key that nobody else has, and that is gone with this process.
///
/// # Errors
///
/// When the kernel gives no random bytes.
pub(crate) fn random() -> Result<Key> {
    let (name, bytes) = random_bytes()?;
    Ok(Key::new(hex(&name), &bytes))
}

/// Reads what a key file holds.
///
/// # Errors
///
/// When it is something else.
pub(crate) fn parse(text: &str) -> Result<Key> {
    let Some((name, digits)) = text.trim().split_once(' ') else {
        bail!("it is not a name, a space, and 64 hexadecimal digits");
    };
    let digits = digits.trim();
    ensure!(
        digits.len() == 2 * KEY_BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "the key is not 64 hexadecimal digits"
    );
    let mut bytes = [0; KEY_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..][..2], 16)?;
    }
    Ok(Key::new(name, &bytes))
}

fn read_file(file: File) -> Result<Key> {
    let metadata = file.metadata()?;
    ensure!(
        metadata.mode() & 0o077 == 0,
        "others may read it: `chmod 600` it, and take another key"
    );
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    parse(&text)
}

fn make(path: &Path) -> Result<Key> {
    let (name, bytes) = random_bytes()?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{} {}", hex(&name), hex(&bytes))?;
    file.sync_all()?;
    Ok(Key::new(hex(&name), &bytes))
}

fn random_bytes() -> Result<([u8; NAME_BYTES], [u8; KEY_BYTES])> {
    let (mut name, mut key) = ([0; NAME_BYTES], [0; KEY_BYTES]);
    let mut random = File::open("/dev/urandom").context("random bytes for a key")?;
    random.read_exact(&mut name)?;
    random.read_exact(&mut key)?;
    Ok((name, key))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
