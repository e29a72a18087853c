//! Secrets of every class, each a new one.

use hoop_mask::Validator;

use super::random::Random;

const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const HEX: &str = "0123456789abcdef";
const BASE64: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
const TOKEN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

/// What is planted.
pub struct Secret {
    /// The words that a document gives it: as a key in snake case.
    pub label: &'static str,
    /// As it is written.
    pub text: String,
    /// What of it must not be left; the rest is a prefix that everybody knows.
    pub hidden: String,
}

type Make = fn(&mut Random) -> String;

/// Label and maker of each kind that is told by its value, or by its value and its label.
const KINDS: &[(&str, Make)] = &[
    ("email", email),
    ("phone", |random| {
        let shape = random.pick(&[
            "+1 212 555 ####",
            "+44 20 7946 ####",
            "+49 30 901####",
            "+33 1 99 00 ## ##",
            "(212) 555-####",
            "212-555-####",
            "+91 98765 #####",
            "+81 3 1234 ####",
            "+55 11 91234-####",
            "0049 30 9018####",
        ]);
        random.shape(shape)
    }),
    ("card", |random| {
        let shape = random.pick(&[
            "4###############",
            "4### #### #### ####",
            "51##-####-####-####",
            "37## ###### #####",
            "6011############",
            "2221 #### #### ####",
            "3530############",
            "36############",
            "62##############",
            "6759############",
        ]);
        passing(random, shape, "card")
    }),
    ("iban", |random| {
        let shape = random.pick(&[
            "DE####################",
            "GB## ^^^^ #### #### #### ##",
            "FR76 #### #### #### #### #### ###",
            "NL##^^^^##########",
            "ES## #### #### #### #### ####",
            "CH## #### #### #### #### #",
            "NO#############",
        ]);
        passing(random, shape, "iban")
    }),
    ("ssn", |random| passing(random, "###-##-####", "us-ssn")),
    ("date_of_birth", |random| {
        let (year, month, day) = (
            1930 + random.below(80),
            1 + random.below(12),
            1 + random.below(28),
        );
        match random.below(3) {
            0 => format!("{year}-{month:02}-{day:02}"),
            1 => format!("{month}/{day}/{year}"),
            _ => format!("{day:02}.{month:02}.{year}"),
        }
    }),
    ("ip", |random| {
        let mut part = || 11 + random.below(240);
        format!("{}.{}.{}.{}", part(), part(), part(), part())
    }),
    ("ip", |random| {
        let groups: Vec<String> = (0..8).map(|_| random.text("123456789abcdef", 4)).collect();
        groups.join(":")
    }),
    ("mac", |random| {
        let pairs: Vec<String> = (0..6).map(|_| random.text(HEX, 2)).collect();
        pairs.join(random.pick(&[":", "-"]))
    }),
    // Personal numbers.
    ("nhs_number", |random| {
        passing(random, "### ### ####", "uk-nhs")
    }),
    ("social_insurance_sin", |random| {
        passing(random, "###-###-###", "ca-sin")
    }),
    ("tfn", |random| passing(random, "### ### ###", "au-tfn")),
    ("medicare", |random| {
        passing(random, "2### ##### #", "au-medicare")
    }),
    ("steuer_id", |random| {
        passing(random, "## ### ### ###", "de-steuer-id")
    }),
    ("nir", |random| {
        passing(random, "1 8# 0# 75 ### ### ##", "fr-nir")
    }),
    ("dni", |random| passing(random, "########^", "es-dni")),
    ("codice_fiscale", |random| {
        passing(random, "^^^^^^8#T1#A###^", "it-codice-fiscale")
    }),
    ("bsn", |random| passing(random, "#########", "nl-bsn")),
    ("rijksregisternummer", |random| {
        passing(random, "8#.0#.1#-###.##", "be-national-number")
    }),
    ("pesel", |random| passing(random, "8#0#1######", "pl-pesel")),
    ("personnummer", |random| {
        passing(random, "198#0#1#-####", "se-personnummer")
    }),
    ("hetu", |random| passing(random, "1#0#8#-###^", "fi-hetu")),
    ("fodselsnummer", |random| {
        passing(random, "1#0#8######", "no-fodselsnummer")
    }),
    ("cpr", |random| passing(random, "1#0#8#-####", "dk-cpr")),
    ("cpf", |random| passing(random, "###.###.###-##", "br-cpf")),
    ("cnpj", |random| {
        passing(random, "##.###.###/0001-##", "br-cnpj")
    }),
    ("aadhaar", |random| {
        passing(random, "#### #### ####", "in-aadhaar")
    }),
    ("resident_id", |random| {
        passing(random, "11010519##0#1#####", "cn-resident-id")
    }),
    ("rrn", |random| passing(random, "8#0#1#-1######", "kr-rrn")),
    ("nric", |random| passing(random, "S#######^", "sg-nric")),
    ("identity_number", |random| {
        passing(random, "8#0#1#####08#", "za-id")
    }),
    ("tckn", |random| passing(random, "###########", "tr-tckn")),
    ("nif", |random| passing(random, "2########", "pt-nif")),
    ("ahv", |random| {
        passing(random, "756.####.####.##", "ch-ahv")
    }),
    // What opens something.
    // Without a digit nothing but a sentence would tell it from a word.
    ("password", |random| {
        random.text(ALNUM, 7) + &random.shape("#") + &random.text(ALNUM, 6)
    }),
    ("api_key", |random| random.text(ALNUM, 32)),
    ("client_secret", |random| random.text(HEX, 40)),
    ("aws_secret_access_key", |random| {
        random.text(ALNUM, 16) + "/" + &random.text(BASE64, 23)
    }),
];

/// Prefix, alphabet and length of tokens that tell themselves.
const TOKENS: &[(&str, &str, usize)] = &[
    ("AKIA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
    ("AIza", TOKEN, 35),
    ("ghp_", ALNUM, 36),
    ("gho_", ALNUM, 36),
    ("ghs_", ALNUM, 36),
    ("github_pat_", ALNUM, 82),
    ("glpat-", TOKEN, 20),
    ("xoxb-", "0123456789", 24),
    ("sk_live_", ALNUM, 24),
    ("rk_live_", ALNUM, 24),
    ("sk-proj-", TOKEN, 74),
    ("sk-ant-api03-", TOKEN, 93),
    ("npm_", ALNUM, 36),
    ("pypi-AgEIcHlwaS5vcmc", TOKEN, 120),
    ("hf_", ALNUM, 34),
    ("SG.abcdefghijklmnopqrstuv.", TOKEN, 43),
    ("dop_v1_", HEX, 64),
    ("hvs.", TOKEN, 90),
];

/// How many kinds there are.
pub fn kinds() -> usize {
    KINDS.len() + TOKENS.len() + 4
}

/// A new secret of a kind.
pub fn secret(kind: usize, random: &mut Random) -> Secret {
    let tokens = kind.checked_sub(KINDS.len());
    let Some(token) = tokens else {
        let (label, make) = KINDS[kind];
        let text = make(random);
        return Secret {
            label,
            hidden: text.clone(),
            text,
        };
    };
    if let Some(&(prefix, alphabet, len)) = TOKENS.get(token) {
        let hidden = random.text(alphabet, len);
        return Secret {
            label: "note",
            text: format!("{prefix}{hidden}"),
            hidden,
        };
    }
    match token - TOKENS.len() {
        0 => {
            let hidden = random.text(TOKEN, 60);
            let header = ["eyJhbGciOiJIUzI1NiIs", "InR5cCI6IkpXVCJ9"].concat();
            Secret {
                label: "note",
                text: format!("{header}.eyJ{}.{hidden}", random.text(ALNUM, 40)),
                hidden,
            }
        }
        1 => {
            let hidden = random.text(ALNUM, 16);
            let scheme = random.pick(&["postgres", "mysql", "mongodb+srv", "redis", "amqp"]);
            Secret {
                label: "note",
                text: format!("{scheme}://app:{hidden}@db.internal:5432/orders"),
                hidden,
            }
        }
        2 => {
            let hidden = random.text(ALNUM, 16);
            Secret {
                label: "note",
                text: format!("https://deploy:{hidden}@git.internal/repo"),
                hidden,
            }
        }
        _ => {
            let hidden = random.text(BASE64, 64);
            let dashes = "-".repeat(5);
            let name = random.pick(&[
                "RSA PRIVATE KEY",
                "PRIVATE KEY",
                "OPENSSH PRIVATE KEY",
                "EC PRIVATE KEY",
            ]);
            let body: Vec<String> = (0..6)
                .map(|_| random.text(BASE64, 64))
                .chain([hidden.clone()])
                .collect();
            Secret {
                label: "note",
                text: format!(
                    "{dashes}BEGIN {name}{dashes}\n{}\n{dashes}END {name}{dashes}",
                    body.join("\n")
                ),
                hidden,
            }
        }
    }
}

fn email(random: &mut Random) -> String {
    let letters = "abcdefghijklmnopqrstuvwxyz0123456789";
    let name = random.text(letters, 6);
    let separator = random.pick(&[".", "_", "-", "+", ""]);
    let domain = random.pick(&["com", "co.uk", "io", "de", "museum"]);
    format!(
        "q{name}{separator}{}@{}.{domain}",
        random.text(letters, 4),
        random.text("bcdfghjklm", 9)
    )
}

/// Fills the shape until the check passes.
fn passing(random: &mut Random, shape: &str, check: &str) -> String {
    let check = Validator::named(check).unwrap();
    loop {
        let text = random.shape(shape);
        if check.passes(text.as_bytes()) {
            return text;
        }
    }
}
