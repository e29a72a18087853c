//! Events to JSON lines, on one thread and without I/O.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hoop_agent::clock::ClockOffset;
use hoop_agent::pipeline::attribute::{Directory, Rule};
use hoop_agent::pipeline::process::{Limits, ProcessTable};
use hoop_agent::pipeline::{Context, Pipeline};
use hoop_common::event::{EventKind, ExecEvent, Header, Hook, NetEvent, ProcessKey, Verdict};
use hoop_common::policy::{Key, Mode};
use hoop_records::{Shared, Workload};
use zerocopy::IntoBytes as _;

/// The workload of every event here.
const WORKLOAD: u64 = 4242;
const PROCESS: ProcessKey = ProcessKey {
    start_ns: 101_000_000_707,
    tgid: 101,
    reserved: 0,
};

/// Turns `events` denied connects into lines. Events a second of this thread's CPU time: the
/// machine is shared, and waiting for a core is not the pipeline's doing.
pub fn speed(events: u64) -> Result<f64> {
    let names = Names(Shared::new(Workload {
        cgroup_id: WORKLOAD,
        cgroup: "/hoop/copilot-1".into(),
        policy: "coding-copilots".into(),
        identity: "spiffe://example.org/agents/copilot".into(),
        on_behalf_of: "user:alice@example.org".into(),
    }));
    let context = Context {
        directory: &names,
        offset: ClockOffset::measure(),
    };
    let mut pipeline = Pipeline::new(ProcessTable::new(Limits::default(), 0));
    pipeline.ingest(&exec(1), &context, &mut |_record| {});
    let (mut line, mut bytes) = (Vec::new(), 0_usize);
    let start = cpu_time()?;
    for sequence in 2..2 + events {
        pipeline.ingest(net(sequence).as_bytes(), &context, &mut |record| {
            hoop_records::render(&record, &mut line);
            bytes += line.len();
            line.clear();
        });
    }
    let took = cpu_time()? - start;
    anyhow::ensure!(bytes as u64 / events > 100, "the lines are missing");
    Ok(events as f64 / took.as_secs_f64())
}

struct Names(Shared<Workload>);

impl Directory for Names {
    fn workload(&self, cgroup_id: u64) -> Option<Shared<Workload>> {
        (cgroup_id == WORKLOAD).then(|| self.0.clone())
    }

    fn rule(&self, _number: u32) -> Option<Rule<'_>> {
        Some(Rule {
            name: "metadata",
            because: "cloud credentials",
        })
    }

    fn masker(&self, _cgroup_id: u64) -> Arc<hoop_mask::Masker> {
        hoop_agent::pipeline::masking::of_no_policy()
    }

    fn cgroup(&self, _cgroup_id: u64) -> Option<Arc<str>> {
        None
    }
}

fn header<T>(sequence: u64, kind: EventKind, more: usize) -> Header {
    Header {
        sequence,
        boot_ns: 1_000_000_000_000 + sequence,
        workload: WORKLOAD,
        start_ns: PROCESS.start_ns,
        tgid: PROCESS.tgid,
        tid: PROCESS.tgid,
        kind: kind as u16,
        cpu: 0,
        size: (size_of::<T>() + more) as u32,
    }
}

/// The process becomes `curl`.
fn exec(sequence: u64) -> Vec<u8> {
    let (path, cwd, args) = (
        b"/usr/bin/curl".as_slice(),
        b"/srv/agent".as_slice(),
        b"curl\0-sS\0https://192.0.2.7/\0".as_slice(),
    );
    let event = ExecEvent {
        header: header::<ExecEvent>(
            sequence,
            EventKind::Exec,
            path.len() + cwd.len() + args.len(),
        ),
        parent: ProcessKey {
            start_ns: 1,
            tgid: 1,
            reserved: 0,
        },
        uid: 1000,
        gid: 1000,
        euid: 1000,
        egid: 1000,
        namespaces: [11, 12, 13, 14, 15, 16, 17],
        args_total: args.len() as u32,
        args_len: args.len() as u16,
        path_len: path.len() as u16,
        cwd_len: cwd.len() as u16,
        flags: 0,
        epoch: 3,
        rule: 1,
        hook: Hook::Exec as u8,
        verdict: Verdict::Allow as u8,
        mode: 2,
        enforcement: 0,
    };
    [event.as_bytes(), path, cwd, args].concat()
}

fn net(sequence: u64) -> NetEvent {
    NetEvent {
        header: header::<NetEvent>(sequence, EventKind::Net, 0),
        destination: Key::from_v4(0xc000_0207),
        source: Key { hi: 0, lo: 0 },
        cookie: sequence,
        epoch: 3,
        rule: 2,
        reserved: 0,
        destination_port: 443,
        source_port: 0,
        protocol: 6,
        hook: Hook::Connect4 as u8,
        verdict: Verdict::Deny as u8,
        mode: Mode::Enforce as u8,
    }
}

/// What this thread has run so far.
pub fn cpu_time() -> Result<Duration> {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.into())
}
