//! From the kernel's bytes to records, one stage per file.
//!
//! Stages share [`event`] and the [process table](process) and do not know each other; this file
//! joins them. Nothing here reads a clock or does I/O.
//!
//! Every numbered event ends in exactly one of two: it is represented in a record (an exec and
//! the chunks of its arguments are one record), or it is counted in one gap record.

pub mod arguments;
pub mod attribute;
pub mod decode;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gap;
pub mod masking;
pub mod payload;
pub mod process;
pub mod text;

use hoop_common::event::{Header, ProcessKey};

use self::arguments::{Execs, NoExec, Pending};
use self::attribute::{Attribution, Directory};
use self::event::{Event, Exec, Missing, process_key};
use self::gap::{CpuCounters, Gaps};
use self::process::{Executed, ProcessTable};
use crate::clock::ClockOffset;
use hoop_records::{Actor, Record, Shared};

/// The stages from bytes to records.
pub struct Pipeline {
    table: ProcessTable,
    execs: Execs,
    gaps: Gaps,
    stats: Stats,
}

/// Counted since the pipeline was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events that are represented in a record.
    pub recorded: u64,
    /// Events that gap records count.
    pub missing: u64,
    /// Events that were dropped because a gap record had counted them. Not in `recorded`.
    pub late: u64,
    /// Pieces of bytes that were no event. Each is in `missing` once its number is given up.
    pub malformed: u64,
    /// Processes that the full table forgot.
    pub evicted: u64,
}

/// What the caller knows when events arrive.
pub struct Context<'a, D> {
    /// The names behind numbers.
    pub directory: &'a D,
    /// The wall clock, measured once per batch.
    pub offset: ClockOffset,
}

impl Pipeline {
    /// A pipeline over this process table.
    #[must_use]
    pub fn new(table: ProcessTable) -> Self {
        Self {
            table,
            execs: Execs::default(),
            gaps: Gaps::default(),
            stats: Stats::default(),
        }
    }

    /// The process table, to be seeded.
    pub fn table_mut(&mut self) -> &mut ProcessTable {
        &mut self.table
    }

    /// The numbers, to resume where an earlier run ended.
    pub fn gaps_mut(&mut self) -> &mut Gaps {
        &mut self.gaps
    }

    /// The numbers, to save how far this run answers for events.
    #[must_use]
    pub fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            evicted: self.table.evictions(),
            ..self.stats
        }
    }

    /// A process as records name it, and why that is incomplete; empty if it is not. The start in
    /// the key may be rounded to clock ticks.
    pub fn actor(
        &mut self,
        key: ProcessKey,
        context: &Context<'_, impl Directory>,
    ) -> (Option<Shared<Actor>>, &'static str) {
        self.attribution(context).actor(key)
    }

    /// Takes one event as it was in the ring.
    pub fn ingest(
        &mut self,
        bytes: &[u8],
        context: &Context<'_, impl Directory>,
        sink: &mut (impl FnMut(Record) + ?Sized),
    ) {
        let event = match decode::decode(bytes) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "malformed event");
                self.stats.malformed += 1;
                if let Ok((header, _)) = <Header as zerocopy::FromBytes>::read_from_prefix(bytes) {
                    self.gaps.malformed(header.cpu);
                }
                return;
            }
        };
        let header = *event.header();
        if !self.gaps.arrived(header.cpu, header.sequence) {
            self.stats.late += 1;
            return;
        }
        let key = process_key(&header);
        if !self.execs.is_empty() {
            match &event {
                Event::Args(_) => {}
                Event::Fork(fork) => self.write_waiting(fork.parent, context, sink),
                _ => self.write_waiting(key, context, sink),
            }
        }
        self.stats.recorded += 1;
        match &event {
            Event::Fork(fork) => {
                self.table.forked(key, fork.parent, header.workload);
                sink(self.attribution(context).fork(fork));
            }
            Event::Exec(exec) => {
                if arguments::is_complete(exec) {
                    self.write_exec(&executed(exec), context, sink);
                } else {
                    // Counted when it is written, together with its chunks.
                    self.stats.recorded -= 1;
                    self.execs.wait(exec);
                    if self.execs.is_over_limit() {
                        self.write_overdue(0, context, sink);
                    }
                }
            }
            Event::Args(chunk) => {
                self.stats.recorded -= 1;
                match self.execs.add(chunk) {
                    Ok(Some(pending)) => self.write_pending(&pending, context, sink),
                    Ok(None) if self.execs.is_over_limit() => self.write_overdue(0, context, sink),
                    Ok(None) => {}
                    Err(NoExec) => {
                        self.stats.missing += 1;
                        let missing = Missing {
                            cpu: header.cpu,
                            first: header.sequence,
                            last: header.sequence,
                            count: 1,
                            cause: "arguments without their exec".to_owned(),
                        };
                        sink(attribute::gap(missing, header.boot_ns, context.offset));
                    }
                }
            }
            Event::Exit(exit) => {
                self.table.exited(key, header.boot_ns);
                sink(self.attribution(context).exit(exit));
            }
            Event::Net(net) => sink(self.attribution(context).net(net)),
            Event::Socket(socket) => sink(self.attribution(context).socket(socket)),
            Event::Guard(guard) => sink(self.attribution(context).guard(guard)),
            Event::Move(moved) => {
                self.table
                    .moved(key, header.workload, moved.fixed.escaped != 0);
                sink(self.attribution(context).moved(moved));
            }
        }
    }

    /// To be called after the ring was drained, as [`Gaps::settle`] says. `now_ns`: nanoseconds
    /// since boot. Also writes execs that waited too long and forgets processes that are gone.
    pub fn settle(
        &mut self,
        counters: &[CpuCounters],
        now_ns: u64,
        context: &Context<'_, impl Directory>,
        sink: &mut (impl FnMut(Record) + ?Sized),
    ) {
        self.write_overdue(now_ns, context, sink);
        self.table.expire(now_ns);
        let stats = &mut self.stats;
        self.gaps.settle(counters, |missing| {
            stats.missing += missing.count;
            sink(attribute::gap(missing, now_ns, context.offset));
        });
    }

    /// To be called at the end, after the programs stopped and the ring was drained: afterwards
    /// `recorded + missing` is what the kernel numbered. `now_ns`: nanoseconds since boot.
    pub fn finish(
        &mut self,
        counters: &[CpuCounters],
        now_ns: u64,
        context: &Context<'_, impl Directory>,
        sink: &mut (impl FnMut(Record) + ?Sized),
    ) {
        self.write_overdue(u64::MAX, context, sink);
        let stats = &mut self.stats;
        self.gaps.finish(counters, |missing| {
            stats.missing += missing.count;
            sink(attribute::gap(missing, now_ns, context.offset));
        });
    }

    fn attribution<'a, D: Directory>(&'a mut self, context: &Context<'a, D>) -> Attribution<'a, D> {
        Attribution {
            table: &mut self.table,
            directory: context.directory,
            offset: context.offset,
        }
    }

    fn write_exec(
        &mut self,
        exec: &Executed<'_>,
        context: &Context<'_, impl Directory>,
        sink: &mut (impl FnMut(Record) + ?Sized),
    ) {
        // What is kept of a process is masked before anything else sees it.
        let masker = context.directory.masker(exec.event.header.workload);
        let exec = Executed {
            path: &masking::bytes(&masker, exec.path, true),
            cwd: &masking::bytes(&masker, exec.cwd, true),
            args: &masking::bytes(&masker, exec.args, exec.whole),
            ..*exec
        };
        let command_line = self.table.executed(process_key(&exec.event.header), &exec);
        sink(self.attribution(context).exec(&exec, command_line));
    }

    fn write_pending(
        &mut self,
        pending: &Pending,
        context: &Context<'_, impl Directory>,
        sink: &mut (impl FnMut(Record) + ?Sized),
    ) {
        self.stats.recorded += pending.events;
        let exec = Executed {
            event: &pending.event,
            judgement: pending.judgement,
            path: &pending.path,
            cwd: &pending.cwd,
            args: &pending.args,
            whole: pending.whole,
        };
        self.write_exec(&exec, context, sink);
    }

    fn write_waiting(
        &mut self,
        key: ProcessKey,
        context: &Context<'_, impl Directory>,
        sink: &mut (impl FnMut(Record) + ?Sized),
    ) {
        if let Some(pending) = self.execs.take(key) {
            self.write_pending(&pending, context, sink);
        }
    }

    fn write_overdue(
        &mut self,
        now_ns: u64,
        context: &Context<'_, impl Directory>,
        sink: &mut (impl FnMut(Record) + ?Sized),
    ) {
        while let Some(pending) = self.execs.overdue(now_ns) {
            self.write_pending(&pending, context, sink);
        }
    }
}

fn executed<'a>(exec: &'a Exec<'a>) -> Executed<'a> {
    Executed {
        event: &exec.fixed,
        judgement: exec.judgement,
        path: exec.path,
        cwd: exec.cwd,
        args: exec.args,
        whole: exec.args.len() >= exec.fixed.args_total as usize,
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
