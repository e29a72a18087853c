//! Events as the kernel writes them, for tests.

use std::collections::HashMap;
use std::sync::Arc;

use hoop_common::event::{
    ArgsEvent, Enforcement, EventKind, ExecEvent, ExitEvent, ForkEvent, GuardEvent, Header, Hook,
    MoveEvent, NetEvent, ProcessKey, SocketEvent, Verdict,
};
use hoop_common::policy::{Key, Mode};
use zerocopy::IntoBytes as _;

use super::attribute::{Directory, Rule};
use hoop_records::{Shared, Workload};

/// The workload of every event here.
pub(super) const WORKLOAD: u64 = 4242;

/// When process `tgid` started.
pub(super) fn start_ns(tgid: u32) -> u64 {
    u64::from(tgid) * 1_000_000_007
}

pub(super) fn key(tgid: u32) -> ProcessKey {
    ProcessKey {
        start_ns: start_ns(tgid),
        tgid,
        reserved: 0,
    }
}

/// A header of process 100 on CPU 0.
pub(super) fn header(sequence: u64) -> Header {
    Header {
        sequence,
        boot_ns: 1_000_000_000_000 + sequence,
        workload: WORKLOAD,
        start_ns: start_ns(100),
        tgid: 100,
        tid: 100,
        kind: EventKind::Exec as u16,
        cpu: 0,
        size: 0,
    }
}

/// A header of this process, kind and size.
fn header_of<T>(sequence: u64, tgid: u32, kind: EventKind, more: usize) -> Header {
    Header {
        start_ns: start_ns(tgid),
        tgid,
        tid: tgid,
        kind: kind as u16,
        size: (size_of::<T>() + more) as u32,
        ..header(sequence)
    }
}

/// An exec of process 100, child of process 1.
pub(super) fn exec(
    sequence: u64,
    path: &[u8],
    cwd: &[u8],
    args: &[u8],
    args_total: usize,
) -> Vec<u8> {
    exec_by(100, 1, sequence, path, cwd, args, args_total)
}

pub(super) fn exec_by(
    tgid: u32,
    parent: u32,
    sequence: u64,
    path: &[u8],
    cwd: &[u8],
    args: &[u8],
    args_total: usize,
) -> Vec<u8> {
    let more = path.len() + cwd.len() + args.len();
    let event = ExecEvent {
        header: header_of::<ExecEvent>(sequence, tgid, EventKind::Exec, more),
        parent: key(parent),
        uid: 1000,
        gid: 1000,
        euid: 0,
        egid: 1000,
        namespaces: [11, 12, 13, 14, 15, 16, 17],
        args_total: args_total as u32,
        args_len: args.len() as u16,
        path_len: path.len() as u16,
        cwd_len: cwd.len() as u16,
        flags: 0,
        epoch: 3,
        rule: 3,
        hook: Hook::Exec as u8,
        verdict: Verdict::Allow as u8,
        mode: Mode::Enforce as u8,
        enforcement: Enforcement::None as u8,
    };
    [event.as_bytes(), path, cwd, args].concat()
}

pub(super) fn args(sequence: u64, tgid: u32, offset: usize, bytes: &[u8], last: bool) -> Vec<u8> {
    let event = ArgsEvent {
        header: header_of::<ArgsEvent>(sequence, tgid, EventKind::Args, bytes.len()),
        offset: offset as u32,
        len: bytes.len() as u16,
        last: last.into(),
    };
    [event.as_bytes(), bytes].concat()
}

pub(super) fn fork(sequence: u64, tgid: u32, parent: u32) -> Vec<u8> {
    let header = header_of::<ForkEvent>(sequence, tgid, EventKind::Fork, 0);
    ForkEvent {
        header,
        parent: key(parent),
    }
    .as_bytes()
    .to_vec()
}

pub(super) fn exit(sequence: u64, tgid: u32, status: u32) -> Vec<u8> {
    let header = header_of::<ExitEvent>(sequence, tgid, EventKind::Exit, 0);
    ExitEvent {
        header,
        status,
        reserved: 0,
    }
    .as_bytes()
    .to_vec()
}

pub(super) fn moved(sequence: u64, tgid: u32, to: u64, escaped: bool) -> Vec<u8> {
    let header = header_of::<MoveEvent>(sequence, tgid, EventKind::Move, 0);
    MoveEvent {
        header,
        to,
        mover: key(tgid),
        epoch: 3,
        rule: if escaped { 2 } else { 0 },
        escaped: escaped.into(),
        verdict: if escaped { Verdict::Deny as u8 } else { 0 },
        mode: Mode::Enforce as u8,
        hook: Hook::CgroupMove as u8,
    }
    .as_bytes()
    .to_vec()
}

/// What process 100 was refused.
pub(super) fn guard(sequence: u64, hook: Hook, target: u32, path: &[u8]) -> Vec<u8> {
    let event = GuardEvent {
        header: header_of::<GuardEvent>(sequence, 100, EventKind::Guard, path.len()),
        target: key(target),
        epoch: 3,
        rule: 2,
        detail: 0,
        path_len: path.len() as u16,
        flags: 0,
        hook: hook as u8,
        verdict: Verdict::Deny as u8,
        mode: Mode::Enforce as u8,
        enforcement: Enforcement::Refused as u8,
    };
    [event.as_bytes(), path].concat()
}

/// A denied connect of process 100.
pub(super) fn net(sequence: u64) -> NetEvent {
    NetEvent {
        header: header_of::<NetEvent>(sequence, 100, EventKind::Net, 0),
        destination: Key::from_v4(0xc000_0207),
        source: Key { hi: 0, lo: 0 },
        cookie: 77,
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

/// An allowed TCP socket over IPv4, asked for by process 100.
pub(super) fn socket(sequence: u64) -> SocketEvent {
    SocketEvent {
        header: header_of::<SocketEvent>(sequence, 100, EventKind::Socket, 0),
        epoch: 3,
        rule: 1,
        family: 2,
        kind: 1,
        protocol: 0,
        hook: Hook::SockCreate as u8,
        verdict: Verdict::Allow as u8,
        mode: Mode::Enforce as u8,
        enforcement: 0,
    }
}

/// Rules 1 and 2, and [`WORKLOAD`].
pub(super) struct Names {
    workload: Shared<Workload>,
    rules: HashMap<u32, (&'static str, &'static str)>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            workload: Shared::new(Workload {
                cgroup_id: WORKLOAD,
                cgroup: "/hoop/copilot-1".into(),
                policy: "coding-copilots".into(),
                identity: "spiffe://example.org/agents/copilot".into(),
                on_behalf_of: "user:alice@example.org".into(),
            }),
            rules: HashMap::from([
                (1, ("sockets", "")),
                (2, ("metadata", "cloud credentials")),
                (3, ("default", "")),
            ]),
        }
    }
}

impl Directory for Names {
    fn workload(&self, cgroup_id: u64) -> Option<Shared<Workload>> {
        (cgroup_id == WORKLOAD).then(|| self.workload.clone())
    }

    fn rule(&self, number: u32) -> Option<Rule<'_>> {
        let &(name, because) = self.rules.get(&number)?;
        Some(Rule { name, because })
    }

    fn masker(&self, _cgroup_id: u64) -> Arc<hoop_mask::Masker> {
        super::masking::of_no_policy()
    }

    fn cgroup(&self, cgroup_id: u64) -> Option<Arc<str>> {
        (cgroup_id == 5).then(|| "/elsewhere".into())
    }
}
