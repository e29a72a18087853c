//! An event becomes a record: who did it, in which workload, and what the policy said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hoop_common::event::{
    EXEC_PATH_TRUNCATED, ExecEvent, ExitEvent, ForkEvent, Header, Hook, ProcessKey, Verdict,
};
use hoop_common::policy::{Key, Mode, SocketKind};
use hoop_mask::Masker;

use super::event::{Guard, Judgement, Missing, Move, Net, Socket, process_key};
use super::process::{Executed, Process, ProcessTable, Program, Unseen};
use super::{masking, text};
use crate::clock::ClockOffset;
use hoop_records::Process as ProcessMessage;
use hoop_records::{
    Actor, Ancestor, ConnectionInfo, Endpoint, Fact, File, Gap, Kind, Lifecycle, LogChange,
    NetworkActivity, Origin, ParentProcess, ProcessActivity, Record, Result, Session, Shared,
    SocketActivity, Verdict as Judged, Workload,
};

/// Ancestors that a record names.
pub const ANCESTRY: usize = 16;

/// What the daemon knows and events only have numbers for. Asked for every event: answers must
/// be at hand.
pub trait Directory {
    /// The workload of a tagged cgroup.
    fn workload(&self, cgroup_id: u64) -> Option<Shared<Workload>>;

    /// The rule with this number.
    fn rule(&self, number: u32) -> Option<Rule<'_>>;

    /// What masks the commands of a workload, also of one that is not known.
    fn masker(&self, cgroup_id: u64) -> Arc<Masker>;

    /// The path of a cgroup, below the cgroup v2 mount.
    fn cgroup(&self, cgroup_id: u64) -> Option<Arc<str>>;
}

/// What a rule number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The rule's name.
    pub name: &'a str,
    /// Its reason; empty if it has none.
    pub because: &'a str,
}

/// What attribution looks at.
pub struct Attribution<'a, D> {
    /// The processes.
    pub table: &'a mut ProcessTable,
    /// The names behind numbers.
    pub directory: &'a D,
    /// The wall clock.
    pub offset: ClockOffset,
}

/// The name of a process or session in records: its pid and start, as `TGID-STARTNS`.
#[must_use]
pub fn uid(key: ProcessKey) -> String {
    format!("{}-{}", key.tgid, key.start_ns)
}

/// A record about Hoop itself, now.
#[must_use]
pub fn lifecycle(kind: Kind, activity: &str, subject: String, detail: String) -> Record {
    let boot_ns = crate::clock::boot_ns();
    Record {
        time_dt: ClockOffset::measure().utc(boot_ns),
        boot_time_ns: boot_ns,
        kind: kind.into(),
        class_uid: APPLICATION_LIFECYCLE,
        activity_id: match activity {
            "started" => 3,
            "stopped" => 4,
            "tagged" => 6,
            "untagged" => 7,
            "loaded" => 8,
            _ => OTHER,
        },
        fact: Some(Fact::Lifecycle(Lifecycle {
            activity: activity.to_owned(),
            subject,
            detail,
            hooks: Vec::new(),
        })),
        ..Record::default()
    }
}

/// The record of a gap between kernel and pipeline. `boot_ns` is when it was found.
#[must_use]
pub fn gap(missing: Missing, boot_ns: u64, offset: ClockOffset) -> Record {
    let gap = Gap {
        cpu: missing.cpu.into(),
        first: missing.first,
        last: missing.last,
        count: missing.count,
        cause: missing.cause,
    };
    gap_at(gap, boot_ns, offset)
}

/// The record of a gap behind the pipeline, found now.
#[must_use]
pub fn gap_now(gap: Gap) -> Record {
    gap_at(gap, crate::clock::boot_ns(), ClockOffset::measure())
}

/// A record about the audit log itself, from now.
#[must_use]
pub fn log_changed(change: LogChange) -> Record {
    let boot_ns = crate::clock::boot_ns();
    Record {
        time_dt: ClockOffset::measure().utc(boot_ns),
        boot_time_ns: boot_ns,
        kind: Kind::Log.into(),
        class_uid: APPLICATION_LIFECYCLE,
        activity_id: OTHER,
        fact: Some(Fact::Log(change)),
        ..Record::default()
    }
}

fn gap_at(gap: Gap, boot_ns: u64, offset: ClockOffset) -> Record {
    Record {
        time_dt: offset.utc(boot_ns),
        boot_time_ns: boot_ns,
        kind: Kind::Gap.into(),
        class_uid: APPLICATION_LIFECYCLE,
        activity_id: OTHER,
        fact: Some(Fact::Gap(gap)),
        ..Record::default()
    }
}

// OCSF 1.x: classes, and activities within them. A fork and an exec are both a launch; a move is
// in no dictionary. Sockets are asked for before there is a connection.
const PROCESS_ACTIVITY: u32 = 1007;
const NETWORK_ACTIVITY: u32 = 4001;
const APPLICATION_LIFECYCLE: u32 = 6002;
const LAUNCH: u32 = 1;
const TERMINATE: u32 = 2;
const OPEN_PROCESS: u32 = 3;
const OPEN: u32 = 1;
const REFUSE: u32 = 5;
const TRAFFIC: u32 = 6;
const OTHER: u32 = 99;

impl<D: Directory> Attribution<'_, D> {
    /// A process was created.
    pub fn fork(&mut self, event: &ForkEvent) -> Record {
        let activity = ProcessActivity::default();
        self.process(&event.header, Kind::Fork, LAUNCH, activity)
    }

    /// A process runs a program. `command_line` is the whole one if the table keeps less.
    pub fn exec(&mut self, exec: &Executed<'_>, command_line: Option<String>) -> Record {
        let header = &exec.event.header;
        let mut record = self.process(header, Kind::Exec, LAUNCH, ProcessActivity::default());
        let ExecEvent {
            mode, rule, epoch, ..
        } = *exec.event;
        record.verdict = Some(self.judged(exec.judgement, mode, rule, epoch));
        if let (Some(command_line), Some(actor)) = (command_line, &record.actor) {
            let mut actor = Actor::clone(actor);
            if let Some(process) = &mut actor.process {
                process.cmd_line = command_line;
                process.cmd_line_truncated = !exec.whole;
            }
            record.actor = Some(actor.into());
        }
        record
    }

    /// A process ended.
    pub fn exit(&mut self, event: &ExitEvent) -> Record {
        // As wait(2) has it: the signal in the low seven bits, else the status in the next byte.
        let signal = event.status & 0x7f;
        let code = event.status >> 8 & 0xff;
        let activity = if signal == 0 {
            ProcessActivity {
                exit_code: Some(code.cast_signed()),
                ..ProcessActivity::default()
            }
        } else {
            ProcessActivity {
                signal: Some(signal.cast_signed()),
                ..ProcessActivity::default()
            }
        };
        self.process(&event.header, Kind::Exit, TERMINATE, activity)
    }

    /// A process entered or left a workload.
    pub fn moved(&mut self, moved: &Move) -> Record {
        let event = &moved.fixed;
        let cgroup = self.directory.cgroup(event.to);
        let by_another = event.mover.tgid != 0 && event.mover != process_key(&event.header);
        let activity = ProcessActivity {
            cgroup: cgroup.map_or_else(|| event.to.to_string(), |path| path.as_ref().to_owned()),
            escaped: event.escaped != 0,
            moved_by: by_another.then(|| other(self.table, event.mover)),
            ..ProcessActivity::default()
        };
        let mut record = self.process(&event.header, Kind::Move, OTHER, activity);
        record.verdict = moved
            .judgement
            .map(|judgement| self.judged(judgement, event.mode, event.rule, event.epoch));
        record
    }

    /// A destination was judged.
    pub fn net(&mut self, net: &Net) -> Record {
        let event = &net.fixed;
        let (kind, allowed) = match net.judgement.hook {
            Hook::Egress => (Kind::Packet, TRAFFIC),
            _ => (Kind::Connect, OPEN),
        };
        let mut record = self.record(&event.header, kind, NETWORK_ACTIVITY);
        record.activity_id = if net.judgement.verdict == Verdict::Deny {
            REFUSE
        } else {
            allowed
        };
        record.verdict = Some(self.judged(net.judgement, event.mode, event.rule, event.epoch));
        let unbound = event.source.bits() == 0 && event.source_port == 0;
        let source = (!unbound).then(|| endpoint(event.source, event.source_port, event.protocol));
        record.fact = Some(Fact::Network(NetworkActivity {
            dst_endpoint: Some(endpoint(
                event.destination,
                event.destination_port,
                event.protocol,
            )),
            src_endpoint: source,
            connection_info: Some(ConnectionInfo {
                uid: event.cookie,
                protocol_num: event.protocol.into(),
                protocol_name: protocol_name(event.protocol),
                direction: "Outbound".to_owned(),
                netns: 0,
            }),
        }));
        record
    }

    /// A socket was asked for.
    pub fn socket(&mut self, socket: &Socket) -> Record {
        let event = &socket.fixed;
        let (family, kind) = (event.family.into(), event.kind.into());
        let mut record = self.record(&event.header, Kind::Socket, NETWORK_ACTIVITY);
        record.activity_id = if socket.judgement.verdict == Verdict::Deny {
            REFUSE
        } else {
            OTHER
        };
        record.verdict = Some(self.judged(socket.judgement, event.mode, event.rule, event.epoch));
        record.fact = Some(Fact::Socket(SocketActivity {
            kind: socket_kind(SocketKind::of(family, kind, event.protocol)).to_owned(),
            family,
            r#type: kind,
            protocol: event.protocol,
        }));
        record
    }

    /// A program was refused, or a reach beyond the workload was judged. The process stays what it
    /// was.
    pub fn guard(&mut self, guard: &Guard<'_>) -> Record {
        let event = &guard.fixed;
        let judgement = guard.judgement;
        let masker = self.directory.masker(event.header.workload);
        let (kind, activity_id, activity) = if judgement.hook == Hook::ExecCheck {
            let program = File {
                path: text::path(&masking::bytes(&masker, guard.path, true)),
                truncated: event.flags & EXEC_PATH_TRUNCATED != 0,
            };
            let activity = ProcessActivity {
                program: Some(program),
                ..ProcessActivity::default()
            };
            (Kind::Exec, LAUNCH, activity)
        } else {
            let of_process = event.target.tgid != 0;
            let activity = ProcessActivity {
                operation: judgement.hook.name().to_owned(),
                operation_detail: event.detail,
                target: of_process.then(|| other(self.table, event.target)),
                ..ProcessActivity::default()
            };
            let activity_id = match judgement.hook {
                Hook::Ptrace => OPEN_PROCESS,
                _ => OTHER,
            };
            (Kind::Tamper, activity_id, activity)
        };
        let mut record = self.process(&event.header, kind, activity_id, activity);
        record.verdict = Some(self.judged(judgement, event.mode, event.rule, event.epoch));
        record
    }

    fn process(
        &mut self,
        header: &Header,
        kind: Kind,
        activity_id: u32,
        activity: ProcessActivity,
    ) -> Record {
        let mut record = self.record(header, kind, PROCESS_ACTIVITY);
        record.activity_id = activity_id;
        record.fact = Some(Fact::Process(activity));
        record
    }

    fn record(&mut self, header: &Header, kind: Kind, class_uid: u32) -> Record {
        let (actor, attribution) = self.actor(process_key(header));
        let workload = self.directory.workload(header.workload).unwrap_or_else(|| {
            Shared::new(Workload {
                cgroup_id: header.workload,
                ..Workload::default()
            })
        });
        Record {
            time_dt: self.offset.utc(header.boot_ns),
            boot_time_ns: header.boot_ns,
            kind: kind.into(),
            class_uid,
            origin: Some(Origin {
                cpu: header.cpu.into(),
                sequence: header.sequence,
            }),
            workload: Some(workload),
            actor,
            attribution: attribution.to_owned(),
            ..Record::default()
        }
    }

    /// Who, and why that is incomplete.
    pub(super) fn actor(&mut self, key: ProcessKey) -> (Option<Shared<Actor>>, &'static str) {
        if key.tgid == 0 {
            return (None, "the kernel could not say which process");
        }
        let attribution = |seen| match seen {
            true => "",
            false => "program not seen: started before Hoop or outside the workload",
        };
        if let Some((actor, seen)) = self.table.cached(key) {
            return (Some(actor), attribution(seen));
        }
        let Some(process) = self.table.get(key) else {
            let process = ProcessMessage {
                pid: key.tgid,
                uid: uid(key),
                ..ProcessMessage::default()
            };
            let actor = Actor {
                process: Some(process),
                ..Actor::default()
            };
            let why = match self.table.unseen(key) {
                Unseen::Before => "process not seen: started before Hoop",
                Unseen::Evicted => "process not seen: evicted from the full process table",
                Unseen::Lost => "process not seen: the events of its start were lost",
            };
            return (Some(actor.into()), why);
        };
        let attribution = attribution(process.program.is_some());
        let actor = Shared::new(actor(self.table, process));
        self.table.cache(key, &actor);
        (Some(actor), attribution)
    }

    fn judged(&self, judgement: Judgement, mode: u8, rule: u32, epoch: u64) -> Judged {
        let (rule, because) = match self.directory.rule(rule) {
            Some(rule) => (rule.name.to_owned(), rule.because.to_owned()),
            None => (format!("unknown rule {rule}"), String::new()),
        };
        let result = match judgement.verdict {
            Verdict::Allow => Result::Allow,
            Verdict::Deny => Result::Deny,
            Verdict::Shadow => Result::Shadow,
        };
        let mode = match Mode::from_number(mode.into()) {
            Mode::Observe => "observe",
            Mode::Shadow => "shadow",
            Mode::Enforce => "enforce",
        };
        Judged {
            result: result.into(),
            rule,
            because,
            mode: mode.to_owned(),
            hook: judgement.hook.name().to_owned(),
            epoch,
            enforcement: judgement.enforcement.name().to_owned(),
        }
    }
}

fn actor(table: &ProcessTable, process: &Process) -> Actor {
    let mut message = ProcessMessage {
        pid: process.key.tgid,
        uid: uid(process.key),
        name: name(process),
        user: process.user,
        namespaces: process.namespaces,
        parent_process: (process.parent.tgid != 0).then(|| other(table, process.parent)),
        ..ProcessMessage::default()
    };
    if let Some(program) = process.program.as_deref() {
        let Program {
            path,
            path_truncated,
            cwd,
            command_line,
            command_line_truncated,
            ..
        } = program;
        message.file = Some(File {
            path: path.clone(),
            truncated: *path_truncated,
        });
        message.cmd_line.clone_from(command_line);
        message.cmd_line_truncated = *command_line_truncated;
        message.working_directory.clone_from(cwd);
    }
    let ancestry = table.ancestry(process).take(ANCESTRY);
    Actor {
        process: Some(message),
        session: Some(Session {
            uid: uid(process.session),
        }),
        ancestry: ancestry
            .map(|ancestor| Ancestor {
                pid: ancestor.key.tgid,
                name: name(ancestor),
            })
            .collect(),
    }
}

/// A process that another record is about only by the way.
fn other(table: &ProcessTable, key: ProcessKey) -> ParentProcess {
    let known = table.get(key);
    ParentProcess {
        pid: key.tgid,
        uid: uid(known.map_or(key, |known| known.key)),
        name: known.map_or_else(String::new, name),
    }
}

fn name(process: &Process) -> String {
    process
        .program
        .as_ref()
        .map_or_else(String::new, |program| program.name().to_owned())
}

fn endpoint(address: Key, port: u16, protocol: u8) -> Endpoint {
    let ip = if address.is_v4() {
        IpAddr::V4(Ipv4Addr::from_bits(address.lo as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(address.bits()))
    };
    Endpoint {
        ip: ip.to_string(),
        port: has_ports(protocol).then_some(port.into()),
    }
}

/// TCP, UDP, DCCP, SCTP and UDP-Lite.
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// The keywords of <https://www.iana.org/assignments/protocol-numbers>, in lower case.
fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        1 => "icmp",
        2 => "igmp",
        4 => "ipv4",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        41 => "ipv6",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "ipv6-icmp",
        132 => "sctp",
        136 => "udplite",
        other => return other.to_string(),
    };
    name.to_owned()
}

fn socket_kind(kind: SocketKind) -> &'static str {
    match kind {
        SocketKind::Tcp => "tcp",
        SocketKind::Udp => "udp",
        SocketKind::Unix => "unix",
        SocketKind::Icmp => "icmp",
        SocketKind::Raw => "raw",
        SocketKind::OtherInet => "other-inet",
        SocketKind::Netlink => "netlink",
        SocketKind::Packet => "packet",
        SocketKind::Vsock => "vsock",
        SocketKind::Alg => "alg",
        SocketKind::Other => "other",
    }
}
