//! Ed25519 keys as signed notes have them (<https://c2sp.org/signed-note>), in the text forms of Go's
//! `golang.org/x/mod/sumdb/note`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The signature type "Ed25519" of signed notes.
const ED25519: u8 = 1;
/// What a signing key's text begins with.
const PRIVATE: &str = "PRIVATE+KEY+";
/// Longest name of a key, in bytes.
const MAX_NAME: usize = 200;
/// Longest text of a key, in bytes.
const MAX_TEXT: usize = 512;

/// The key that signs checkpoints. Its secret is overwritten when it is dropped, and no `Debug` shows it.
pub struct SigningKey {
    verifier: VerifierKey,
    secret: ed25519_dalek::SigningKey,
}

/// The key that signatures are verified with.
///
/// As text, `<name>+<key id, 8 hexadecimal digits>+<base64 of a type byte and the public key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: ed25519_dalek::VerifyingKey,
}

/// Why a text or file is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It has not the form of one.
    #[error("this is no Ed25519 key of signed notes")]
    Form,
    /// The key id is not that of the name and the public key.
    #[error("the key does not match its id")]
    Id,
    /// The name is empty, longer than 200 bytes, or has a space, a plus sign or a control character.
    #[error("a key's name is up to 200 bytes without spaces, plus signs and control characters")]
    Name,
    /// Others than its owner may read or write the file.
    #[error("the key file's mode is {0:o}: only its owner may have access (chmod 600)")]
    Mode(u32),
    /// It could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SigningKey {
    /// A new key of that name, which is also the origin of what it signs. A name is best a URL without its scheme.
    ///
    /// # Errors
    ///
    /// The name cannot be one, or the system has no random bytes.
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(io::Error::from)?;
        Self::new(name, &seed)
    }

    /// The key that the text is:
    /// `PRIVATE+KEY+<name>+<key id, 8 hexadecimal digits>+<base64 of a type byte and the secret>`.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix(PRIVATE).ok_or(KeyError::Form)?;
        let (name, id, secret) = parts(text)?;
        let key = Self::new(name, &secret)?;
        if key.verifier.id != id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }

    /// The key that a file has.
    ///
    /// # Errors
    ///
    /// It has none, it cannot be read, or others than its owner have access to it.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode(mode));
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT));
        file.take(MAX_TEXT as u64).read_to_string(&mut text)?;
        Self::parse(text.strip_suffix('\n').unwrap_or(&text))
    }

    /// Writes it to a new file that only its owner has access to.
    ///
    /// # Errors
    ///
    /// The file exists or could not be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut text = self.text();
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// The key that its signatures are verified with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn new(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, secret.verifying_key())?;
        Ok(Self { verifier, secret })
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.secret.sign(text).to_bytes()
    }

    fn text(&self) -> Zeroizing<String> {
        let VerifierKey { name, id, .. } = &self.verifier;
        let mut bytes = Zeroizing::new([ED25519; 33]);
        bytes[1..].copy_from_slice(&*Zeroizing::new(self.secret.to_bytes()));
        let secret = Zeroizing::new(STANDARD.encode(*bytes));
        let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT));
        let id = u32::from_be_bytes(*id);
        for part in [PRIVATE, name, &format!("+{id:08x}+"), &secret] {
            text.push_str(part);
        }
        text
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.verifier)
    }
}

impl VerifierKey {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number that a signature names it by.
    pub fn id(&self) -> u32 {
        u32::from_be_bytes(self.id)
    }

    fn new(name: &str, public: ed25519_dalek::VerifyingKey) -> Result<Self, KeyError> {
        let none = |char: char| char.is_whitespace() || char.is_control() || char == '+';
        if name.is_empty() || name.len() > MAX_NAME || name.contains(none) {
            return Err(KeyError::Name);
        }
        let mut hasher = Sha256::new();
        hasher.update(name);
        hasher.update([b'\n', ED25519]);
        hasher.update(public.as_bytes());
        let [a, b, c, d, ..]: [u8; 32] = hasher.finalize().into();
        Ok(Self {
            name: name.to_owned(),
            id: [a, b, c, d],
            public,
        })
    }

    pub(crate) fn id_bytes(&self) -> [u8; 4] {
        self.id
    }

    /// Whether the signature is this key's, by the strict rules that leave one signature for one text.
    pub(crate) fn verify(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.public.verify_strict(text, &signature).is_ok()
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, public) = parts(text)?;
        let public =
            ed25519_dalek::VerifyingKey::from_bytes(&public).map_err(|_| KeyError::Form)?;
        let key = Self::new(name, public)?;
        if key.id != id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [ED25519; 33];
        bytes[1..].copy_from_slice(self.public.as_bytes());
        let id = self.id();
        write!(
            formatter,
            "{}+{id:08x}+{}",
            self.name,
            STANDARD.encode(bytes)
        )
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerifierKey({self})")
    }
}

type Parts<'a> = (&'a str, [u8; 4], Zeroizing<[u8; 32]>);

/// Name, key id and key of `<name>+<id>+<base64>`.
fn parts(text: &str) -> Result<Parts<'_>, KeyError> {
    if text.len() > MAX_TEXT {
        return Err(KeyError::Form);
    }
    // Base64 has plus signs of its own.
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form);
    };
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if id.len() != 8 || !id.bytes().all(digit) {
        return Err(KeyError::Form);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Form)?;
    let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| KeyError::Form)?);
    let Some((&ED25519, key)) = bytes.split_first() else {
        return Err(KeyError::Form);
    };
    let key = key.try_into().map_err(|_| KeyError::Form)?;
    Ok((name, id.to_be_bytes(), Zeroizing::new(key)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_text() {
        let key = SigningKey::generate("log.example/node-1").unwrap();
        let again = SigningKey::parse(&key.text()).unwrap();
        assert_eq!(again.secret, key.secret);
        let verifier: VerifierKey = key.verifier().to_string().parse().unwrap();
        assert_eq!(&verifier, key.verifier());
        assert!(verifier.verify(b"text", &again.sign(b"text")));
        assert!(!verifier.verify(b"texs", &again.sign(b"text")));
    }

    #[test]
    fn no_byte_of_a_verifier_key_can_be_changed() {
        let text = SigningKey::generate("log.example")
            .unwrap()
            .verifier()
            .to_string();
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                let parsed = str::from_utf8(&bytes).map(str::parse::<VerifierKey>);
                assert!(!matches!(parsed, Ok(Ok(_))), "byte {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_secret_is_not_in_what_is_shown() {
        let key = SigningKey::generate("log.example").unwrap();
        let text = key.text();
        let secret = text.rsplit('+').next().unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains(secret) && shown.contains("log.example"));
    }

    #[test]
    fn a_key_file_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = SigningKey::generate("log.example").unwrap();
        key.save(&path).unwrap();
        assert!(key.save(&path).is_err(), "an old key is overwritten");
        assert_eq!(SigningKey::load(&path).unwrap().secret, key.secret);
        let mode =
            |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert!(matches!(
            SigningKey::load(&path),
            Err(KeyError::Mode(0o640))
        ));
        mode(0o400);
        assert!(SigningKey::load(&path).is_ok());
    }

    #[test]
    fn names_that_a_note_cannot_have_are_refused() {
        for name in ["", "a b", "a+b", "a\nb", "a\u{2003}b", &"a".repeat(201)] {
            assert!(
                matches!(SigningKey::generate(name), Err(KeyError::Name)),
                "{name:?}"
            );
        }
    }
}
