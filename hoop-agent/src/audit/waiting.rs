//! Records that are still to be written, and what of them was lost.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use hoop_records::{Fact, Gap, Record};

/// Bytes of records that wait while none can be written.
pub const WAITING_BYTES: usize = 8 << 20;

/// Records in their order. When there are too many, the oldest without a verdict go first, and then the
/// oldest: the newest verdicts stay longest.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// Of `items`, without a verdict.
    plain: usize,
    /// What was lost, by CPU; records that no CPU numbered are under `None`.
    lost: BTreeMap<Option<u32>, Gap>,
}

#[derive(Debug)]
struct Item {
    body: Vec<u8>,
    loss: Gap,
    verdict: bool,
}

impl Waiting {
    pub(super) fn push(&mut self, record: Record) {
        let item = Item {
            loss: loss(&record),
            verdict: record.verdict.is_some(),
            body: record.encode_body(),
        };
        self.bytes += item.body.len();
        self.plain += usize::from(!item.verdict);
        self.items.push_back(item);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.lost.is_empty()
    }

    /// What was lost before the first that waits.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Gap> {
        self.lost.values()
    }

    /// What waits, oldest first.
    pub(super) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().map(|item| item.body.as_slice())
    }

    /// What was lost is written, and the first `count` that waited.
    pub(super) fn written(&mut self, count: usize) {
        self.lost.clear();
        for item in self.items.drain(..count) {
            self.bytes -= item.body.len();
            self.plain -= usize::from(!item.verdict);
        }
    }

    /// The oldest cannot be written.
    pub(super) fn drop_first(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes -= item.body.len();
            self.plain -= usize::from(!item.verdict);
            merge(&mut self.lost, &item.loss);
        }
    }

    /// Sheds what is beyond the bound, and an eighth more, so that what is moved is moved rarely.
    pub(super) fn shed(&mut self) {
        if self.bytes <= WAITING_BYTES {
            return;
        }
        let aim = WAITING_BYTES - WAITING_BYTES / 8;
        let Self {
            items,
            bytes,
            plain,
            lost,
        } = self;
        for verdicts in [false, true] {
            if *bytes <= aim || (!verdicts && *plain == 0) {
                continue;
            }
            items.retain(|item| {
                if *bytes <= aim || item.verdict != verdicts {
                    return true;
                }
                *bytes -= item.body.len();
                *plain -= usize::from(!item.verdict);
                merge(lost, &item.loss);
                false
            });
        }
    }
}

/// What is lost if the record is not written.
fn loss(record: &Record) -> Gap {
    match (&record.fact, &record.origin) {
        (Some(Fact::Gap(gap)), _) => Gap {
            cause: String::new(),
            ..gap.clone()
        },
        (_, Some(origin)) => Gap {
            cpu: origin.cpu,
            first: origin.sequence,
            last: origin.sequence,
            count: 1,
            ..Gap::default()
        },
        _ => Gap {
            count: 1,
            ..Gap::default()
        },
    }
}

fn merge(lost: &mut BTreeMap<Option<u32>, Gap>, more: &Gap) {
    let cpu = (more.first > 0).then_some(more.cpu);
    match lost.entry(cpu) {
        Entry::Vacant(entry) => {
            entry.insert(more.clone());
        }
        Entry::Occupied(mut entry) => {
            let gap = entry.get_mut();
            gap.first = gap.first.min(more.first);
            gap.last = gap.last.max(more.last);
            gap.count += more.count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoop_records::{Origin, Verdict};

    fn record(sequence: u64, verdict: bool) -> Record {
        Record {
            origin: Some(Origin { cpu: 1, sequence }),
            verdict: verdict.then(Verdict::default),
            attribution: "x".repeat(1 << 10),
            ..Record::default()
        }
    }

    #[test]
    fn the_newest_verdicts_stay_longest_and_the_rest_is_counted() {
        let mut waiting = Waiting::default();
        for sequence in 1..=40_000 {
            waiting.push(record(sequence, sequence % 10 == 0));
            waiting.shed();
            assert!(waiting.bytes() <= WAITING_BYTES);
        }
        let kept: Vec<u64> = waiting
            .bodies()
            .map(|body| Record::parse(body).expect("a record"))
            .map(|record| record.origin.expect("it has one").sequence)
            .collect();
        assert!(kept.is_sorted());
        let verdicts = kept.iter().filter(|sequence| **sequence % 10 == 0).count();
        assert_eq!(verdicts, 4_000, "all of them fit");
        let lost: Vec<&Gap> = waiting.lost().collect();
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].count as usize + kept.len(), 40_000);
        assert_eq!((lost[0].cpu, lost[0].first), (1, 1));

        for sequence in 40_001..=60_000 {
            waiting.push(record(sequence, true));
            waiting.shed();
        }
        let first = waiting
            .bodies()
            .next()
            .map(|body| Record::parse(body).expect("a record"));
        let first = first.and_then(|it| it.origin).expect("it has one").sequence;
        assert!(first > 50_000, "{first}");
        let count = waiting.len();
        waiting.written(count);
        assert!(waiting.is_empty());
        assert_eq!((waiting.bytes(), waiting.plain), (0, 0));
    }
}
