//! The patterns of exec rules: globs over paths, regular expressions over command lines.

use globset::GlobBuilder;
use regex_syntax::ast;
use regex_syntax::hir::{Class, Hir, HirKind, Repetition};
use regex_syntax::{Error, ParserBuilder};

use super::automaton::{Automaton, Subject};
use crate::policy::fields::Wrong;

/// A glob over resolved paths, or a regular expression over command lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The pattern as written.
    pub text: String,
    /// As a regular expression over bytes.
    pub(super) hir: Hir,
}

impl Pattern {
    /// Reads a glob over resolved paths: `*` and `?` stay within a component, `**` does not,
    /// `[a-z]` and `{a,b}` are alternatives, `\` escapes. Bytes, not characters; case matters.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the next step.
    pub fn glob(text: &str) -> Result<Self, (String, String)> {
        let glob = glob(text).map_err(|error| {
            (
                format!("`{}` is not a glob: {}", text.escape_debug(), error.kind()),
                "`*` and `?` match within a component, `**` across, `[a-z]` and `{a,b}` \
                 alternatives; escape with `\\`"
                    .to_owned(),
            )
        })?;
        Ok(Self {
            text: text.to_owned(),
            hir: parse(glob.regex())?,
        })
    }

    /// Reads a regular expression over command lines. It is searched for anywhere in the line;
    /// `^` and `$` are the line's begin and end. ASCII only: `\w`, `\d`, `\s`, `\b` and `(?i)`
    /// know no other letters. `.` matches every byte.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the next step.
    pub fn regex(text: &str) -> Result<Self, (String, String)> {
        let hir = parse(text)?;
        if hir.properties().look_set().contains_word_unicode() {
            return Err((
                "a Unicode word boundary is not supported".to_owned(),
                "write `\\b` outside of `(?u)`; it then knows ASCII letters, digits and `_`"
                    .to_owned(),
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            hir,
        })
    }

    /// The parts of a pattern that is searched for, which `.*` separates, as far as each can be
    /// found on its own: text matches the whole exactly if it has the parts one after another.
    ///
    /// That is so unless a part can end inside the next one: `ab` and `bc` of `ab.*bc` are both
    /// in `abc`. Such parts stay together.
    pub(super) fn parts(&self) -> Vec<Hir> {
        let mut hir = &self.hir;
        while let HirKind::Capture(capture) = hir.kind() {
            hir = &capture.sub;
        }
        let HirKind::Concat(items) = hir.kind() else {
            return vec![hir.clone()];
        };
        // Nothing is lost with `.*` at the ends, or twice.
        let runs = items
            .split(is_any_run)
            .filter(|run| !run.is_empty())
            .map(|run| Hir::concat(run.to_vec()));
        let mut parts: Vec<Hir> = Vec::new();
        for mut part in runs {
            // What it is joined with may be too close to the one before that.
            while let Some(last) = parts.pop_if(|last| !are_apart(last, &part)) {
                part = Hir::concat(vec![last, any_run(), part]);
            }
            parts.push(part);
        }
        if parts.is_empty() {
            parts.push(Hir::empty());
        }
        parts
    }
}

/// The glob with the options that paths have everywhere in a policy.
pub(super) fn glob(text: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()
}

fn parse(text: &str) -> Result<Hir, Wrong> {
    let parsed = ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .nest_limit(50)
        .build()
        .parse(text);
    parsed.map_err(|error| {
        let (what, at, help) = match &error {
            Error::Parse(error) => {
                let help = match error.kind() {
                    ast::ErrorKind::UnsupportedLookAround => {
                        "write two rules: deny beats allow, so an allow rule can leave out what a \
                         deny rule has"
                    }
                    ast::ErrorKind::UnsupportedBackreference => "write the text out",
                    _ => "the syntax is that of https://docs.rs/regex; quote the value with '...'",
                };
                (error.kind().to_string(), error.span().start.column, help)
            }
            Error::Translate(error) => (
                error.kind().to_string(),
                error.span().start.column,
                "patterns are over bytes: write characters beyond ASCII outside of `[...]`, and \
                 classes like `\\w` without `(?u)`",
            ),
            error => (error.to_string(), 1, "write a simpler pattern"),
        };
        (
            format!(
                "`{}` is not a regular expression: {what}, at its character {at}",
                text.escape_debug()
            ),
            help.to_owned(),
        )
    })
}

/// Whether this is `.*`, greedy or not.
fn is_any_run(hir: &Hir) -> bool {
    let HirKind::Repetition(repetition) = hir.kind() else {
        return false;
    };
    let is_any = match repetition.sub.kind() {
        HirKind::Class(Class::Bytes(class)) => {
            matches!(class.ranges(), [all] if (all.start(), all.end()) == (0, u8::MAX))
        }
        _ => false,
    };
    is_any && repetition.min == 0 && repetition.max.is_none()
}

fn any_run() -> Hir {
    Hir::repetition(Repetition {
        min: 0,
        max: None,
        greedy: true,
        sub: Box::new(Hir::dot(regex_syntax::hir::Dot::AnyByte)),
    })
}

/// Whether no match of `one` can end strictly inside a match of `two`, and neither is empty.
fn are_apart(one: &Hir, two: &Hir) -> bool {
    let can_be_empty = |hir: &Hir| hir.properties().minimum_len() == Some(0);
    if can_be_empty(one) || can_be_empty(two) {
        return false;
    }
    let automaton = |hir, subject| Automaton::new(&[(0, without_looks(hir))], subject);
    match (
        automaton(one, Subject::CommandLine),
        automaton(two, Subject::Path),
    ) {
        (Ok(one), Ok(two)) => !one.ends_inside(&two),
        _ => false,
    }
}

/// The pattern without `^`, `$` and `\b`, which matches more.
fn without_looks(hir: &Hir) -> Hir {
    if hir.properties().look_set().is_empty() {
        return hir.clone();
    }
    match hir.kind() {
        HirKind::Look(_) => Hir::empty(),
        HirKind::Concat(items) => Hir::concat(items.iter().map(without_looks).collect()),
        HirKind::Alternation(items) => Hir::alternation(items.iter().map(without_looks).collect()),
        HirKind::Capture(capture) => without_looks(&capture.sub),
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            sub: Box::new(without_looks(&repetition.sub)),
            ..*repetition
        }),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => hir.clone(),
    }
}
