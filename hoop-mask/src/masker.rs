//! The configuration, and what is made of it.

use std::sync::Arc;

use crate::custom::{Custom, Problem};
use crate::detect::{self, CORE, Core, Id, NATIONAL, Normal, VENDORS};
use crate::engine::Engine;
use crate::key::Digest;
use crate::stream::Stream;
use crate::{Action, Finding, Key, Masked, Rule, Via};

/// What to look for and what to do with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The classes of the built-in detectors that are asked for; `None`: all of them.
    pub detectors: Option<Vec<String>>,
    /// Rules besides them.
    pub rules: Vec<Rule>,
    /// Actions by class, before those of a rule; a class without one gets a placeholder.
    pub actions: Vec<(String, Action)>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No detector and no rule finds this class.
    #[error("unknown class {0:?}; see `hoop_mask::classes`")]
    UnknownClass(String),
    /// A class cannot stand in a placeholder.
    #[error("rule {rule:?}: the class {class:?} is not upper-case letters, digits and `_`")]
    BadClass {
        /// The rule.
        rule: String,
        /// Its class.
        class: String,
    },
    /// An expression or glob of a rule does not parse, or is too large.
    #[error("rule {rule:?}: {problem}")]
    BadRule {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        #[source]
        problem: Problem,
    },
}

/// The classes of the built-in detectors, each once, sorted.
#[must_use]
pub fn classes() -> Vec<&'static str> {
    let mut classes: Vec<_> = builtin().map(|spec| spec.class).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

fn builtin() -> impl Iterator<Item = &'static detect::Spec> {
    CORE.iter()
        .chain(NATIONAL)
        .chain(VENDORS.iter().map(|vendor| &vendor.spec))
}

/// One detector as configured.
pub(crate) struct Entry {
    pub(crate) class: Arc<str>,
    pub(crate) rule: Arc<str>,
    pub(crate) action: Action,
    pub(crate) rank: u8,
    normal: Normal,
}

/// Finds and masks. It is immutable: threads share it.
pub struct Masker {
    key: Key,
    entries: Vec<Entry>,
    /// By [`Id`].
    pub(crate) enabled: Vec<bool>,
    pub(crate) custom: Custom,
}

impl Masker {
    /// Compiles a configuration.
    ///
    /// # Errors
    ///
    /// A class that nothing finds, or a rule that does not compile.
    pub fn new(config: &Config, key: Key) -> Result<Self, Error> {
        let known = |class: &str| {
            builtin().any(|spec| spec.class == class)
                || config.rules.iter().any(|rule| rule.class == class)
        };
        let named = config.detectors.iter().flatten();
        for class in named.chain(config.actions.iter().map(|(class, _)| class)) {
            if !known(class) {
                return Err(Error::UnknownClass(class.clone()));
            }
        }
        for rule in &config.rules {
            let fits =
                |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            if rule.class.is_empty() || !rule.class.bytes().all(fits) {
                return Err(Error::BadClass {
                    rule: rule.name.clone(),
                    class: rule.class.clone(),
                });
            }
        }
        let action = |class: &str| {
            let given = config.actions.iter().rev().find(|(of, _)| of == class);
            given.map(|&(_, action)| action)
        };
        let mut entries: Vec<_> = builtin()
            .map(|spec| Entry {
                class: spec.class.into(),
                rule: spec.rule.into(),
                action: action(spec.class).unwrap_or_default(),
                rank: spec.rank,
                normal: spec.normal,
            })
            .collect();
        let mut enabled: Vec<_> = entries
            .iter()
            .map(|entry| match &config.detectors {
                None => true,
                Some(classes) => classes.iter().any(|class| **class == *entry.class),
            })
            .collect();
        for rule in &config.rules {
            entries.push(Entry {
                class: rule.class.as_str().into(),
                rule: rule.name.as_str().into(),
                action: action(&rule.class).or(rule.action).unwrap_or_default(),
                rank: 0,
                normal: Normal::Exact,
            });
            enabled.push(true);
        }
        Ok(Self {
            key,
            entries,
            enabled,
            custom: Custom::compile(&config.rules)?,
        })
    }

    /// The key's id.
    #[must_use]
    pub fn key_id(&self) -> &str {
        self.key.id()
    }

    /// Masks `input`.
    #[must_use]
    pub fn mask(&self, input: &[u8]) -> Masked {
        let mut masked = Masked {
            // What stands for short secrets is longer than they are; room that is not used costs nothing.
            bytes: Vec::with_capacity(input.len() + input.len() / 16),
            findings: Vec::new(),
        };
        self.mask_into(input, &mut masked.bytes, &mut masked.findings);
        masked
    }

    /// Masks text; what is no finding stays valid UTF-8.
    #[must_use]
    pub fn mask_str(&self, input: &str) -> (String, Vec<Finding>) {
        let masked = self.mask(input.as_bytes());
        let text = String::from_utf8(masked.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        (text, masked.findings)
    }

    /// Masks `input` and appends the output and the findings.
    pub fn mask_into(&self, input: &[u8], output: &mut Vec<u8>, findings: &mut Vec<Finding>) {
        Engine::default().run(self, input, 0, true, output, findings);
    }

    /// Masks text that comes in pieces, as if it came whole.
    #[must_use]
    pub fn stream(self: &Arc<Self>) -> Stream {
        Stream::new(Arc::clone(self))
    }

    /// Masks the value of a field, a column or a header: its name is context for what it holds.
    #[must_use]
    pub fn mask_field(&self, name: &str, value: &[u8]) -> Masked {
        let mut masked = Masked::default();
        Engine::field(self, name, value, &mut masked);
        masked
    }

    pub(crate) fn entry(&self, id: Id) -> &Entry {
        &self.entries[id]
    }

    /// The detector that takes the whole value of a field of that name.
    pub(crate) fn secret_field(&self, name: &str) -> Option<Id> {
        let core: Core = detect::secret_field(name.as_bytes())?;
        let id = core as Id;
        self.enabled[id].then_some(id)
    }

    /// The digest of a value that `id` found.
    pub(crate) fn digest(&self, id: Id, value: &[u8]) -> [u8; 3] {
        let entry = &self.entries[id];
        let mut digest = self.digest_of(id);
        match entry.normal {
            Normal::Exact => digest.update(value),
            Normal::Lower => digest.update(&value.to_ascii_lowercase()),
            Normal::Compact => {
                let compact: Vec<_> = value
                    .iter()
                    .filter(|byte| byte.is_ascii_alphanumeric())
                    .map(u8::to_ascii_lowercase)
                    .collect();
                digest.update(&compact);
            }
        }
        digest.finish()
    }

    /// The digest of a value of `id` that comes in parts.
    pub(crate) fn digest_of(&self, id: Id) -> Digest {
        self.key.digest(&self.entries[id].class)
    }

    /// Appends what stands for a value: its class and `digest`, or what its action leaves of it.
    pub(crate) fn replace(
        &self,
        id: Id,
        digest: [u8; 3],
        tail: Option<[u8; 4]>,
        output: &mut Vec<u8>,
    ) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let entry = &self.entries[id];
        let class = entry.class.as_bytes();
        match (entry.action, tail) {
            (Action::Placeholder, _) => {
                output.push(b'[');
                output.extend_from_slice(class);
                output.push(b':');
                for byte in digest {
                    output.push(HEX[usize::from(byte >> 4)]);
                    output.push(HEX[usize::from(byte & 15)]);
                }
                output.push(b']');
            }
            (Action::KeepLast4, Some(tail)) => {
                output.extend_from_slice(b"****");
                output.extend_from_slice(&tail);
            }
            (Action::Full | Action::KeepLast4, _) => {
                output.push(b'[');
                output.extend_from_slice(class);
                output.push(b']');
            }
            (Action::Drop | Action::Allow, _) => {}
        }
    }

    pub(crate) fn finding(
        &self,
        id: Id,
        range: std::ops::Range<u64>,
        via: Via,
        masked_len: usize,
    ) -> Finding {
        let entry = &self.entries[id];
        Finding {
            class: Arc::clone(&entry.class),
            rule: Arc::clone(&entry.rule),
            start: range.start,
            end: range.end,
            action: entry.action,
            via,
            masked_len,
        }
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker")
            .field("key", &self.key)
            .field("detectors", &self.entries.len())
            .finish_non_exhaustive()
    }
}
