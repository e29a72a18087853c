//! Reads a gitleaks rule file (TOML, as of gitleaks 8) into [`Rule`]s.
//!
//! gitleaks looks at files, the engine at streams: what asks for a path or a commit cannot hold
//! here. Where a part cannot be kept, more is masked than gitleaks would report, never less, and
//! the part is told in [`RuleFile::notes`]; a rule that cannot be kept at all is told in
//! [`RuleFile::refused`].

mod re2;

use std::collections::BTreeMap;
use std::fmt;

use regex_syntax::hir::{Hir, HirKind};
use serde::Deserialize;

use crate::rule::Rule;

pub use re2::Unsupported;

/// A rule file as far as it applies to streams.
#[derive(Debug, Default)]
pub struct RuleFile {
    /// One for each rule of the file that has a usable regular expression, in their order.
    pub rules: Vec<Rule>,
    /// The rules that are not applied.
    pub refused: Vec<Refused>,
    /// What is applied differently than gitleaks would.
    pub notes: Vec<Note>,
}

/// A rule that is not applied.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("rule {rule:?} is not applied: {reason}")]
pub struct Refused {
    /// Its `id`; its place in the file, from 1, if it has none.
    pub rule: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Why a rule is not applied.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// gitleaks refuses such a rule too.
    #[error("it has no id")]
    NoId,
    /// It reports files by their name.
    #[error("it looks at paths only, and a stream has none")]
    PathOnly,
    /// Neither `regex` nor `path`.
    #[error("it has no regex")]
    NoRegex,
    /// The regular expression cannot be translated.
    #[error(transparent)]
    Regex(#[from] Unsupported),
    /// `secretGroup` is beyond the groups of the regular expression.
    #[error("secretGroup is {group}, and the regex has {groups} groups")]
    SecretGroup {
        /// What the rule says.
        group: usize,
        /// How many there are.
        groups: usize,
    },
}

/// What is applied differently.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// The `id` of the rule; none if it is about the whole file.
    pub rule: Option<String>,
    /// What, and what follows from it.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "rule {rule:?}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// The file is no rule file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not TOML, or a value of the wrong type; the message has line and column where they are
    /// known.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
}

/// Reads the text of a rule file.
///
/// # Errors
///
/// If the text as a whole cannot be read. A single rule that cannot be is in [`RuleFile::refused`].
pub fn read(text: &str) -> Result<RuleFile, ReadError> {
    let table: toml::Table = text.parse()?;
    let file = File::deserialize(toml::Value::Table(lower_keys(table)))?;
    let mut read = RuleFile::default();
    for key in file.unknown.keys() {
        read.note(None, format!("{key} is not known, and not applied"));
    }
    if let Some(extend) = file.extend {
        let keys: Vec<&str> = extend.keys().map(String::as_str).collect();
        read.note(
            None,
            format!(
                "[extend] is not followed ({}): pass that file too",
                keys.join(", ")
            ),
        );
    }
    for (place, raw) in (1..).zip(file.rules) {
        let name = if raw.id.is_empty() {
            format!("number {place}")
        } else {
            raw.id.clone()
        };
        match read.rule(raw) {
            Ok(rule) => read.rules.push(rule),
            Err(reason) => read.refused.push(Refused { rule: name, reason }),
        }
    }
    for allow in file.allowlist.into_iter().chain(file.allowlists) {
        read.allow_everywhere(allow);
    }
    Ok(read)
}

impl RuleFile {
    fn rule(&mut self, raw: RawRule) -> Result<Rule, Reason> {
        if raw.id.is_empty() {
            return Err(Reason::NoId);
        }
        if raw.regex.is_empty() {
            return Err(if raw.path.is_empty() {
                Reason::NoRegex
            } else {
                Reason::PathOnly
            });
        }
        let (pattern, hir) = re2::translate(&raw.regex)?;
        let group = secret_group(raw.secretgroup, &hir)?;
        if !raw.path.is_empty() {
            self.note(
                Some(&raw.id),
                "its path is not asked for: it looks at every stream".to_owned(),
            );
        }
        if raw.required.is_some() {
            self.note(
                Some(&raw.id),
                "the rules that it requires are not asked for".to_owned(),
            );
        }
        for key in raw.unknown.keys() {
            self.note(
                Some(&raw.id),
                format!("{key} is not known, and not applied"),
            );
        }
        let mut rule = Rule {
            class: class(&raw.id),
            name: raw.id,
            pattern,
            group,
            keywords: raw.keywords,
            entropy: (raw.entropy > 0.0).then_some(raw.entropy),
            ..Rule::default()
        };
        // gitleaks asks a digit of these, as Go's expressions cannot.
        if rule.entropy.is_some() && rule.name.starts_with("generic") {
            rule.allow.push(r"\A[^0-9]*\z".to_owned());
        }
        for allow in raw.allowlist.into_iter().chain(raw.allowlists) {
            match Allowed::new(allow, rule.group == 0) {
                Ok(allowed) => {
                    let name = rule.name.clone();
                    allowed
                        .notes
                        .into_iter()
                        .for_each(|text| self.note(Some(&name), text));
                    rule.allow.extend(allowed.patterns);
                }
                Err(text) => self.note(Some(&rule.name), text),
            }
        }
        Ok(rule)
    }

    /// Adds a list of the whole file to its rules.
    fn allow_everywhere(&mut self, allow: RawAllow) {
        let targets = allow.targetrules.clone();
        for id in &targets {
            if !self.rules.iter().any(|rule| rule.name == *id) {
                self.note(
                    None,
                    format!("an allow list is for rule {id:?}, which is not applied"),
                );
            }
        }
        // Whether match and secret are the same differs by rule; the file's own list never looks at
        // a match.
        match Allowed::new(allow, false) {
            Ok(allowed) => {
                allowed
                    .notes
                    .into_iter()
                    .for_each(|text| self.note(None, text));
                for rule in &mut self.rules {
                    if targets.is_empty() || targets.contains(&rule.name) {
                        rule.allow.extend(allowed.patterns.iter().cloned());
                    }
                }
            }
            Err(text) => self.note(None, text),
        }
    }

    fn note(&mut self, rule: Option<&str>, text: String) {
        self.notes.push(Note {
            rule: rule.map(str::to_owned),
            text,
        });
    }
}

/// What an allow list comes to: patterns of which one in a secret makes it no finding.
struct Allowed {
    patterns: Vec<String>,
    notes: Vec<String>,
}

impl Allowed {
    /// None of it, with the reason, if it cannot be kept.
    fn new(raw: RawAllow, match_is_secret: bool) -> Result<Self, String> {
        let mut notes: Vec<String> = raw
            .unknown
            .keys()
            .map(|key| format!("{key} of an allow list is not known"))
            .collect();
        let has_place = !raw.paths.is_empty() || !raw.commits.is_empty();
        match raw.condition.to_ascii_uppercase().as_str() {
            "AND" | "&&" if has_place => {
                return Err("an allow list asks for a path or a commit too: not applied".to_owned());
            }
            "AND" | "&&" if !raw.regexes.is_empty() && !raw.stopwords.is_empty() => {
                return Err(
                    "an allow list asks for a regex and a stop word: not applied".to_owned(),
                );
            }
            "AND" | "&&" | "OR" | "||" | "" => {}
            other => {
                return Err(format!(
                    "an allow list has the condition {other:?}: not applied"
                ));
            }
        }
        if has_place {
            notes.push("an allow list of paths or commits is not applied".to_owned());
        }
        let mut patterns = Vec::new();
        match raw.regextarget.as_str() {
            "" | "secret" => patterns = raw.regexes,
            "match" if match_is_secret => patterns = raw.regexes,
            target if raw.regexes.is_empty() => {
                notes.push(format!("regexTarget {target:?} has no regexes"));
            }
            target => notes.push(format!("an allow list looks at the {target}: not applied")),
        }
        let translated = patterns
            .iter()
            .filter_map(|pattern| match re2::translate(pattern) {
                Ok((pattern, _)) => Some(pattern),
                Err(error) => {
                    notes.push(format!(
                        "{pattern:?} of an allow list is not applied: {error}"
                    ));
                    None
                }
            });
        let mut patterns: Vec<String> = translated.collect();
        let words: Vec<String> = raw
            .stopwords
            .iter()
            .filter(|word| !word.is_empty())
            .map(|word| regex_syntax::escape(word))
            .collect();
        if !words.is_empty() {
            patterns.push(format!("(?i-u:{})", words.join("|")));
        }
        Ok(Self { patterns, notes })
    }
}

/// The group that is the secret. Without `secretGroup` gitleaks takes the first that is not empty;
/// where that is not surely the first of all, or leaves another group outside, the whole match is
/// masked.
fn secret_group(said: usize, hir: &Hir) -> Result<usize, Reason> {
    let groups = hir.properties().explicit_captures_len();
    match said {
        0 => Ok(usize::from(holds_all_groups(hir, groups))),
        group if group <= groups => Ok(group),
        group => Err(Reason::SecretGroup { group, groups }),
    }
}

/// Whether group 1 takes part in every match, is not empty, and has the other groups in it.
fn holds_all_groups(hir: &Hir, groups: usize) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => {
            let inner = capture.sub.properties();
            inner.explicit_captures_len() + 1 == groups && inner.minimum_len() > Some(0)
        }
        HirKind::Concat(parts) => parts.iter().any(|part| holds_all_groups(part, groups)),
        _ => false,
    }
}

/// `aws-access-token` as `AWS_ACCESS_TOKEN`.
fn class(id: &str) -> String {
    let upper = |char: char| {
        if char.is_ascii_alphanumeric() {
            char.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    id.chars().map(upper).collect()
}

/// gitleaks does not tell upper from lower case in keys.
fn lower_keys(table: toml::Table) -> toml::Table {
    fn lower(value: toml::Value) -> toml::Value {
        match value {
            toml::Value::Table(table) => toml::Value::Table(lower_keys(table)),
            toml::Value::Array(items) => items.into_iter().map(lower).collect::<Vec<_>>().into(),
            other => other,
        }
    }
    table
        .into_iter()
        .map(|(key, value)| (key.to_ascii_lowercase(), lower(value)))
        .collect()
}

type Unknown = BTreeMap<String, toml::Value>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "description")]
    _description: String,
    #[serde(rename = "minversion")]
    _min_version: String,
    extend: Option<toml::Table>,
    rules: Vec<RawRule>,
    allowlist: Option<RawAllow>,
    allowlists: Vec<RawAllow>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRule {
    id: String,
    #[serde(rename = "description")]
    _description: String,
    regex: String,
    path: String,
    entropy: f64,
    secretgroup: usize,
    keywords: Vec<String>,
    #[serde(rename = "tags")]
    _tags: Vec<String>,
    required: Option<toml::Value>,
    allowlist: Option<RawAllow>,
    allowlists: Vec<RawAllow>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawAllow {
    #[serde(rename = "description")]
    _description: String,
    condition: String,
    regextarget: String,
    regexes: Vec<String>,
    stopwords: Vec<String>,
    paths: Vec<String>,
    commits: Vec<String>,
    targetrules: Vec<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[cfg(test)]
mod tests;
