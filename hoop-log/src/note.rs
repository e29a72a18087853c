//! Checkpoints (<https://c2sp.org/tlog-checkpoint>): signed notes (<https://c2sp.org/signed-note>) that say which
//! records a log has.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use crate::key::{SigningKey, VerifierKey};
use crate::merkle::{Frontier, Hash};

/// Longest note, in bytes.
pub(crate) const MAX_NOTE: usize = 64 << 10;
/// Longest text, and longest signature line, of a note that a writer signs, in bytes.
pub(crate) const MAX_OWN: usize = 512;
/// Most signatures of a note that are looked at.
const MAX_SIGNATURES: usize = 100;
/// What a signature line begins with: an em dash and a space.
const SIGNATURE: &str = "\u{2014} ";

/// What a checkpoint says, whether or not anybody signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Number of records in the log's tree.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

/// Why a text is no checkpoint, or not one by the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not the form of a signed note.
    #[error("this is no signed note")]
    Note,
    /// It is a note, and its text not that of a checkpoint.
    #[error("the note is no checkpoint")]
    Checkpoint,
    /// No signature in it is by the key.
    #[error("the checkpoint is not signed by the key")]
    NotSigned,
    /// A signature says that it is by the key and is not.
    #[error("the checkpoint's signature is not the key's")]
    Signature,
}

impl Checkpoint {
    /// The text is a checkpoint with a good signature by the key.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let (text, signatures) = split(note)?;
        let mut signed = false;
        for line in signatures.lines().take(MAX_SIGNATURES) {
            let (name, id, signature) = signature_line(line)?;
            if name != key.name() || id != key.id_bytes() {
                continue;
            }
            let signature = signature.as_slice().try_into();
            if !signature.is_ok_and(|signature| key.verify(text.as_bytes(), signature)) {
                return Err(NoteError::Signature);
            }
            signed = true;
        }
        if !signed {
            return Err(NoteError::NotSigned);
        }
        text.parse()
    }

    /// The text is a checkpoint, whoever signed it.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn read(note: &str) -> Result<Self, NoteError> {
        split(note)?.0.parse()
    }

    /// The checkpoint of a tree.
    pub(crate) fn of(origin: &str, tree: &Frontier) -> Self {
        Self {
            origin: origin.to_owned(),
            size: tree.size(),
            root: tree.root(),
        }
    }

    /// The signed note.
    pub(crate) fn sign(&self, key: &SigningKey) -> String {
        let Self { origin, size, root } = self;
        let mut note = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
        let mut signature = [0; 68];
        signature[..4].copy_from_slice(&key.verifier().id_bytes());
        signature[4..].copy_from_slice(&key.sign(note.as_bytes()));
        note.push('\n');
        note.push_str(SIGNATURE);
        note.push_str(key.verifier().name());
        note.push(' ');
        STANDARD.encode_string(signature, &mut note);
        note.push('\n');
        note
    }
}

impl FromStr for Checkpoint {
    type Err = NoteError;

    /// The text of the note: origin, size, root, and lines that are no business of ours.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let text = text.strip_suffix('\n').ok_or(NoteError::Checkpoint)?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(digits), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Checkpoint);
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(NoteError::Checkpoint);
        }
        let root = STANDARD.decode(root).ok();
        let root = root.and_then(|root| root.try_into().ok());
        Ok(Self {
            origin: origin.to_owned(),
            size: decimal(digits).ok_or(NoteError::Checkpoint)?,
            root: root.ok_or(NoteError::Checkpoint)?,
        })
    }
}

/// A number as checkpoints and proofs have it: digits, without leading zeros.
pub(crate) fn decimal(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Of all checkpoints by the key that stand somewhere in the bytes, the one of most records.
pub(crate) fn latest_signed(bytes: &[u8], key: &VerifierKey) -> Option<Checkpoint> {
    let mark = format!("\n\n{SIGNATURE}{} ", key.name());
    let notes = memmem::find_iter(bytes, mark.as_bytes()).filter_map(|middle| {
        let text = &bytes[middle.saturating_sub(MAX_OWN)..middle];
        let start = middle - text.len() + memmem::rfind(text, key.name().as_bytes())?;
        let signature = &bytes[middle + 2..];
        let signature = &signature[..signature.len().min(MAX_OWN)];
        let end = middle + 2 + memchr::memchr(b'\n', signature)?;
        let note = str::from_utf8(&bytes[start..=end]).ok()?;
        Checkpoint::open(note, key).ok()
    });
    notes.max_by_key(|checkpoint| checkpoint.size)
}

/// Text and signatures of a note.
fn split(note: &str) -> Result<(&str, &str), NoteError> {
    if note.len() > MAX_NOTE || note.contains(|char: char| char < ' ' && char != '\n') {
        return Err(NoteError::Note);
    }
    let middle = note.rfind("\n\n").ok_or(NoteError::Note)?;
    let (text, signatures) = (&note[..=middle], &note[middle + 2..]);
    if signatures.is_empty() || !signatures.ends_with('\n') {
        return Err(NoteError::Note);
    }
    Ok((text, signatures))
}

/// Key name, key id and signature of a line.
fn signature_line(line: &str) -> Result<(&str, [u8; 4], Vec<u8>), NoteError> {
    let rest = line.strip_prefix(SIGNATURE).ok_or(NoteError::Note)?;
    let (name, signature) = rest.split_once(' ').ok_or(NoteError::Note)?;
    let bytes = STANDARD.decode(signature).map_err(|_| NoteError::Note)?;
    let Some((&id, signature)) = bytes.split_first_chunk() else {
        return Err(NoteError::Note);
    };
    Ok((name, id, signature.to_vec()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn example() -> (SigningKey, Checkpoint, String) {
        let key = SigningKey::generate("log.example/node-1").unwrap();
        let mut tree = Frontier::default();
        tree.push([3; 32]);
        let checkpoint = Checkpoint::of("log.example/node-1", &tree);
        let note = checkpoint.sign(&key);
        (key, checkpoint, note)
    }

    #[test]
    fn a_checkpoint_says_what_was_signed() {
        let (key, checkpoint, note) = example();
        assert_eq!(Checkpoint::open(&note, key.verifier()), Ok(checkpoint));
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
            \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let checkpoint = Checkpoint::read(note).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
    }

    #[test]
    fn no_bit_of_a_checkpoint_can_be_changed() {
        let (key, _, note) = example();
        for position in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                let opened =
                    str::from_utf8(&bytes).map(|note| Checkpoint::open(note, key.verifier()));
                assert!(!matches!(opened, Ok(Ok(_))), "byte {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn another_key_and_another_signature_are_told_apart() {
        let (key, checkpoint, note) = example();
        let other = SigningKey::generate("log.example/node-1").unwrap();
        assert_eq!(
            Checkpoint::open(&note, other.verifier()),
            Err(NoteError::NotSigned)
        );
        let (text, _) = note.rsplit_once("\n\n").unwrap();
        let (_, witness) = checkpoint
            .sign(&other)
            .rsplit_once("\n\n")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        let both = format!("{note}{witness}");
        assert!(Checkpoint::open(&both, key.verifier()).is_ok());
        assert!(Checkpoint::open(&both, other.verifier()).is_ok());
        let changed = format!("x{text}\n\n{}", note.rsplit_once("\n\n").unwrap().1);
        assert_eq!(
            Checkpoint::open(&changed, key.verifier()),
            Err(NoteError::Signature)
        );
    }

    #[test]
    fn sizes_are_written_in_one_way() {
        assert_eq!(decimal("0"), Some(0));
        for text in ["", "00", "01", "+1", "-1", " 1", "18446744073709551616"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }
}
