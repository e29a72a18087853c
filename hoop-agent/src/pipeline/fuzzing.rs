//! Fuzzing the pipeline: what the kernel wrote, in any order and with anything in it.

use std::sync::Arc;

use hoop_common::event::{
    ArgsEvent, Enforcement, EventKind, ExecEvent, ExitEvent, ForkEvent, GuardEvent, Header, Hook,
    LossCause, MoveEvent, NetEvent, ProcessKey, SocketEvent, Verdict,
};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::attribute::{Directory, Rule};
use super::gap::CpuCounters;
use super::process::{Limits, ProcessTable};
use super::{Context, Pipeline, decode};
use crate::clock::ClockOffset;
use hoop_records::render;
use hoop_records::{Fact, Record, Shared, Workload};

const CPUS: usize = 4;
/// Processes that events are about: few, so that they meet.
const PROCESSES: u8 = 8;
const WORKLOAD: u64 = 4242;

/// Events, losses and settles in an order that the bytes choose.
///
/// Holds: no panic; every record is one line of JSON; every number that a CPU gave is in one
/// record or in one gap.
pub fn events(data: &[u8]) {
    let mut kernel = Kernel::new(data);
    let mut records = Records::default();
    let mut pipeline = Pipeline::new(ProcessTable::new(
        Limits {
            processes: 6,
            bytes: 4096,
            grace_ns: 1000,
        },
        0,
    ));
    let mut context = Context {
        directory: &Names,
        offset: ClockOffset::default(),
    };
    let mut late = None;
    while let Some(step) = kernel.byte() {
        match step % 8 {
            0..=3 => pipeline.ingest(&kernel.event(), &context, &mut |it| records.take(&it)),
            4 => {
                // Written after events with higher numbers.
                if let Some(event) = late.replace(kernel.event()) {
                    pipeline.ingest(&event, &context, &mut |it| records.take(&it));
                }
            }
            5 => kernel.lose(),
            6 => {
                let bytes = kernel.anything();
                let _ = decode::decode(&bytes);
                pipeline.ingest(&bytes, &context, &mut |it| records.take(&it));
            }
            _ => {
                let (counters, now) = (kernel.counters(), kernel.now());
                // The wall clock may be set to anything.
                context.offset.0 = i64::from(kernel.next().cast_signed()) << 56;
                pipeline.settle(&counters, now, &context, &mut |it| records.take(&it));
            }
        }
    }
    if let Some(event) = late {
        pipeline.ingest(&event, &context, &mut |it| records.take(&it));
    }
    let (counters, now) = (kernel.counters(), kernel.now());
    pipeline.finish(&counters, now, &context, &mut |it| records.take(&it));

    let numbered: u64 = counters.iter().map(|cpu| cpu.numbered).sum();
    let stats = pipeline.stats();
    assert_eq!(stats.recorded + stats.missing, numbered, "{stats:?}");
    assert_eq!(records.missing, stats.missing, "{stats:?}");
    assert!(records.others <= stats.recorded, "{stats:?}");
}

/// Gives events as the programs would, with numbers that are right.
struct Kernel<'d> {
    data: &'d [u8],
    cpus: [CpuCounters; CPUS],
    time: u64,
}

impl<'d> Kernel<'d> {
    fn new(data: &'d [u8]) -> Self {
        let cpu = |cpu| CpuCounters {
            cpu,
            ..CpuCounters::default()
        };
        Self {
            data,
            cpus: [0, 1, 2, 3].map(cpu),
            time: 1,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.data.split_first()?;
        self.data = rest;
        Some(byte)
    }

    fn next(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    /// The next bytes, at most so many.
    fn take(&mut self, len: usize) -> &'d [u8] {
        let (bytes, rest) = self.data.split_at(len.min(self.data.len()));
        self.data = rest;
        bytes
    }

    /// Time never goes back, and sometimes goes on by more than anything waits.
    fn now(&mut self) -> u64 {
        self.time += 1 << (self.next() % 40);
        self.time
    }

    fn number(&mut self) -> (u16, u64) {
        let cpu = &mut self.cpus[usize::from(self.data.first().copied().unwrap_or(0)) % CPUS];
        cpu.numbered += 1;
        (cpu.cpu, cpu.numbered)
    }

    fn counters(&self) -> Vec<CpuCounters> {
        self.cpus.to_vec()
    }

    fn lose(&mut self) {
        let (cpu, _) = self.number();
        let cause = usize::from(self.next()) % LossCause::ALL.len();
        self.cpus[usize::from(cpu)].lost[cause] += 1;
    }

    fn key(&mut self) -> ProcessKey {
        let tgid = u32::from(self.next() % PROCESSES);
        ProcessKey {
            start_ns: u64::from(tgid) * 1000,
            tgid,
            reserved: 0,
        }
    }

    fn header(&mut self, kind: EventKind, size: usize) -> Header {
        let (cpu, sequence) = self.number();
        let key = self.key();
        Header {
            sequence,
            boot_ns: self.now(),
            workload: WORKLOAD + u64::from(self.next() % 2),
            start_ns: key.start_ns,
            tgid: key.tgid,
            tid: key.tgid,
            kind: kind as u16,
            cpu,
            size: size as u32,
        }
    }

    /// A fixed part with anything in it.
    fn fixed<T: FromBytes + FromZeros + IntoBytes + Immutable>(&mut self) -> T {
        let mut fixed = T::new_zeroed();
        let len = usize::from(self.next());
        let bytes = self.take(len.min(size_of::<T>()));
        fixed.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        fixed
    }

    /// An event that can be decoded.
    fn event(&mut self) -> Vec<u8> {
        match self.next() % 9 {
            0 => {
                let header = self.header(EventKind::Fork, size_of::<ForkEvent>());
                let parent = self.key();
                ForkEvent { header, parent }.as_bytes().to_vec()
            }
            1 | 2 => {
                let [path, cwd, args] = [0; 3].map(|_| {
                    let len = usize::from(self.next());
                    self.take(len)
                });
                let size = size_of::<ExecEvent>() + path.len() + cwd.len() + args.len();
                let mut event: ExecEvent = self.fixed();
                event.header = self.header(EventKind::Exec, size);
                event.parent = self.key();
                event.path_len = path.len() as u16;
                event.cwd_len = cwd.len() as u16;
                event.args_len = args.len() as u16;
                event.hook = Hook::Exec as u8;
                event.verdict = event.verdict % Verdict::Shadow as u8 + 1;
                event.enforcement %= Enforcement::Failed as u8 + 1;
                [event.as_bytes(), path, cwd, args].concat()
            }
            3 => {
                let len = usize::from(self.next());
                let bytes = self.take(len);
                let mut event: ArgsEvent = self.fixed();
                event.header = self.header(EventKind::Args, size_of::<ArgsEvent>() + bytes.len());
                event.len = bytes.len() as u16;
                [event.as_bytes(), bytes].concat()
            }
            4 => {
                let mut event: ExitEvent = self.fixed();
                event.header = self.header(EventKind::Exit, size_of::<ExitEvent>());
                event.as_bytes().to_vec()
            }
            5 => {
                let mut event: NetEvent = self.fixed();
                event.header = self.header(EventKind::Net, size_of::<NetEvent>());
                event.hook %= Hook::SockCreate as u8;
                event.verdict = event.verdict % Verdict::Shadow as u8 + 1;
                event.as_bytes().to_vec()
            }
            6 => {
                let mut event: SocketEvent = self.fixed();
                event.header = self.header(EventKind::Socket, size_of::<SocketEvent>());
                event.hook = Hook::SockCreate as u8;
                event.verdict = event.verdict % Verdict::Shadow as u8 + 1;
                event.as_bytes().to_vec()
            }
            7 => {
                let len = usize::from(self.next());
                let path = self.take(len);
                let mut event: GuardEvent = self.fixed();
                event.header = self.header(EventKind::Guard, size_of::<GuardEvent>() + path.len());
                event.hook = [Hook::ExecCheck, Hook::Signal][usize::from(event.hook % 2)] as u8;
                event.verdict = event.verdict % Verdict::Shadow as u8 + 1;
                event.path_len = path.len() as u16;
                [event.as_bytes(), path].concat()
            }
            _ => {
                let mut event: MoveEvent = self.fixed();
                event.header = self.header(EventKind::Move, size_of::<MoveEvent>());
                event.hook = Hook::CgroupMove as u8;
                event.verdict %= Verdict::Shadow as u8 + 1;
                event.as_bytes().to_vec()
            }
        }
    }

    /// Bytes that may be no event, of a CPU that numbered them all the same.
    fn anything(&mut self) -> Vec<u8> {
        let (cpu, sequence) = self.number();
        let len = usize::from(self.next());
        let mut bytes = self.take(len).to_vec();
        if let Ok((header, _)) = Header::mut_from_prefix(&mut bytes) {
            header.cpu = cpu;
            header.sequence = sequence;
        }
        bytes
    }
}

/// What came out.
#[derive(Default)]
struct Records {
    line: Vec<u8>,
    missing: u64,
    others: u64,
}

impl Records {
    fn take(&mut self, record: &Record) {
        self.line.clear();
        render(record, &mut self.line);
        let end = self.line.iter().position(|&byte| byte == b'\n');
        assert_eq!(end, Some(self.line.len() - 1), "not one line");
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&self.line) {
            panic!("{error}: {}", self.line.escape_ascii());
        }
        match &record.fact {
            Some(Fact::Gap(gap)) => self.missing += gap.count,
            _ => self.others += 1,
        }
    }
}

/// Knows one of two workloads, and every other rule.
struct Names;

impl Directory for Names {
    fn workload(&self, cgroup_id: u64) -> Option<Shared<Workload>> {
        (cgroup_id == WORKLOAD).then(|| Shared::new(Workload::default()))
    }

    fn rule(&self, number: u32) -> Option<Rule<'_>> {
        (number % 2 == 1).then_some(Rule {
            name: "rule",
            because: "reason",
        })
    }

    fn masker(&self, _cgroup_id: u64) -> Arc<hoop_mask::Masker> {
        super::masking::of_no_policy()
    }

    fn cgroup(&self, cgroup_id: u64) -> Option<Arc<str>> {
        (cgroup_id % 2 == 1).then(|| "/elsewhere".into())
    }
}
