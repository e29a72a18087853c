//! Rule numbers: what the kernel reports, and what the number means.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Every rule that ever had a number on this node. Numbers are never reused, so that an event
/// which was on its way while the policy changed still names the rule that judged it.
///
/// Serialises as the list of rules, so that it can outlive the daemon as the kernel's table does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<RuleInfo>", into = "Vec<RuleInfo>")]
pub struct RuleBook {
    rules: Vec<RuleInfo>,
    numbers: HashMap<RuleInfo, u32>,
}

/// What a rule number stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleInfo {
    /// The policy's name.
    pub policy: String,
    /// The rule's name.
    pub rule: String,
    /// The rule's reason; may be empty if it allows.
    pub because: String,
}

impl RuleBook {
    /// The number of this rule, from 1; a new one if it has none yet.
    ///
    /// # Panics
    ///
    /// When 2^32 - 1 rules have been numbered, which memory does not hold.
    pub fn number(&mut self, policy: &str, rule: &str, because: &str) -> u32 {
        let info = RuleInfo {
            policy: policy.to_owned(),
            rule: rule.to_owned(),
            because: because.to_owned(),
        };
        if let Some(&number) = self.numbers.get(&info) {
            return number;
        }
        self.rules.push(info.clone());
        let number = u32::try_from(self.rules.len()).expect("fewer than 2^32 rules fit in memory");
        self.numbers.insert(info, number);
        number
    }

    /// The rule with this number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&RuleInfo> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.rules.get(index)
    }
}

impl From<Vec<RuleInfo>> for RuleBook {
    fn from(rules: Vec<RuleInfo>) -> Self {
        let mut numbers = HashMap::with_capacity(rules.len());
        for (number, rule) in (1..).zip(&rules) {
            numbers.entry(rule.clone()).or_insert(number);
        }
        Self { rules, numbers }
    }
}

impl From<RuleBook> for Vec<RuleInfo> {
    fn from(book: RuleBook) -> Self {
        book.rules
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_a_restart_and_are_never_reused() {
        let mut book = RuleBook::default();
        let llm = book.number("copilot", "llm", "");
        let metadata = book.number("copilot", "metadata", "cloud credentials");
        assert_eq!((llm, metadata), (1, 2));
        assert_eq!(book.number("copilot", "llm", ""), llm);

        let text = serde_json::to_string(&book).unwrap();
        let mut book: RuleBook = serde_json::from_str(&text).unwrap();
        assert_eq!(
            book.number("copilot", "metadata", "cloud credentials"),
            metadata
        );
        assert_eq!(book.number("copilot", "metadata", "another reason"), 3);
        assert_eq!(book.get(metadata).unwrap().because, "cloud credentials");
        assert_eq!(book.get(0), None);
        assert_eq!(book.get(4), None);
    }
}
