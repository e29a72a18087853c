//! The rules that a policy brings.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Input, Span};

use crate::detect::{self, Found, Id, Shape, entropy};
use crate::json::Path;
use crate::masker::Error;
use crate::{Rule, Validator};

/// A keyword is near if it starts no more than so many bytes before the match.
const NEAR: usize = 256;
/// A match ends no more than so many bytes after the keyword is out of reach.
const LONGEST: usize = 4 << 10;
/// The most memory of one compiled expression, in bytes.
const SIZE_LIMIT: usize = 10 << 20;

/// What is wrong with a rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An expression does not compile.
    #[error("{0}")]
    Regex(Box<regex_automata::meta::BuildError>),
    /// An expression has no such group.
    #[error("the pattern has no group {0}")]
    Group(usize),
    /// A glob does not parse.
    #[error(transparent)]
    Glob(#[from] globset::Error),
    /// The expression matches where nothing is.
    #[error("the pattern matches the empty text")]
    Empty,
}

/// All rules, compiled.
#[derive(Default)]
pub(crate) struct Custom {
    rules: Vec<Compiled>,
    keywords: Option<Keywords>,
}

/// The keywords of all rules: a rule file has hundreds, of which few are in a text.
struct Keywords {
    automaton: AhoCorasick,
    /// By pattern of the automaton, the place of its rule.
    rules: Vec<usize>,
}

struct Compiled {
    regex: Regex,
    group: usize,
    /// Any of the keywords, in any case.
    keywords: Option<Regex>,
    validator: Option<Validator>,
    entropy: Option<f64>,
    fields: Option<GlobSet>,
    allow: Option<Regex>,
}

impl Custom {
    pub(crate) fn compile(rules: &[Rule]) -> Result<Self, Error> {
        let compile = |rule: &Rule| {
            Compiled::new(rule).map_err(|problem| Error::BadRule {
                rule: rule.name.clone(),
                problem,
            })
        };
        Ok(Self {
            rules: rules.iter().map(compile).collect::<Result<_, _>>()?,
            keywords: Keywords::new(rules),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a rule asks where in a document its finding is.
    pub(crate) fn needs_path(&self) -> bool {
        self.rules.iter().any(|rule| rule.fields.is_some())
    }

    /// Whether the rule `id` asks where in a document its finding is.
    pub(crate) fn asks_path(&self, id: Id) -> bool {
        self.rule(id).is_some_and(|rule| rule.fields.is_some())
    }

    /// Whether a finding of the rule `id` counts at `path`.
    pub(crate) fn applies(&self, id: Id, path: &Path) -> bool {
        let fields = self.rule(id).and_then(|rule| rule.fields.as_ref());
        fields.is_none_or(|fields| fields.is_match(path.whole()) || fields.is_match(path.name()))
    }

    fn rule(&self, id: Id) -> Option<&Compiled> {
        self.rules.get(id.checked_sub(detect::custom(0))?)
    }

    /// Finds what starts in `owned`.
    pub(crate) fn look(
        &self,
        text: &[u8],
        at_end: bool,
        owned: Range<usize>,
        found: &mut Vec<Found>,
    ) {
        let mut wanted: Vec<_> = self
            .rules
            .iter()
            .map(|rule| rule.keywords.is_none())
            .collect();
        match &self.keywords {
            Some(keywords) => keywords.mark(&text[owned.start.saturating_sub(NEAR)..], &mut wanted),
            None => wanted.fill(true),
        }
        for (i, rule) in self.rules.iter().enumerate().filter(|&(i, _)| wanted[i]) {
            let mut at = owned.start;
            while let Some(region) = rule.region(text, at, owned.end) {
                rule.matches(text, region, |secret| {
                    let open = secret.end == text.len() && !at_end;
                    found.push(Found {
                        start: secret.start,
                        end: secret.end,
                        id: detect::custom(i),
                        open: open.then_some(Shape::Token),
                        inner: None,
                    });
                });
                at = region.end;
            }
        }
    }
}

impl Keywords {
    /// None if they are more than an automaton can hold: then each rule looks for itself.
    fn new(rules: &[Rule]) -> Option<Self> {
        let by_rule = rules.iter().enumerate();
        let (places, keywords): (Vec<_>, Vec<_>) = by_rule
            .flat_map(|(i, rule)| rule.keywords.iter().map(move |keyword| (i, keyword)))
            .filter(|(_, keyword)| !keyword.is_empty())
            .unzip();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(keywords)
            .ok()?;
        Some(Self {
            automaton,
            rules: places,
        })
    }

    /// Sets `wanted` for the rules of which a keyword is in `text`.
    fn mark(&self, text: &[u8], wanted: &mut [bool]) {
        for found in self.automaton.find_overlapping_iter(text) {
            wanted[self.rules[found.pattern().as_usize()]] = true;
        }
    }
}

impl Compiled {
    fn new(rule: &Rule) -> Result<Self, Problem> {
        let regex = regex(&[rule.pattern.as_str()])?;
        if rule.group
            >= regex
                .group_info()
                .group_len(regex_automata::PatternID::ZERO)
        {
            return Err(Problem::Group(rule.group));
        }
        if regex.is_match("") {
            return Err(Problem::Empty);
        }
        let keywords: Vec<_> = rule
            .keywords
            .iter()
            .filter(|keyword| !keyword.is_empty())
            .map(|keyword| format!("(?i){}", regex_syntax::escape(keyword)))
            .collect();
        let mut fields = GlobSetBuilder::new();
        for field in &rule.fields {
            fields.add(GlobBuilder::new(field).case_insensitive(true).build()?);
        }
        let some = |patterns: &[String]| match patterns {
            [] => Ok(None),
            patterns => self::regex(patterns).map(Some),
        };
        Ok(Self {
            regex,
            group: rule.group,
            keywords: some(&keywords)?,
            validator: rule.validator,
            entropy: rule.entropy,
            fields: match rule.fields.as_slice() {
                [] => None,
                _ => Some(fields.build()?),
            },
            allow: some(&rule.allow)?,
        })
    }

    /// The next part of `from..to` in which a match may start.
    fn region(&self, text: &[u8], from: usize, to: usize) -> Option<Span> {
        if from >= to {
            return None;
        }
        let Some(keywords) = &self.keywords else {
            return Some(Span {
                start: from,
                end: to,
            });
        };
        // A keyword may stand before the match, or in it.
        let back = from.saturating_sub(NEAR);
        let near = keywords.search(&Input::new(text).span(back..text.len()))?;
        let start = near.start().saturating_sub(NEAR).max(from);
        let end = (near.start() + NEAR).max(start + 1).min(to);
        (start < to).then_some(Span { start, end })
    }

    /// Calls `report` with each secret whose match starts in `region`.
    fn matches(&self, text: &[u8], region: Span, mut report: impl FnMut(Span)) {
        let mut captures = self.regex.create_captures();
        let mut at = region.start;
        let limit = text.len().min(region.end + LONGEST);
        while at < region.end {
            let input = Input::new(text).span(at..limit);
            self.regex.search_captures(&input, &mut captures);
            let Some(whole) = captures.get_match() else {
                return;
            };
            if whole.start() >= region.end {
                return;
            }
            at = whole.end().max(at + 1);
            let Some(secret) = captures.get_group(self.group) else {
                continue;
            };
            if self.accepts(&text[secret.start..secret.end]) {
                report(secret);
            }
        }
    }

    fn accepts(&self, secret: &[u8]) -> bool {
        !secret.is_empty()
            && self.entropy.is_none_or(|least| entropy(secret) >= least)
            && self
                .validator
                .is_none_or(|validator| validator.passes(secret))
            && !self
                .allow
                .as_ref()
                .is_some_and(|allow| allow.is_match(secret))
    }
}

/// One expression of several, over bytes.
fn regex<P: AsRef<str>>(patterns: &[P]) -> Result<Regex, Problem> {
    Regex::builder()
        .configure(
            Regex::config()
                .utf8_empty(false)
                .nfa_size_limit(Some(SIZE_LIMIT))
                .hybrid(false)
                .onepass(false),
        )
        .syntax(syntax::Config::new().utf8(false))
        .build_many(patterns)
        .map_err(|error| Problem::Regex(Box::new(error)))
}
