//! Fuzzing what the daemon reads of an earlier one, and of its callers.

use serde::{Serialize, de::DeserializeOwned};

use super::{mask_key, recorder::parse_positions, registry::Registry};
use crate::control::{Answer, Request};
use crate::pipeline::gap::Gaps;
use crate::policy::book::RuleBook;

/// The registry, the positions, or a line of the control socket.
///
/// Holds: no panic; what is read and written again is the same.
pub fn state(data: &[u8]) {
    if let Some(registry) = same_again::<Registry>(data) {
        let names = registry.names();
        assert!(names.workloads.len() <= registry.workloads.len());
        let mut book = RuleBook::clone(&registry.rules.book);
        let number = book.number("policy", "rule", "because");
        assert_eq!(book.number("policy", "rule", "because"), number);
        assert!(book.get(number).is_some_and(|it| it.rule == "rule"));
    }
    let _ = same_again::<Request>(data);
    let _ = same_again::<Answer>(data);
    let mut gaps = Gaps::default();
    for position in parse_positions(data, "boot") {
        gaps.resume(position);
        assert!(gaps.arrived(position.cpu, position.numbered + 1));
    }
}

/// The key for masking.
///
/// Holds: no panic; what is said of a file that is none has nothing of it; what is read is a name, a
/// space, and 64 hexadecimal digits.
pub fn key_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match mask_key::parse(text) {
        Ok(key) => {
            let digits = &text.trim_end()[text.trim_end().len() - 64..];
            assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let again = mask_key::parse(&format!("{} {digits}\n", key.id()));
            assert!(again.is_ok_and(|again| again.id() == key.id()));
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.ends_with("64 hexadecimal digits"), "{said}");
        }
    }
}

fn same_again<T: DeserializeOwned + Serialize>(data: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(data).ok()?;
    let text = serde_json::to_string(&value).expect("it was read");
    let again: T = serde_json::from_str(&text).expect("it was written");
    assert_eq!(serde_json::to_string(&again).ok(), Some(text));
    Some(value)
}
