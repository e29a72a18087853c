//! What fuzzers drive: everything that reads bytes of which nobody knows who wrote them.

use std::io::Read as _;

use crate::key::{SigningKey, VerifierKey};
use crate::note::Checkpoint;
use crate::prove::Proof;
use crate::sealed::Decoder;
use crate::segment::{Message, Messages};

/// Messages of a segment are what was written, or none.
///
/// # Panics
///
/// If a message is not at most as long as the bytes, or one that was read is not read again.
pub fn segment(data: &[u8]) {
    let mut messages = Messages::new(data);
    while let Ok(Some(_)) = messages.next() {
        assert!(
            messages.offset() <= data.len() as u64,
            "a message from nowhere"
        );
    }
    let _ = Message::decode(data);
}

/// A sealed segment is read or refused, in bounded memory.
pub fn sealed(data: &[u8]) {
    let Ok(mut decoder) = Decoder::new(data) else {
        return;
    };
    let mut buffer = vec![0; 64 << 10];
    // A bomb is long, not large.
    for _ in 0..1024 {
        if !decoder.read(&mut buffer).is_ok_and(|read| read > 0) {
            break;
        }
    }
}

/// Checkpoints and proofs are read or refused, and a proof that is read is written as it was, but for what nobody vouches for.
///
/// # Panics
///
/// If it is not.
pub fn note(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let _ = Checkpoint::read(text);
    if let Ok(proof) = text.parse::<Proof>() {
        let again = proof.to_string();
        assert_eq!(
            again.parse().as_ref(),
            Ok(&proof),
            "a proof that is another"
        );
    }
}

/// A key that is read is written as it was.
///
/// # Panics
///
/// If it is not.
pub fn key(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let _ = SigningKey::parse(text);
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text, "a key with two texts");
    }
}
