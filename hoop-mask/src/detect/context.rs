//! What the words around a number say that it is.

use crate::bytes::{self, ALPHA, HIGH};

/// So many bytes before a number are read.
const BEFORE: usize = 80;
/// So many hold a key and the quotes and marks after it.
const KEY: usize = 20;
/// So many after it.
const AFTER: usize = 16;

/// Subjects, as bits.
pub(super) const PHONE: u32 = 1;
pub(super) const BIRTH: u32 = 1 << 1;
pub(super) const CARD: u32 = 1 << 2;
pub(super) const SSN: u32 = 1 << 3;
/// Personal numbers of any country: `national id`, `tax number`.
pub(super) const IDENTITY: u32 = 1 << 4;
pub(super) const BANK: u32 = 1 << 5;
/// Telephone numbers may come up: a number must look like one as well.
pub(super) const MESSAGE: u32 = 1 << 6;
/// As [`PHONE`], in a sentence: these are keys of a program's data too.
const CALL: u32 = 1 << 7;
/// As [`MESSAGE`], in a sentence.
const TEXT: u32 = 1 << 8;

/// The words of each subject, in lower case, letters only.
const WORDS: &[(u32, &[&str])] = &[
    (
        PHONE,
        &[
            "phone",
            "tel",
            "telephone",
            "mobile",
            "cell",
            "cellphone",
            "fax",
            "whatsapp",
            "sms",
            "telefon",
            "movil",
            "telefono",
            "hotline",
            "msisdn",
            "phonenumber",
        ],
    ),
    (
        CALL,
        &[
            "call",
            "calls",
            "called",
            "contact",
            "dial",
            "answering",
            "reach",
            "office",
        ],
    ),
    (
        TEXT,
        &[
            "message",
            "messages",
            "registered",
            "text",
            "texted",
            "handy",
            "portable",
        ],
    ),
    (
        BIRTH,
        &[
            "birth",
            "born",
            "dob",
            "birthday",
            "birthdate",
            "dateofbirth",
            "geboren",
            "geburtsdatum",
            "geburtstag",
            "naissance",
            "nacimiento",
            "nascimento",
            "nascita",
            "bday",
        ],
    ),
    (
        CARD,
        &[
            "card",
            "credit",
            "debit",
            "visa",
            "mastercard",
            "amex",
            "pan",
            "cc",
            "kreditkarte",
        ],
    ),
    (SSN, &["ssn", "ssns", "social", "socialsecurity", "itin"]),
    (
        IDENTITY,
        &[
            "national",
            "identity",
            "nin",
            "tax",
            "taxpayer",
            "tin",
            "personal",
            "citizen",
            "resident",
            "nhs",
            "patient",
            "sin",
            "insurance",
            "cpf",
            "cnpj",
            "steuer",
            "steuerid",
            "idnr",
            "nir",
            "secu",
            "dni",
            "nie",
            "nif",
            "codice",
            "fiscale",
            "bsn",
            "burgerservicenummer",
            "rijksregisternummer",
            "pesel",
            "ahv",
            "avs",
            "tckn",
            "kimlik",
            "personnummer",
            "hetu",
            "henkilotunnus",
            "fodselsnummer",
            "cpr",
            "aadhaar",
            "aadhar",
            "uidai",
            "rrn",
            "nric",
            "fin",
            "tfn",
            "medicare",
            "passport",
            "steueridentifikationsnummer",
            "contribuinte",
            "numero",
            "sofi",
            "registry",
            "cedula",
        ],
    ),
    (
        BANK,
        &[
            "iban", "bank", "account", "wire", "konto", "routing", "aba", "bic", "swift",
        ],
    ),
];

/// What the words near a number speak of.
#[derive(Clone, Copy, Default)]
pub(super) struct Subjects {
    /// All of it.
    pub(super) all: u32,
    /// What the last of the words before the number speaks of.
    pub(super) nearest: u32,
    /// What keys and other words name.
    named: u32,
    /// What sentences speak of: it holds for a line.
    in_line: u32,
}

/// The subjects near the last number, and where it was.
#[derive(Default)]
pub(super) struct Cache {
    end: usize,
    subjects: Subjects,
}

impl Cache {
    /// The subjects of the words before `start` and right after `end`.
    pub(super) fn subjects(&mut self, text: &[u8], start: usize, end: usize) -> Subjects {
        let from = start.saturating_sub(BEFORE);
        // No letter since the last number: what was said of it still holds.
        let same = self.end > from
            && self.end <= start
            && text[self.end..start]
                .iter()
                .all(|&byte| !bytes::is(byte, ALPHA | HIGH));
        if !same {
            self.subjects = Subjects::default();
            words(&text[from..start], |byte, whole, part| {
                let word = if byte == b' ' {
                    whole
                } else {
                    whole & !(CALL | TEXT)
                };
                self.subjects.add(word | part & !(CALL | TEXT));
                if byte == b'\n' {
                    self.subjects.end_line();
                }
            });
        }
        self.end = end;
        let mut subjects = self.subjects;
        let after = &text[end..text.len().min(end + AFTER)];
        let mut first = bytes::get(after, 0) != b'.' && bytes::is(bytes::get(after, 1), ALPHA);
        words(after, |_, whole, part| {
            if (whole | part) & (PHONE | CALL) != 0 {
                subjects.all |= PHONE;
                // `061 471 2890 fax`.
                if first && subjects.nearest & IDENTITY == 0 {
                    subjects.nearest = PHONE;
                }
            }
            first = false;
        });
        subjects
    }
}

impl Subjects {
    fn add(&mut self, word: u32) {
        let spoken = match word & (CALL | TEXT) {
            0 => 0,
            TEXT => MESSAGE,
            _ => PHONE,
        };
        self.named |= word & !(CALL | TEXT);
        self.in_line |= spoken;
        self.all = self.named | self.in_line;
        let subjects = word & !(CALL | TEXT) | spoken;
        if subjects & !MESSAGE != 0 {
            self.nearest = subjects;
        }
    }

    fn end_line(&mut self) {
        self.in_line = 0;
        self.all = self.named;
    }
}

/// Gives `take` the subjects of each word in `text`, and of each part of it in camel case, with the
/// byte that ends it; a line's end comes as well.
fn words(text: &[u8], mut take: impl FnMut(u8, u32, u32)) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if !bytes::is(byte, ALPHA) {
            if byte == b'\n' {
                take(byte, 0, 0);
            }
            at += 1;
            continue;
        }
        let start = at;
        let mut part = start;
        let mut was_lower = false;
        while at < text.len() && bytes::is(text[at], ALPHA) {
            let lower = text[at] & 0x20 != 0;
            if was_lower && !lower {
                take(text[at], 0, subjects_of(&text[part..at]));
                part = at;
            }
            was_lower = lower;
            at += 1;
        }
        let of_part = if part == start {
            0
        } else {
            subjects_of(&text[part..at])
        };
        take(bytes::get(text, at), subjects_of(&text[start..at]), of_part);
    }
}

/// The subjects of a word: most are turned away by how they start.
fn subjects_of(word: &[u8]) -> u32 {
    match *word {
        [a, b, ..] if STARTS[(a & 31) as usize] & 1 << (b & 31) != 0 => word
            .iter()
            .fold(Hash::START, |hash, &byte| hash.with(byte))
            .subjects(),
        _ => 0,
    }
}

/// By first letter a bit for each second letter of the words.
static STARTS: [u32; 32] = {
    let mut starts = [0; 32];
    let mut subject = 0;
    while subject < WORDS.len() {
        let words = WORDS[subject].1;
        let mut i = 0;
        while i < words.len() {
            let word = words[i].as_bytes();
            starts[(word[0] & 31) as usize] |= 1 << (word[1] & 31);
            i += 1;
        }
        subject += 1;
    }
    starts
};

/// Whether a key right before `start` speaks of `subject`.
pub(super) fn key_says(text: &[u8], start: usize, subject: u32) -> bool {
    let mut says = 0;
    words(&text[start.saturating_sub(KEY)..start], |_, whole, part| {
        says |= whole | part;
    });
    says & subject != 0
}

/// FNV-1a of a word in lower case.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Hash(u32);

impl Hash {
    const START: Self = Self(0x811c_9dc5);

    const fn with(self, byte: u8) -> Self {
        Self((self.0 ^ (byte | 0x20) as u32).wrapping_mul(0x0100_0193))
    }

    const fn of(word: &str) -> Self {
        let (mut hash, mut i) = (Self::START, 0);
        while i < word.len() {
            hash = hash.with(word.as_bytes()[i]);
            i += 1;
        }
        hash
    }

    /// The place in the table where a search starts.
    const fn slot(self) -> usize {
        (self.0 ^ self.0 >> 15) as usize % SLOTS
    }

    /// The subjects of the word. Words that are not known and have the hash of one that is would be
    /// taken for it: of a number that passes its check digits, that is.
    fn subjects(self) -> u32 {
        let mut slot = self.slot();
        loop {
            let (hash, subjects) = TABLE[slot];
            if subjects == 0 || hash == self.0 {
                return subjects;
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

const SLOTS: usize = 1024;

/// Hash and subjects of every word; no subjects where nothing is.
static TABLE: [(u32, u32); SLOTS] = {
    let mut table = [(0, 0); SLOTS];
    let mut subject = 0;
    while subject < WORDS.len() {
        let (bit, words) = WORDS[subject];
        let mut i = 0;
        while i < words.len() {
            let hash = Hash::of(words[i]);
            let mut slot = hash.slot();
            while table[slot].1 != 0 && table[slot].0 != hash.0 {
                slot = (slot + 1) % SLOTS;
            }
            table[slot] = (hash.0, table[slot].1 | bit);
            i += 1;
        }
        subject += 1;
    }
    table
};
