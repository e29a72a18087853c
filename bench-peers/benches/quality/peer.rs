//! The peer's rules: what its documentation offers for the same classes, with its validators.

use std::sync::Arc;

use dd_sds::{
    MatchAction, RegexRuleConfig, RootRuleConfig, RuleConfig, Scanner, SecondaryValidator,
};

use crate::score::Finding;

/// Class, pattern, words of which one must be near, validator.
type Rule = (
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<SecondaryValidator>,
);

/// A scanner for the classes that the labelled data has.
pub struct Peer {
    scanner: Scanner,
    classes: Vec<&'static str>,
}

impl Peer {
    /// Compiles the rules.
    ///
    /// # Errors
    ///
    /// What the peer says of a rule.
    pub fn new() -> anyhow::Result<Self> {
        let rules = rules();
        let configs: Vec<RootRuleConfig<Arc<dyn RuleConfig>>> = rules
            .iter()
            .map(|(class, pattern, keywords, validator)| {
                let mut rule = RegexRuleConfig::new(pattern).with_validator(validator.clone());
                if !keywords.is_empty() {
                    rule = rule.with_included_keywords(*keywords);
                }
                RootRuleConfig::new(rule.build())
                    .match_action(MatchAction::redact(&format!("[{class}]")))
            })
            .collect();
        let scanner = Scanner::builder(&configs)
            .build()
            .map_err(|error| anyhow::anyhow!("the peer refuses a rule: {error:?}"))?;
        Ok(Self {
            scanner,
            classes: rules.iter().map(|rule| rule.0).collect(),
        })
    }

    /// Masks a text and gives what was found, in places of the text as it was.
    ///
    /// # Errors
    ///
    /// What the peer says.
    pub fn mask(&self, text: &mut String) -> anyhow::Result<Vec<Finding>> {
        let found = self
            .scanner
            .scan(text)
            .map_err(|error| anyhow::anyhow!("the peer fails: {error:?}"))?;
        let mut shift = 0;
        let findings = found.iter().map(|found| {
            // Places are those in the masked text, before and after this match.
            let start = found.start_index as isize - shift;
            shift = found.shift_offset;
            let end = found.end_index_exclusive as isize - shift;
            (
                self.classes[found.rule_index].to_owned(),
                start as usize..end as usize,
            )
        });
        Ok(findings.collect())
    }
}

/// The expressions of the rules, for one that knows nothing else.
#[allow(dead_code, reason = "the bench of quality has no use for it")]
pub fn patterns() -> Vec<&'static str> {
    rules().into_iter().map(|(_, pattern, ..)| pattern).collect()
}

fn rules() -> Vec<Rule> {
    vec![
        (
            "CARD",
            r"\b(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|6(?:011|5\d{2}|2\d{2})|3[47]\d{2}|3(?:0[0-5]|[689]\d)\d|35\d{2}|50\d{2}|5[6-8]\d{2}|67\d{2}|2131|1800)(?:[ -]?\d){8,15}\b",
            &[],
            Some(SecondaryValidator::LuhnChecksum),
        ),
        (
            "IBAN",
            r"(?i)\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}\b",
            &[],
            Some(SecondaryValidator::IbanChecker),
        ),
        (
            "US_SSN",
            r"\b(?:00[1-9]|0[1-9]\d|[1-578]\d{2}|6[0-57-9]\d|66[0-57-9])-\d{2}-\d{4}\b",
            &[],
            None,
        ),
        (
            "EMAIL",
            r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b",
            &[],
            None,
        ),
        (
            "IP_ADDRESS",
            r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b",
            &[],
            None,
        ),
        (
            "IP_ADDRESS",
            r"(?i)\b(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\b",
            &[],
            None,
        ),
        (
            "PHONE",
            r"(?:\+|\b00|\b001[-. ])?\(?\b\d{1,4}\)?[-. ]?\(?\d{2,4}\)?[-. ]?\d{2,4}(?:[-. ]?\d{2,4}){0,3}(?:x\d{1,6})?\b",
            &[
                "phone",
                "tel",
                "telephone",
                "mobile",
                "cell",
                "fax",
                "call",
                "office",
                "reach",
                "answering",
            ],
            None,
        ),
        (
            "DATE_OF_BIRTH",
            r"\b(?:\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}|\d{4}-\d{2}-\d{2})\b",
            &["birth", "born", "dob", "birthday"],
            None,
        ),
    ]
}
