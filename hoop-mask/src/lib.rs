//! Finds secrets and personal data in bytes and masks them.
//!
//! A [`Masker`] is made of a [`Config`] and the operator's [`Key`]. It takes bytes or text, whole
//! ([`Masker::mask`]), field by field ([`Masker::mask_field`]) or as they come ([`Masker::stream`]),
//! and gives masked bytes and [`Finding`]s, none of which holds what was found.
//!
//! What a detector sees is the text with JSON's escapes and percent-encoding undone, so that `\u0040`
//! and `%40` are an `@`; it looks into base64, one level deep. What is masked inside of JSON stays
//! JSON.

mod bytes;
mod custom;
mod detect;
mod engine;
mod finding;
pub mod gitleaks;
mod json;
mod key;
mod masker;
mod prefilter;
mod rule;
mod stream;
mod tail;
mod validate;
mod view;

pub use custom::Problem;
pub use finding::{Finding, Masked, Via};
pub use key::Key;
pub use masker::{Config, Error, Masker, classes};
pub use rule::{Action, Rule, Validator};
pub use stream::Stream;

/// For fuzzers: the output must not depend on how the input is cut.
///
/// The first byte of `data` says how long the parts are.
///
/// # Panics
///
/// If it does depend on it.
#[cfg(feature = "fuzzing")]
pub fn fuzz(masker: &std::sync::Arc<Masker>, data: &[u8]) {
    let Some((&cut, text)) = data.split_first() else {
        return;
    };
    let whole = masker.mask(text);
    let mut parts = Masked::default();
    let mut stream = masker.stream();
    for part in text.chunks(usize::from(cut) * usize::from(cut) + 1) {
        stream.push(part, &mut parts.bytes, &mut parts.findings);
    }
    stream.finish(&mut parts.bytes, &mut parts.findings);
    assert!(parts == whole, "the parts are masked differently");
}
