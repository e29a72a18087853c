//! Events as the kernel writes them, and what the daemon knows beside them.

use std::sync::Arc;

use hoop_agent::pipeline::attribute::{Directory, Rule};
use hoop_common::event::{
    EventKind, ExecEvent, ExitEvent, ForkEvent, Header, Hook, NetEvent, ProcessKey, Verdict,
};
use hoop_common::policy::{Key, Mode};
use hoop_records::{Shared, Workload};
use zerocopy::IntoBytes as _;

/// The workload of every event here.
const WORKLOAD: u64 = 4242;

/// The process that entered the workload, `python3`.
pub const AGENT: u32 = 100;

/// What the names behind the numbers are.
pub struct Names(Shared<Workload>);

impl Default for Names {
    fn default() -> Self {
        Self(Shared::new(Workload {
            cgroup_id: WORKLOAD,
            cgroup: "/hoop/copilot-1".into(),
            policy: "coding-copilots".into(),
            identity: "spiffe://example.org/agents/copilot".into(),
            on_behalf_of: "user:alice@example.org".into(),
        }))
    }
}

impl Directory for Names {
    fn workload(&self, cgroup_id: u64) -> Option<Shared<Workload>> {
        (cgroup_id == WORKLOAD).then(|| self.0.clone())
    }

    fn rule(&self, number: u32) -> Option<Rule<'_>> {
        Some(match number {
            1 => Rule {
                name: "default",
                because: "",
            },
            2 => Rule {
                name: "metadata",
                because: "cloud credentials",
            },
            _ => Rule {
                name: "api",
                because: "",
            },
        })
    }

    fn masker(&self, _cgroup_id: u64) -> Arc<hoop_mask::Masker> {
        hoop_agent::pipeline::masking::of_no_policy()
    }

    fn cgroup(&self, _cgroup_id: u64) -> Option<Arc<str>> {
        None
    }
}

/// A run of an agent: what its commands do, one command after the other.
///
/// Of eight events one is a fork, one an exec with arguments of its own, five are connects, of them one
/// denied, and one an exit.
pub struct Run {
    sequence: u64,
    /// What differs from one command to the next; xorshift.
    noise: u64,
    waiting: Vec<Vec<u8>>,
}

impl Run {
    /// From the start of the agent itself.
    pub fn new() -> Self {
        Self {
            sequence: 1,
            noise: 0x9e37_79b9_7f4a_7c15,
            waiting: vec![exec(
                1,
                AGENT,
                1,
                b"/usr/bin/python3.13",
                b"python3\0-m\0agent.run\0--task\0tidy the order tables\0",
            )],
        }
    }

    /// Number of the last event.
    pub fn last(&self) -> u64 {
        self.sequence - self.waiting.len() as u64
    }

    /// The next event.
    pub fn next(&mut self) -> Vec<u8> {
        if self.waiting.is_empty() {
            self.command();
        }
        self.waiting.pop().unwrap_or_default()
    }

    fn command(&mut self) {
        let noise = self.noise();
        let process = 1000 + (self.sequence / 8) as u32;
        let first = self.sequence + 1;
        self.sequence += 8;
        let (path, args): (&[u8], String) = match noise % 4 {
            0 => (
                b"/usr/bin/curl",
                format!("curl\0-sS\0https://api.example.org/orders/{noise:x}\0"),
            ),
            1 => (
                b"/usr/bin/psql",
                format!(
                    "psql\0-h\0orders.example.org\0-c\0select * from orders where id = {noise}\0"
                ),
            ),
            2 => (
                b"/usr/bin/git",
                format!("git\0fetch\0--depth=1\0origin\0{noise:016x}\0"),
            ),
            _ => (
                b"/usr/bin/python3.13",
                format!("python3\0tools/report.py\0--customer\0{}\0", noise >> 40),
            ),
        };
        let mut events = vec![
            fork(first, process, AGENT),
            exec(first + 1, process, AGENT, path, args.as_bytes()),
        ];
        for number in 0..5 {
            let target = self.noise();
            let (to, port, rule, verdict) = match number {
                4 => (0xa9fe_a9fe, 80, 2, Verdict::Deny),
                _ => (0xcb00_7100 | target as u32 & 0xff, 443, 3, Verdict::Allow),
            };
            let mut event = net(first + 2 + number, process);
            event.destination = Key::from_v4(to);
            event.destination_port = port;
            event.rule = rule;
            event.verdict = verdict as u8;
            events.push(event.as_bytes().to_vec());
        }
        events.push(exit(
            first + 7,
            process,
            if noise.is_multiple_of(16) { 1 << 8 } else { 0 },
        ));
        events.reverse();
        self.waiting = events;
    }

    fn noise(&mut self) -> u64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise
    }
}

/// A connect that is denied, by a process that became `curl`.
pub fn net(sequence: u64, process: u32) -> NetEvent {
    NetEvent {
        header: header::<NetEvent>(sequence, process, EventKind::Net, 0),
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

/// A process runs a program.
pub fn exec(sequence: u64, process: u32, parent: u32, path: &[u8], args: &[u8]) -> Vec<u8> {
    let cwd = b"/srv/agent".as_slice();
    let more = path.len() + cwd.len() + args.len();
    let event = ExecEvent {
        header: header::<ExecEvent>(sequence, process, EventKind::Exec, more),
        parent: key(parent),
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
        mode: Mode::Enforce as u8,
        enforcement: 0,
    };
    [event.as_bytes(), path, cwd, args].concat()
}

fn fork(sequence: u64, process: u32, parent: u32) -> Vec<u8> {
    let event = ForkEvent {
        header: header::<ForkEvent>(sequence, process, EventKind::Fork, 0),
        parent: key(parent),
    };
    event.as_bytes().to_vec()
}

fn exit(sequence: u64, process: u32, status: u32) -> Vec<u8> {
    let event = ExitEvent {
        header: header::<ExitEvent>(sequence, process, EventKind::Exit, 0),
        status,
        reserved: 0,
    };
    event.as_bytes().to_vec()
}

fn key(process: u32) -> ProcessKey {
    ProcessKey {
        start_ns: u64::from(process) * 1_000_000_007,
        tgid: process,
        reserved: 0,
    }
}

fn header<T>(sequence: u64, process: u32, kind: EventKind, more: usize) -> Header {
    Header {
        sequence,
        // A hundred thousand a second.
        boot_ns: 1_000_000_000_000 + 10_007 * sequence,
        workload: WORKLOAD,
        start_ns: key(process).start_ns,
        tgid: process,
        tid: process,
        kind: kind as u16,
        cpu: 0,
        size: (size_of::<T>() + more) as u32,
    }
}
