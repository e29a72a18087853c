//! Completeness: every number that a CPU gave to an event arrives, or ends in exactly one gap.

use std::collections::BTreeMap;

use hoop_common::event::LossCause;

use super::event::Missing;

/// What the kernel counted on one CPU since its maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuCounters {
    /// The CPU.
    pub cpu: u16,
    /// The last number given to an event. Read before `lost`.
    pub numbered: u64,
    /// How many numbered events did not reach the ring, by [`LossCause`].
    pub lost: [u64; LossCause::ALL.len()],
}

/// Follows the numbers of every CPU.
///
/// A number may arrive after a higher one: an interrupt's event is numbered while another event
/// waits between its number and its place in the ring. So a number that is skipped is only held
/// to be missing, and given up once the ring was drained twice since.
#[derive(Debug, Default)]
pub struct Gaps {
    cpus: BTreeMap<u16, Cpu>,
    settles: u64,
}

impl Gaps {
    /// Says that an earlier run answered for this CPU's events up to `position`, as its
    /// [`Gaps::positions`] had it.
    pub fn resume(&mut self, position: CpuCounters) {
        let cpu = self.cpus.entry(position.cpu).or_default();
        cpu.seen = position.numbered;
        cpu.numbered = position.numbered;
        cpu.explained = position.lost;
    }

    /// How far this run answers for the events of every CPU. Complete after [`Gaps::finish`].
    pub fn positions(&self) -> impl Iterator<Item = CpuCounters> {
        self.cpus.iter().map(|(&number, cpu)| CpuCounters {
            cpu: number,
            numbered: cpu.seen,
            lost: cpu.explained,
        })
    }

    /// Notes that an event arrived. False if a gap or an event already accounts for its number:
    /// then the event must be dropped.
    #[must_use]
    pub fn arrived(&mut self, cpu: u16, number: u64) -> bool {
        let settles = self.settles;
        self.cpus.entry(cpu).or_default().arrived(number, settles)
    }

    /// Notes that bytes of this CPU were no event. Their number is found missing like any other.
    pub fn malformed(&mut self, cpu: u16) {
        // A CPU of which nothing valid was heard may be as wrong as the rest.
        if let Some(cpu) = self.cpus.get_mut(&cpu) {
            cpu.malformed += 1;
        }
    }

    /// To be called with the kernel's counters each time after the ring was drained, at most
    /// about ten times a second: a process can be preempted for some milliseconds between the
    /// number of its event and the event's place in the ring. Reports what is given up.
    pub fn settle(&mut self, counters: &[CpuCounters], mut missing: impl FnMut(Missing)) {
        self.settles += 1;
        for counter in counters {
            let cpu = self.cpus.entry(counter.cpu).or_default();
            cpu.lost = counter.lost;
            // What was numbered before the drain that just ended has had its chance to arrive.
            cpu.expect(cpu.numbered, self.settles.saturating_sub(1));
            cpu.numbered = counter.numbered;
        }
        for (&number, cpu) in &mut self.cpus {
            cpu.give_up(number, self.settles, false, &mut missing);
        }
    }

    /// To be called once, with the last counters, after the programs stopped and the ring was
    /// drained: reports everything that is still missing.
    pub fn finish(&mut self, counters: &[CpuCounters], mut missing: impl FnMut(Missing)) {
        for counter in counters {
            let cpu = self.cpus.entry(counter.cpu).or_default();
            cpu.lost = counter.lost;
            cpu.numbered = counter.numbered;
            cpu.expect(counter.numbered, self.settles);
        }
        for (&number, cpu) in &mut self.cpus {
            cpu.give_up(number, self.settles, true, &mut missing);
        }
    }
}

/// Settles after which a number is given up although the kernel's counters do not explain it.
const PATIENCE: u64 = 16;

/// Runs of missing numbers held per CPU. One drain of the control ring cannot bring more.
const MAX_RUNS: usize = 1 << 17;

#[derive(Debug, Default)]
struct Cpu {
    /// Every number up to here arrived, is in `runs`, or was given up.
    seen: u64,
    /// The kernel's `numbered` at the last settle.
    numbered: u64,
    /// Runs of missing numbers by their first.
    runs: BTreeMap<u64, Run>,
    /// The kernel's counters of losses at the last settle.
    lost: [u64; LossCause::ALL.len()],
    /// Bytes that were no event.
    malformed: u64,
    /// The values of `lost` and `malformed` that gaps account for, and how many numbers were
    /// given up since these were equal.
    explained: [u64; LossCause::ALL.len()],
    explained_malformed: u64,
    claimed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    last: u64,
    /// Settles there had been when the run was found.
    since: u64,
}

impl Run {
    fn count(self, first: u64) -> u64 {
        self.last - first + 1
    }
}

impl Cpu {
    fn arrived(&mut self, number: u64, settles: u64) -> bool {
        if number > self.seen {
            self.expect(number - 1, settles);
            self.seen = number;
            return true;
        }
        let Some((&first, &run)) = self.runs.range(..=number).next_back() else {
            return false;
        };
        if number > run.last {
            return false;
        }
        self.runs.remove(&first);
        if first < number {
            let last = number - 1;
            self.runs.insert(first, Run { last, ..run });
        }
        if number < run.last {
            self.runs.insert(number + 1, run);
        }
        true
    }

    /// Takes every number up to `last` that was not seen as missing.
    fn expect(&mut self, last: u64, since: u64) {
        if last <= self.seen {
            return;
        }
        let first = self.seen + 1;
        self.seen = last;
        self.runs.insert(first, Run { last, since });
    }

    fn give_up(&mut self, cpu: u16, settles: u64, all: bool, missing: &mut impl FnMut(Missing)) {
        if self.runs.is_empty() {
            return;
        }
        let ripe = |drains: u64| move |run: &Run| all || run.since + drains <= settles;
        let count = |runs: &BTreeMap<u64, Run>, ripe: &dyn Fn(&Run) -> bool| -> u64 {
            let ripe = runs.iter().filter(|(_, run)| ripe(run));
            ripe.map(|(&first, run)| run.count(first)).sum()
        };
        // Numbers beyond what the kernel counted as lost are still on their way.
        let drains = if count(&self.runs, &ripe(2)) <= self.unexplained() {
            2
        } else if self.runs.len() > MAX_RUNS {
            0
        } else {
            PATIENCE
        };
        let ripe = ripe(drains);
        let total = count(&self.runs, &ripe);
        let mut bounds = self.runs.iter().filter(|(_, run)| ripe(run));
        let Some((&first, run)) = bounds.next() else {
            return;
        };
        let last = bounds.next_back().map_or(run.last, |(_, run)| run.last);
        self.runs.retain(|_, run| !ripe(run));
        missing(Missing {
            cpu,
            first,
            last,
            count: total,
            cause: self.explain(total),
        });
    }

    /// How many losses were counted that no gap accounts for.
    fn unexplained(&self) -> u64 {
        let lost: u64 = self.causes().map(|(_, count)| count).sum();
        lost.saturating_sub(self.claimed)
    }

    /// Causes counted since everything was last explained.
    fn causes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LossCause::ALL
            .iter()
            .map(|&cause| {
                let index = cause as usize;
                let count = self.lost[index].saturating_sub(self.explained[index]);
                (cause.name(), count)
            })
            .chain([("malformed", self.malformed - self.explained_malformed)])
            .filter(|&(_, count)| count > 0)
    }

    /// The cause of `count` missing numbers, which now are accounted for.
    fn explain(&mut self, count: u64) -> String {
        let mut causes: Vec<_> = self.causes().map(|(name, _)| name).collect();
        if count > self.unexplained() {
            causes.push("unknown");
        }
        let cause = causes.join(" or ");
        self.claimed = self.claimed.saturating_add(count);
        if self.unexplained() == 0 {
            self.explained = self.lost;
            self.explained_malformed = self.malformed;
            self.claimed = 0;
        }
        cause
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn settle(gaps: &mut Gaps, numbered: u64, lost: [u64; 2]) -> Vec<Missing> {
        let mut all = Vec::new();
        gaps.settle(
            &[CpuCounters {
                cpu: 0,
                numbered,
                lost,
            }],
            |missing| all.push(missing),
        );
        all
    }

    fn missing(first: u64, last: u64, count: u64, cause: &str) -> Missing {
        let cause = cause.to_owned();
        Missing {
            cpu: 0,
            first,
            last,
            count,
            cause,
        }
    }

    #[test]
    fn a_hole_becomes_a_gap_at_the_second_settle() {
        let mut gaps = Gaps::default();
        assert!(gaps.arrived(0, 1) && gaps.arrived(0, 5));
        assert_eq!(settle(&mut gaps, 5, [3, 0]), []);
        assert_eq!(
            settle(&mut gaps, 5, [3, 0]),
            [missing(2, 4, 3, "ring full")]
        );
        assert_eq!(settle(&mut gaps, 5, [3, 0]), []);
        assert!(!gaps.arrived(0, 3), "a gap accounts for it");
        assert!(!gaps.arrived(0, 5), "it arrived before");
    }

    #[test]
    fn a_late_event_leaves_no_gap() {
        let mut gaps = Gaps::default();
        assert!(gaps.arrived(0, 3) && gaps.arrived(0, 1) && gaps.arrived(0, 2));
        for _ in 0..20 {
            assert_eq!(settle(&mut gaps, 3, [0, 0]), []);
        }
    }

    #[test]
    fn losses_at_the_end_are_found_from_the_counters() {
        let mut gaps = Gaps::default();
        assert!(gaps.arrived(0, 1));
        assert_eq!(settle(&mut gaps, 4, [0, 3]), []);
        assert_eq!(settle(&mut gaps, 4, [0, 3]), []);
        let gap = missing(2, 4, 3, "reserved for denials");
        assert_eq!(settle(&mut gaps, 4, [0, 3]), [gap]);
    }

    #[test]
    fn a_number_that_no_counter_explains_is_waited_for() {
        let mut gaps = Gaps::default();
        assert!(gaps.arrived(0, 2));
        for _ in 0..PATIENCE - 1 {
            assert_eq!(settle(&mut gaps, 2, [0, 0]), []);
        }
        assert_eq!(settle(&mut gaps, 2, [0, 0]), [missing(1, 1, 1, "unknown")]);
    }

    #[test]
    fn causes_that_cannot_be_told_apart_are_all_named() {
        let mut gaps = Gaps::default();
        assert!(gaps.arrived(0, 4));
        gaps.malformed(0);
        gaps.malformed(9);
        settle(&mut gaps, 4, [1, 1]);
        let gap = missing(1, 3, 3, "ring full or reserved for denials or malformed");
        assert_eq!(settle(&mut gaps, 4, [1, 1]), [gap]);
        assert!(gaps.arrived(0, 6));
        settle(&mut gaps, 6, [2, 1]);
        assert_eq!(
            settle(&mut gaps, 6, [2, 1]),
            [missing(5, 5, 1, "ring full")]
        );
    }

    #[test]
    fn a_second_run_continues_where_the_first_ended() {
        let mut first = Gaps::default();
        assert!(first.arrived(0, 1));
        let counters = CpuCounters {
            cpu: 0,
            numbered: 3,
            lost: [2, 0],
        };
        let mut all = Vec::new();
        first.finish(&[counters], |missing| all.push(missing));
        assert_eq!(all, [missing(2, 3, 2, "ring full")]);
        assert_eq!(first.positions().collect::<Vec<_>>(), [counters]);

        let mut second = Gaps::default();
        second.resume(counters);
        assert!(second.arrived(0, 4));
        for _ in 0..20 {
            assert_eq!(settle(&mut second, 4, [2, 0]), []);
        }
    }

    #[derive(Clone, Copy, Debug)]
    struct Fate {
        cpu: u16,
        lost: Option<usize>,
        delay: usize,
        settles: bool,
    }

    fn fate() -> impl Strategy<Value = Fate> {
        let lost = prop::option::weighted(0.4, 0usize..2);
        (0u16..3, lost, 0usize..6, prop::bool::weighted(0.2)).prop_map(
            |(cpu, lost, delay, settles)| Fate {
                cpu,
                lost,
                delay,
                settles,
            },
        )
    }

    proptest! {
        /// The model knows every number's fate. Whatever the interleaving, a number is either
        /// accepted or in exactly one gap; and a number that is on its way when it is waited for
        /// is accepted.
        #[test]
        fn every_number_is_accounted_for_once(fates in prop::collection::vec(fate(), 1..200)) {
            let mut gaps = Gaps::default();
            let mut counters: Vec<CpuCounters> =
                (0..3).map(|cpu| CpuCounters { cpu, ..CpuCounters::default() }).collect();
            let mut on_their_way: Vec<(usize, u16, u64)> = Vec::new();
            let mut accepted = BTreeSet::new();
            let mut dropped = BTreeSet::new();
            let mut lost = BTreeSet::new();
            let mut reports = Vec::new();
            let mut deliver = |gaps: &mut Gaps, cpu: u16, number: u64| {
                let set = if gaps.arrived(cpu, number) { &mut accepted } else { &mut dropped };
                assert!(set.insert((cpu, number)));
            };
            for (step, fate) in fates.iter().enumerate() {
                let counter = &mut counters[usize::from(fate.cpu)];
                counter.numbered += 1;
                if let Some(cause) = fate.lost {
                    counter.lost[cause] += 1;
                    lost.insert((fate.cpu, counter.numbered));
                } else {
                    on_their_way.push((step + fate.delay, fate.cpu, counter.numbered));
                }
                let due = |&mut (at, ..): &mut (usize, u16, u64)| at <= step;
                for (_, cpu, number) in on_their_way.extract_if(.., due) {
                    deliver(&mut gaps, cpu, number);
                }
                if fate.settles {
                    gaps.settle(&counters, |missing| reports.push(missing));
                }
            }
            for (_, cpu, number) in on_their_way {
                deliver(&mut gaps, cpu, number);
            }
            gaps.finish(&counters, |missing| reports.push(missing));

            for counter in &counters {
                let given_up: u64 =
                    reports.iter().filter(|r| r.cpu == counter.cpu).map(|r| r.count).sum();
                let recorded = accepted.iter().filter(|(cpu, _)| *cpu == counter.cpu).count();
                prop_assert_eq!(recorded as u64 + given_up, counter.numbered);
            }
            for report in &reports {
                let inside = (report.first..=report.last)
                    .filter(|&number| !accepted.contains(&(report.cpu, number)))
                    .count();
                prop_assert!(report.count <= inside as u64);
                for end in [report.first, report.last] {
                    let end = (report.cpu, end);
                    prop_assert!(lost.contains(&end) || dropped.contains(&end));
                }
            }
            if dropped.is_empty() {
                let given_up: u64 = reports.iter().map(|report| report.count).sum();
                prop_assert_eq!(given_up, lost.len() as u64);
                prop_assert!(reports.iter().all(|report| !report.cause.contains("unknown")));
            }
        }

        /// With a delay shorter than two drains, nothing that arrives is ever dropped.
        #[test]
        fn what_arrives_within_a_drain_is_accepted(
            fates in prop::collection::vec(fate(), 1..200),
        ) {
            let mut gaps = Gaps::default();
            let mut counter = CpuCounters::default();
            let mut held: Option<u64> = None;
            for fate in fates {
                counter.numbered += 1;
                match fate.lost {
                    Some(cause) => counter.lost[cause] += 1,
                    None if held.is_none() && fate.delay > 3 => held = Some(counter.numbered),
                    None => prop_assert!(gaps.arrived(0, counter.numbered)),
                }
                if fate.settles {
                    gaps.settle(&[counter], |_| ());
                    if let Some(number) = held.take() {
                        prop_assert!(gaps.arrived(0, number));
                    }
                }
            }
        }
    }
}
