//! What the daemon counts for whoever asks: by record, since it started.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hoop_records::{Fact, Kind, Record, Result as VerdictResult};
use hoop_stream::metrics::{Lost, Program, Snapshot, Verdicts};

/// Rules that are told apart. What comes beyond is under the rule `other`: names are the operator's, and few.
const MAX_RULES: usize = 4096;

/// Counters. Clones are handles to the same.
#[derive(Clone, Default)]
pub struct Counters(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    /// By policy, then rule and result.
    verdicts: HashMap<String, HashMap<(String, i32), u64>>,
    records: HashMap<i32, u64>,
    /// By ring and cause.
    lost: HashMap<(&'static str, String), u64>,
    rules: usize,
    state: State,
}

/// What the daemon says of itself now and then.
#[derive(Clone, Default)]
pub struct State {
    /// Programs in the kernel, how often they ran and how long.
    pub programs: Vec<(String, u64, f64)>,
    /// Tagged cgroups.
    pub workloads: u64,
    /// Epoch of the policies in force.
    pub epoch: u64,
}

impl Counters {
    /// Counts a record.
    pub fn count(&self, record: &Record) {
        let mut counted = self.lock();
        *counted.records.entry(record.kind).or_default() += 1;
        if let Some(Fact::Gap(gap)) = &record.fact {
            // Only what the small ring carries is numbered by a CPU.
            let ring = if gap.first > 0 { "control" } else { "payload" };
            // What follows the colon differs from one to the next.
            let cause = gap.cause.split(':').next().unwrap_or_default();
            let cause = (ring, cause.to_owned());
            *counted.lost.entry(cause).or_default() += gap.count;
        }
        if let Some(verdict) = &record.verdict {
            let policy = record.workload.as_ref().map_or("", |it| it.policy.as_str());
            counted.verdict(policy, &verdict.rule, verdict.result);
        }
    }

    /// Takes what the daemon says of itself.
    pub fn set_state(&self, state: State) {
        self.lock().state = state;
    }

    /// Everything, as metrics have it. What the log knows of itself is left out.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let counted = self.lock();
        let verdicts = counted.verdicts.iter().flat_map(|(policy, rules)| {
            rules.iter().map(|((rule, result), count)| Verdicts {
                policy: policy.clone(),
                rule: rule.clone(),
                result: VerdictResult::try_from(*result).unwrap_or_default().word(),
                count: *count,
            })
        });
        let lost = counted.lost.iter().map(|((ring, cause), count)| Lost {
            ring,
            cause: cause.clone(),
            count: *count,
        });
        let records = counted.records.iter().map(|(kind, count)| {
            let kind = Kind::try_from(*kind).unwrap_or_default();
            (kind.word(), *count)
        });
        let programs = counted.state.programs.iter();
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            verdicts: verdicts.collect(),
            events_lost: lost.collect(),
            records: records.collect(),
            programs: programs
                .map(|(program, runs, seconds)| Program {
                    program: program.clone(),
                    runs: *runs,
                    seconds: *seconds,
                })
                .collect(),
            workloads: counted.state.workloads,
            policy_epoch: counted.state.epoch,
            ..Snapshot::default()
        }
    }

    /// A panic elsewhere leaves nothing half counted that matters.
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn verdict(&mut self, policy: &str, rule: &str, result: i32) {
        if !self.verdicts.contains_key(policy) {
            self.verdicts.insert(policy.to_owned(), HashMap::new());
        }
        let Some(rules) = self.verdicts.get_mut(policy) else {
            return;
        };
        let key = (rule.to_owned(), result);
        if let Some(count) = rules.get_mut(&key) {
            *count += 1;
            return;
        }
        let rule = if self.rules < MAX_RULES {
            rule
        } else {
            "other"
        };
        self.rules += 1;
        *rules.entry((rule.to_owned(), result)).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use hoop_records::{Gap, Verdict};

    use super::*;

    #[test]
    fn verdicts_are_counted_by_rule_and_losses_by_cause() {
        let counters = Counters::default();
        let denied = Record {
            kind: Kind::Connect.into(),
            verdict: Some(Verdict {
                rule: "metadata".to_owned(),
                result: VerdictResult::Deny.into(),
                ..Verdict::default()
            }),
            ..Record::default()
        };
        let gap = Record {
            kind: Kind::Gap.into(),
            fact: Some(Fact::Gap(Gap {
                first: 3,
                last: 9,
                count: 7,
                cause: "ring full".to_owned(),
                ..Gap::default()
            })),
            ..Record::default()
        };
        for record in [&denied, &denied, &gap] {
            counters.count(record);
        }
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.verdicts.len(), 1);
        assert_eq!(
            (snapshot.verdicts[0].count, snapshot.verdicts[0].result),
            (2, "deny")
        );
        assert_eq!(
            (snapshot.events_lost[0].ring, snapshot.events_lost[0].count),
            ("control", 7)
        );
        assert_eq!(snapshot.records.len(), 2);
    }
}
