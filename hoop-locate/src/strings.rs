//! Looking for strings in what a file loads as data.

use crate::elf::Elf;
use memchr::memmem;

/// The longest version that is kept, in bytes.
const MAX_VERSION: usize = 64;

/// The most places at which a version's prefix is looked at.
const MAX_PLACES: usize = 256;

/// Whether a string is anywhere in the data.
pub(crate) fn contains(elf: &Elf<'_>, needle: &[u8]) -> bool {
    let finder = memmem::Finder::new(needle);
    elf.data()
        .iter()
        .any(|region| finder.find(region.bytes).is_some())
}

/// The first string that begins with `prefix` and goes on with a digit: `OpenSSL ` finds
/// `3.0.17`. Ends at the first byte that is neither a letter, a digit, `.`, `-` nor `+`.
pub(crate) fn version(elf: &Elf<'_>, prefix: &[u8]) -> Option<String> {
    versions(elf, prefix).next()
}

/// The highest version that follows `prefix` anywhere.
pub(crate) fn newest(elf: &Elf<'_>, prefix: &[u8]) -> Option<String> {
    let numbers = |version: &String| -> Vec<u32> {
        version
            .split('.')
            .map(|number| number.parse().unwrap_or(0))
            .collect()
    };
    versions(elf, prefix).max_by_key(numbers)
}

/// Every version that follows `prefix`.
pub(crate) fn versions(elf: &Elf<'_>, prefix: &[u8]) -> impl Iterator<Item = String> {
    let finder = memmem::Finder::new(prefix).into_owned();
    let places = elf.data().into_iter().flat_map(move |region| {
        let after: Vec<_> = finder
            .find_iter(region.bytes)
            .take(MAX_PLACES)
            .map(|at| &region.bytes[at + finder.needle().len()..])
            .collect();
        after
    });
    places.take(MAX_PLACES).filter_map(word)
}

/// A version of at least three parts at the beginning of `bytes`.
fn word(bytes: &[u8]) -> Option<String> {
    let bytes = &bytes[..bytes.len().min(MAX_VERSION)];
    let end = bytes
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b".-+".contains(byte)))
        .unwrap_or(bytes.len());
    let word = std::str::from_utf8(&bytes[..end]).ok()?;
    (word.starts_with(|first: char| first.is_ascii_digit()) && word.split('.').count() > 2)
        .then(|| word.to_owned())
}
