//! What a policy adds to the built-in detectors.

use std::fmt;

use crate::validate;

/// A detector that a policy or a gitleaks rule file brings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// The name that findings carry.
    pub name: String,
    /// The class of what it finds, as in a placeholder: `EMPLOYEE_ID`. Upper case, digits and `_`.
    pub class: String,
    /// What to look for, in the syntax of the `regex` crate.
    pub pattern: String,
    /// The capture group that is the secret; 0 is the whole match.
    pub group: usize,
    /// One of these must be near, in any case. Empty: nothing is asked for.
    pub keywords: Vec<String>,
    /// What the secret must pass besides.
    pub validator: Option<Validator>,
    /// The least Shannon entropy of the secret, in bits per byte (0 to 8).
    pub entropy: Option<f64>,
    /// Globs of JSON paths (`messages.*.content`) or column names. Empty: anywhere.
    pub fields: Vec<String>,
    /// Regular expressions of secrets that are no finding.
    pub allow: Vec<String>,
    /// What to do with a finding, unless the configuration says otherwise for its class.
    pub action: Option<Action>,
}

/// What becomes of a secret.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Action {
    /// `[EMAIL:7f3a9c]`: the class, and a digest under the operator's key.
    #[default]
    Placeholder,
    /// `[EMAIL]`: the class alone.
    Full,
    /// `****1881`: one that is too short for that is masked in full.
    KeepLast4,
    /// Nothing is left.
    Drop,
    /// It stays as it is, and is a finding all the same.
    Allow,
}

/// A check that a secret of some format must pass: check digits, lengths, ranges.
#[derive(Clone, Copy)]
pub struct Validator {
    name: &'static str,
    check: fn(&[u8]) -> bool,
}

impl Validator {
    /// The validator of that name: `luhn`, `card`, `iban`, ...; `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        validate::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|&(name, check)| Self { name, check })
    }

    /// Its name in a policy.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether `value`, with the separators as they were found, passes.
    #[must_use]
    pub fn passes(&self, value: &[u8]) -> bool {
        (self.check)(value)
    }
}

impl PartialEq for Validator {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Validator({})", self.name)
    }
}
