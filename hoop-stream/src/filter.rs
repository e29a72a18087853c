//! Which records a reader wants.

use hoop_records::{Kind, Result as Verdict};
use serde::de::{Deserialize, Deserializer, Error as _};

use crate::head::{Head, Malformed};

/// Which records a reader wants. Fields that are empty ask for nothing; of the values of one field any
/// matches; all fields that are not empty must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Kinds, as the record's JSON has them: `exec`, `connect`, ...
    #[serde(deserialize_with = "kinds")]
    pub kinds: Vec<Kind>,
    /// Results of verdicts: `allow`, `deny`, `shadow`. A record without a verdict has none of them.
    #[serde(deserialize_with = "verdicts")]
    pub verdicts: Vec<Verdict>,
    /// Paths of workloads' cgroups, as `Workload.cgroup` has them.
    pub workloads: Vec<String>,
    /// Names of policies.
    pub policies: Vec<String>,
    /// SPIFFE IDs.
    pub identities: Vec<String>,
    /// Sessions, as `Session.uid` has them.
    pub sessions: Vec<String>,
}

impl Filter {
    /// Whether the encoded record is wanted.
    pub(crate) fn wants(&self, record: &[u8]) -> Result<bool, Malformed> {
        if *self == Self::default() {
            return Ok(true);
        }
        let head = Head::read(record)?;
        if !self.kinds.is_empty() && !self.kinds.iter().any(|&kind| kind as i32 == head.kind) {
            return Ok(false);
        }
        if !self.verdicts.is_empty()
            && !(self.verdicts.iter()).any(|&verdict| head.result == Some(verdict as i32))
        {
            return Ok(false);
        }
        let [cgroup, policy, identity] = head.workload()?;
        Ok(has(&self.workloads, cgroup)
            && has(&self.policies, policy)
            && has(&self.identities, identity)
            && (self.sessions.is_empty() || has(&self.sessions, head.session()?)))
    }
}

fn has(wanted: &[String], value: &[u8]) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_bytes() == value)
}

fn kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Kind>, D::Error> {
    words(deserializer, "kind", |number| {
        let kind = Kind::try_from(number).ok()?;
        Some((kind, kind.word()))
    })
}

fn verdicts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Verdict>, D::Error> {
    words(deserializer, "verdict", |number| {
        let verdict = Verdict::try_from(number).ok()?;
        Some((verdict, verdict.word()))
    })
}

/// Values of an enum by their words. `value` gives those numbered from 0; 0 is no value.
fn words<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    what: &str,
    value: fn(i32) -> Option<(T, &'static str)>,
) -> Result<Vec<T>, D::Error> {
    let all = || (1..).map_while(value);
    let words = Vec::<String>::deserialize(deserializer)?;
    let values = words.into_iter().map(|word| {
        let found = all().find(|(_, known)| *known == word);
        found.map(|(value, _)| value).ok_or_else(|| {
            let known: Vec<_> = all().map(|(_, known)| known).collect();
            D::Error::custom(format_args!(
                "no {what} is named {word:?}; there are {}",
                known.join(", ")
            ))
        })
    });
    values.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use hoop_records::{Actor, Record, Session, Workload};
    use prost::Message as _;

    fn filter(json: &str) -> Filter {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_field_that_is_set_must_match() {
        let record = Record {
            kind: Kind::Connect as i32,
            workload: Some(
                Workload {
                    cgroup: "/hoop/a".into(),
                    policy: "copilots".into(),
                    identity: "spiffe://x/a".into(),
                    ..Workload::default()
                }
                .into(),
            ),
            actor: Some(
                Actor {
                    session: Some(Session { uid: "7:1".into() }),
                    ..Actor::default()
                }
                .into(),
            ),
            verdict: Some(hoop_records::Verdict {
                result: Verdict::Deny as i32,
                ..hoop_records::Verdict::default()
            }),
            ..Record::default()
        }
        .encode_to_vec();
        for (json, wanted) in [
            ("{}", true),
            (r#"{"kinds":["exec","connect"]}"#, true),
            (r#"{"kinds":["exec"]}"#, false),
            (r#"{"verdicts":["deny"],"kinds":["connect"]}"#, true),
            (r#"{"verdicts":["allow","shadow"]}"#, false),
            (
                r#"{"workloads":["/hoop/a"],"policies":["copilots"],"identities":["spiffe://x/a"],"sessions":["7:1"]}"#,
                true,
            ),
            (r#"{"workloads":["/hoop"]}"#, false),
            (r#"{"policies":["copilot"]}"#, false),
            (r#"{"identities":["spiffe://x/"]}"#, false),
            (r#"{"sessions":["7:2"]}"#, false),
        ] {
            assert_eq!(filter(json).wants(&record).unwrap(), wanted, "{json}");
        }
        let unjudged = Record::default().encode_to_vec();
        assert!(
            !filter(r#"{"verdicts":["allow"]}"#)
                .wants(&unjudged)
                .unwrap()
        );
    }

    #[test]
    fn a_word_that_is_none_is_refused() {
        for json in [
            r#"{"kinds":["execs"]}"#,
            r#"{"kinds":["unspecified"]}"#,
            r#"{"verdicts":["denied"]}"#,
            r#"{"kind":[]}"#,
        ] {
            assert!(serde_json::from_str::<Filter>(json).is_err(), "{json}");
        }
    }
}
