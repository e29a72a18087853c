//! What the words around a number say that it is.

use crate::bytes::{self, ALPHA, HIGH};

/// So many bytes before a number are read.
const BEFORE: usize = 80;
/// So many after it.
const AFTER: usize = 16;
const WORD_LIMIT: usize = 24;

/// Subjects, as bits.
pub(super) const PHONE: u32 = 1;
pub(super) const BIRTH: u32 = 1 << 1;
pub(super) const CARD: u32 = 1 << 2;
pub(super) const SSN: u32 = 1 << 3;
/// Personal numbers of any country: `national id`, `tax number`.
pub(super) const IDENTITY: u32 = 1 << 4;
pub(super) const BANK: u32 = 1 << 5;

/// The words of each subject, in lower case, letters only.
const WORDS: &[(u32, &[&str])] = &[
    (
        PHONE,
        &[
            "phone", "tel", "telephone", "mobile", "cell", "cellphone", "fax", "call", "contact",
            "whatsapp", "sms", "dial", "answering", "reach", "telefon", "handy", "movil",
            "telefono", "portable", "office", "hotline", "msisdn", "phonenumber", "ring", "text",
        ],
    ),
    (
        BIRTH,
        &[
            "birth", "born", "dob", "birthday", "birthdate", "dateofbirth", "geboren",
            "geburtsdatum", "geburtstag", "naissance", "nacimiento", "nascimento", "nascita",
            "bday", "dd/mm/yyyy",
        ],
    ),
    (
        CARD,
        &["card", "credit", "debit", "visa", "mastercard", "amex", "pan", "cc", "kreditkarte"],
    ),
    (SSN, &["ssn", "ssns", "social", "socialsecurity", "itin"]),
    (
        IDENTITY,
        &[
            "national", "identity", "id", "nin", "tax", "taxpayer", "tin", "personal", "citizen",
            "resident", "nhs", "patient", "sin", "insurance", "cpf", "cnpj", "steuer",
            "steuerid", "idnr", "nir", "secu", "dni", "nie", "nif", "codice", "fiscale", "bsn",
            "burgerservicenummer", "rijksregisternummer", "pesel", "ahv", "avs", "tckn", "kimlik",
            "personnummer", "hetu", "henkilotunnus", "fodselsnummer", "cpr", "aadhaar",
            "aadhar", "uidai", "rrn", "nric", "fin", "tfn", "medicare", "passport", "steueridentifikationsnummer",
            "contribuinte", "numero", "sofi", "registry", "cedula",
        ],
    ),
    (BANK, &["iban", "bank", "account", "wire", "konto", "routing", "aba", "bic", "swift"]),
];

/// The subjects near the last number, and where it was.
#[derive(Default)]
pub(super) struct Cache {
    end: usize,
    subjects: u32,
}

impl Cache {
    /// The subjects of the words before `start` and right after `end`.
    pub(super) fn subjects(&mut self, text: &[u8], start: usize, end: usize) -> u32 {
        let from = start.saturating_sub(BEFORE);
        // No letter since the last number: what was said of it still holds.
        let same = self.end > from
            && self.end <= start
            && text[self.end..start].iter().all(|&byte| !bytes::is(byte, ALPHA | HIGH));
        if !same {
            self.subjects = words(&text[from..start]);
        }
        self.end = end;
        self.subjects | words(&text[end..text.len().min(end + AFTER)]) & PHONE
    }
}

/// The subjects of the words in `text`, camel case taken apart as well.
fn words(text: &[u8]) -> u32 {
    let mut subjects = 0;
    for run in text.split(|&byte| !bytes::is(byte, ALPHA)) {
        if !(2..=WORD_LIMIT * 2).contains(&run.len()) {
            continue;
        }
        subjects |= subject(run);
        let mut start = 0;
        for at in 1..run.len() {
            if run[at].is_ascii_uppercase() && run[at - 1].is_ascii_lowercase() {
                subjects |= subject(&run[start..at]);
                start = at;
            }
        }
        if start > 0 {
            subjects |= subject(&run[start..]);
        }
    }
    subjects
}

fn subject(word: &[u8]) -> u32 {
    WORDS
        .iter()
        .filter(|(_, words)| {
            words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
        })
        .fold(0, |subjects, (subject, _)| subjects | subject)
}
