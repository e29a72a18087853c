//! Labelled texts, and how well findings meet the labels.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

/// A text and what is in it.
#[derive(Deserialize)]
pub struct Sample {
    /// The text.
    pub full_text: String,
    /// The labels.
    pub spans: Vec<Span>,
}

/// A label.
#[derive(Deserialize)]
pub struct Span {
    /// The class in the words of the data: `CREDIT_CARD`.
    pub entity_type: String,
    /// In characters.
    pub start_position: usize,
    /// In characters, exclusive.
    pub end_position: usize,
}

/// Reads a file of samples: a JSON array.
///
/// # Errors
///
/// If it cannot be read, or is something else.
pub fn read(path: &Path) -> anyhow::Result<Vec<Sample>> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// The class that a label of the data is to be found as; `None` for names, addresses and other
/// labels that are not looked for.
///
/// A date is looked for only as a date of birth, and a URL only if it holds credentials, as a time
/// or an address of the web says nothing of a person: these two are neither asked for nor errors.
#[must_use]
pub fn class_of(label: &str) -> Option<&'static str> {
    Some(match label {
        "CREDIT_CARD" => "CARD",
        "IBAN_CODE" => "IBAN",
        "US_SSN" => "US_SSN",
        "PHONE_NUMBER" => "PHONE",
        "EMAIL_ADDRESS" => "EMAIL",
        "IP_ADDRESS" => "IP_ADDRESS",
        "DATE_TIME" => "DATE_OF_BIRTH",
        _ => return None,
    })
}

/// What was found: a class and a range of bytes.
pub type Finding = (String, Range<usize>);

/// Counts of one class.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Found where the label is.
    pub hits: usize,
    /// Found where there is none.
    pub false_alarms: usize,
    /// Labels that were not found.
    pub misses: usize,
}

impl Counts {
    /// The share of findings that are right.
    #[must_use]
    pub fn precision(&self) -> f64 {
        self.hits as f64 / (self.hits + self.false_alarms) as f64
    }

    /// The share of labels that were found.
    #[must_use]
    pub fn recall(&self) -> f64 {
        self.hits as f64 / (self.hits + self.misses) as f64
    }

    /// The harmonic mean of both.
    #[must_use]
    pub fn f1(&self) -> f64 {
        2.0 * self.hits as f64 / (2 * self.hits + self.false_alarms + self.misses) as f64
    }

    fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.false_alarms += other.false_alarms;
        self.misses += other.misses;
    }
}

/// How findings meet labels, by class.
#[derive(Default)]
pub struct Score {
    /// By class.
    pub classes: BTreeMap<String, Counts>,
    /// `miss` or `false alarm`, class, and the text around, of each error.
    pub errors: Vec<String>,
}

impl Score {
    /// Counts the findings of one text. A label is hit by a finding of its class at exactly its
    /// place; `loose`: at a place that overlaps it.
    pub fn count(&mut self, sample: &Sample, findings: &[Finding], loose: bool) {
        let text = &sample.full_text;
        let labels: Vec<_> = sample
            .spans
            .iter()
            .map(|span| (span.entity_type.as_str(), bytes(text, span)))
            .collect();
        let meets = |label: &Range<usize>, found: &Range<usize>| match loose {
            true => label.start < found.end && found.start < label.end,
            false => label == found,
        };
        for (label, range) in &labels {
            let Some(class) = class_of(label) else { continue };
            if class == "DATE_OF_BIRTH" && !speaks_of_birth(text) {
                continue;
            }
            let hit = findings.iter().any(|(found, at)| found == class && meets(range, at));
            let counts = self.classes.entry(class.to_owned()).or_default();
            if hit {
                counts.hits += 1;
            } else {
                counts.misses += 1;
                self.errors.push(format!("miss        {class:<14} {}", around(text, range)));
            }
        }
        for (class, found) in findings {
            let right = labels
                .iter()
                .any(|(label, at)| class_of(label) == Some(class) && meets(at, found));
            if !right {
                self.classes.entry(class.clone()).or_default().false_alarms += 1;
                self.errors.push(format!("false alarm {class:<14} {}", around(text, found)));
            }
        }
    }

    /// All classes together.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.classes.values().for_each(|counts| total.add(counts));
        total
    }

    /// A line for each class and one for all.
    pub fn print(&self, name: &str) {
        println!(
            "{name:<28} {:>5} {:>5} {:>5} {:>9} {:>6} {:>6}",
            "hits", "false", "miss", "precision", "recall", "F1"
        );
        let total = self.total();
        for (class, counts) in self.classes.iter().map(|(name, counts)| (name.as_str(), counts)).chain([("all", &total)]) {
            println!(
                "  {class:<26} {:>5} {:>5} {:>5} {:>9.3} {:>6.3} {:>6.3}",
                counts.hits,
                counts.false_alarms,
                counts.misses,
                counts.precision(),
                counts.recall(),
                counts.f1()
            );
        }
    }
}

fn bytes(text: &str, span: &Span) -> Range<usize> {
    let byte = |place| text.char_indices().nth(place).map_or(text.len(), |(byte, _)| byte);
    byte(span.start_position)..byte(span.end_position)
}

/// Whether a date in this text is to be told from other dates.
fn speaks_of_birth(text: &str) -> bool {
    let text = text.to_lowercase();
    ["birth", "born", "dob"].iter().any(|word| text.contains(word))
}

fn around(text: &str, range: &Range<usize>) -> String {
    let start = text.floor_char_boundary(range.start.saturating_sub(50));
    let end = text.ceil_char_boundary((range.end + 20).min(text.len()));
    format!("{:?}<<{}>>{:?}", &text[start..range.start], &text[range.clone()], &text[range.end..end])
}
