//! Secrets that belong to nobody, made at run time, and the search for what is left of them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Makes secrets. The same seed makes the same ones.
#[derive(Debug)]
pub struct Maker {
    state: u64,
    planted: Vec<Planted>,
}

/// What was planted, and where.
#[derive(Clone, Debug)]
struct Planted {
    place: String,
    kind: &'static str,
    /// What of it is nowhere else.
    unique: String,
}

/// Bytes of a secret in a row that are never there by chance, and of digits.
const WINDOW: usize = 8;
const DIGITS_WINDOW: usize = 13;

const ALPHANUMERIC: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const DIGITS: &[u8] = b"0123456789";

impl Maker {
    /// Makes secrets of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            state: seed,
            planted: Vec::new(),
        }
    }

    /// How many were made.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.planted.len()
    }

    /// One of each kind that is told by its own form, for a place that is named in the report.
    #[must_use]
    pub fn of_every_form(&mut self, place: &str) -> Vec<String> {
        let token = |text: &str, rest: String| (text.to_owned() + &rest, rest);
        let (alnum, upper) = (ALPHANUMERIC, UPPER);
        let made = [
            (
                "AWS key id",
                token(&["AK", "IA"].concat(), self.text(upper, 16)),
            ),
            (
                "GitHub token",
                token(&["gh", "p_"].concat(), self.text(alnum, 36)),
            ),
            (
                "GitLab token",
                token(&["glp", "at-"].concat(), self.text(alnum, 20)),
            ),
            (
                "npm token",
                token(&["np", "m_"].concat(), self.text(alnum, 36)),
            ),
            (
                "Stripe key",
                token(&["sk_li", "ve_"].concat(), self.text(alnum, 24)),
            ),
            ("Anthropic key", {
                let rest = self.text(alnum, 93) + "AA";
                token(&["sk-a", "nt-api03-"].concat(), rest)
            }),
            ("Slack token", {
                let (a, b) = (self.text(DIGITS, 12), self.text(DIGITS, 12));
                let rest = self.text(alnum, 24);
                (format!("xox{}{a}-{b}-{rest}", "b-"), rest)
            }),
            ("JWT", {
                let rest = self.text(alnum, 60);
                let head = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
                (format!("{head}.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{rest}"), rest)
            }),
            ("e-mail", {
                let name = self.text(LOWER, 12);
                (format!("{name}@example.com"), name)
            }),
            ("card", {
                let card = self.card();
                (card.clone(), card)
            }),
            ("IBAN", {
                let iban = self.iban();
                (iban.clone(), iban)
            }),
            ("database URL", {
                let password = self.text(alnum, 18);
                (
                    format!("postgres://svc:{password}@db.example:5432/orders"),
                    password,
                )
            }),
        ];
        made.map(|(kind, (secret, unique))| {
            self.plant(place, kind, unique);
            secret
        })
        .into()
    }

    /// One that only its key tells: random text.
    #[must_use]
    pub fn random(&mut self, place: &str) -> String {
        let text = self.text(ALPHANUMERIC, 32);
        self.plant(place, "random text", text.clone());
        text
    }

    /// A private key in PEM.
    #[must_use]
    pub fn pem(&mut self, place: &str) -> String {
        let lines: Vec<String> = (0..6).map(|_| self.text(ALPHANUMERIC, 64)).collect();
        for line in &lines {
            self.plant(place, "PEM", line.clone());
        }
        let kind = ["PRIVATE", " KEY"].concat();
        format!(
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
            lines.join("\n")
        )
    }

    /// Every secret of which something is left in the files at and below `paths`: what it is, where it was
    /// planted, and around what it was found.
    ///
    /// # Panics
    ///
    /// When a file cannot be read.
    #[must_use]
    pub fn found_in<'p>(&self, paths: impl IntoIterator<Item = &'p Path>) -> Vec<String> {
        let mut windows: HashMap<&[u8], &Planted> = HashMap::new();
        for planted in &self.planted {
            let unique = planted.unique.as_bytes();
            let size = window_of(unique);
            windows.extend(unique.windows(size).map(|window| (window, planted)));
        }
        let mut found = Vec::new();
        for path in paths {
            search(path, &windows, &mut found);
        }
        found.sort();
        found.dedup();
        found
    }

    fn plant(&mut self, place: &str, kind: &'static str, unique: String) {
        self.planted.push(Planted {
            place: place.to_owned(),
            kind,
            unique,
        });
    }

    /// `xorshift64*` (Vigna, 2016).
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// Random characters; the last is a digit where there may be one, as a token without any digit may
    /// as well be words.
    fn text(&mut self, of: &[u8], len: usize) -> String {
        let digits: Vec<u8> = of.iter().copied().filter(u8::is_ascii_digit).collect();
        (0..len)
            .map(|at| {
                let of = if at + 1 == len && !digits.is_empty() {
                    &digits
                } else {
                    of
                };
                char::from(of[self.next() as usize % of.len()])
            })
            .collect()
    }

    /// Sixteen digits with the check digit of ISO/IEC 7812-1.
    fn card(&mut self) -> String {
        let body = format!("4{}", self.text(DIGITS, 14));
        let sum: u32 = body
            .bytes()
            .rev()
            .enumerate()
            .map(|(place, digit)| {
                let digit = u32::from(digit - b'0');
                let doubled = digit * 2;
                match place % 2 {
                    0 => doubled / 10 + doubled % 10,
                    _ => digit,
                }
            })
            .sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    }

    /// A German one, with the check digits of ISO 13616.
    fn iban(&mut self) -> String {
        let account = self.text(DIGITS, 18);
        // `DE00` as digits, at the end.
        let remainder = format!("{account}131400")
            .bytes()
            .fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
        format!("DE{:02}{account}", 98 - remainder)
    }
}

fn window_of(unique: &[u8]) -> usize {
    let letters = unique.iter().filter(|byte| byte.is_ascii_alphabetic());
    if letters.count() > 2 {
        WINDOW
    } else {
        DIGITS_WINDOW
    }
}

fn search(path: &Path, windows: &HashMap<&[u8], &Planted>, found: &mut Vec<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            search(&entry.expect("readable").path(), windows, found);
        }
        return;
    }
    // A socket has no content.
    let Ok(bytes) = fs::read(path) else {
        return;
    };
    for size in [WINDOW, DIGITS_WINDOW] {
        for (at, window) in bytes.windows(size).enumerate() {
            if let Some(planted) = windows.get(window) {
                let around = &bytes[at.saturating_sub(80)..bytes.len().min(at + 40)];
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                let said = format!("{} in {}: {file}", planted.kind, planted.place);
                if !found.iter().any(|known| known.starts_with(&said)) {
                    found.push(format!("{said}: {}", String::from_utf8_lossy(around)));
                }
            }
        }
    }
}
