//! Programs loaded and attached, one by one, each with what the kernel says to it.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixDatagram,
    },
    path::Path,
};

use aya::{
    Btf, Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkbAttachType, Lsm, Program, ProgramError, RawTracePoint,
        links::FdLink,
    },
    sys::{Stats, enable_stats},
};
use hoop_common::event::Offsets;

use super::{
    hooks::{Duty, HOOKS, Hook, HookState, Hooks, Need, Place},
    load::{Kernel, LoadError},
    perf::{self, Event},
    pins::Target,
    sys,
    tracefs::Tracefs,
};

/// Lines of the verifier's log that a reason shows.
const VERIFIER_LINES: usize = 12;

/// A link that is not pinned yet, by its program. Dropping it detaches the program.
pub(super) type FreshLink = (&'static str, FdLink);

/// Loads every program, and attaches those of the node without pins. What the kernel refuses is a
/// state, not an error.
pub(super) fn load_programs(
    ebpf: &mut Ebpf,
    btf: &Btf,
    offsets: &Offsets,
) -> (Hooks, Vec<FreshLink>) {
    let mut fresh = Vec::new();
    let mut lsm = LsmCalls::Unknown;
    let hooks = Hooks::gather(|hook, before| {
        if let Need::InsteadOf(other) = hook.need
            && before.is_loaded(other)
        {
            return HookState::Spare(other);
        }
        if let Some(member) = lacks(offsets, hook) {
            return HookState::Refused(format!("the kernel's type information has no {member}"));
        }
        let result = load_program(ebpf, hook, btf)
            .and_then(|()| match hook.duty {
                // Later: see `Kernel::set_capturing`.
                Duty::Captures | Duty::CapturesStdio => Ok(None),
                Duty::Judges | Duty::Observes => attach_to_node(ebpf, hook),
            })
            .map_err(|error| reason(&error))
            .and_then(|link| {
                if matches!(hook.place, Place::Lsm(_)) {
                    lsm.check(ebpf, hook)?;
                }
                fresh.extend(link.map(|link| (hook.program, link)));
                Ok(())
            });
        match result {
            Ok(()) if hook.duty != Duty::Judges => HookState::ObserveOnly,
            Ok(()) => HookState::Attached,
            Err(reason) => HookState::Refused(reason),
        }
    });
    (hooks, fresh)
}

/// A program that reports for the sake of plaintext, until this is dropped.
pub(super) enum Capturing {
    /// By a link.
    Link(#[expect(dead_code, reason = "held, not looked at")] FdLink),
    /// At a performance event.
    Event(#[expect(dead_code, reason = "held, not looked at")] Event),
}

impl Kernel {
    /// Lets the node's programs of this load report, silences and releases those of an earlier
    /// daemon, and pins these. Both were attached until now: neither has missed anything.
    ///
    /// # Errors
    ///
    /// When a pin cannot be made or removed.
    pub fn take_over_node(&mut self) -> Result<(), LoadError> {
        self.state.set_generation(self.generation);
        self.pins.release(Target::Node)?;
        self.pins.prepare(Target::Node)?;
        for (program, link) in std::mem::take(&mut self.fresh) {
            self.pin(link, Target::Node, program)?;
        }
        Ok(())
    }

    /// Attaches the cgroup programs to a tagged cgroup. Links of an earlier daemon are kept and
    /// get the new program in one step each.
    ///
    /// # Errors
    ///
    /// When the kernel refuses. The caller detaches then.
    pub fn attach_cgroup(&mut self, id: u64, cgroup: BorrowedFd<'_>) -> Result<(), LoadError> {
        let target = Target::Cgroup(id);
        self.pins.prepare(target)?;
        for hook in HOOKS.iter().filter(|hook| hook.is_of_workloads()) {
            let name = hook.program;
            let path = self.pins.link(target, name);
            if path.exists() {
                let link = sys::open_pinned(&path).map_err(|error| broken_at(&path, &error))?;
                let new = self.program_fd(name)?;
                sys::update_link(link.as_fd(), new).map_err(|error| broken_at(&path, &error))?;
                continue;
            }
            let link = self
                .attach_to_cgroup(name, cgroup)
                .map_err(|error| LoadError::Attach {
                    name: name.to_owned(),
                    target: format!("the cgroup with id {id}"),
                    source: io::Error::other(chain(&error)),
                })?;
            self.pin(link, target, name)?;
        }
        Ok(())
    }

    /// Attaches the programs that have one of these duties, and takes off the others of those that capture. Not
    /// pinned: nobody would read what they report.
    ///
    /// # Errors
    ///
    /// What the kernel refused to attach. The others are attached.
    pub fn set_capturing(&mut self, duties: &[Duty]) -> Result<(), LoadError> {
        self.capturing.retain(|(duty, _)| duties.contains(duty));
        let already: Vec<Duty> = self.capturing.iter().map(|(duty, _)| *duty).collect();
        let mut result = Ok(());
        for hook in HOOKS {
            if !duties.contains(&hook.duty)
                || already.contains(&hook.duty)
                || hook.place == Place::Libraries
                || !self.hooks().is_loaded(hook.program)
            {
                continue;
            }
            let attached = match hook.place {
                Place::Syscall(name) => self.attach_to_syscall(hook, name).map(Capturing::Event),
                _ => attach_to_node(&mut self.ebpf, hook)
                    .map_err(|error| io::Error::other(chain(&error)))
                    .and_then(|link| link.ok_or_else(|| io::Error::other("it has no place")))
                    .map(Capturing::Link),
            };
            match attached {
                Ok(attached) => self.capturing.push((hook.duty, attached)),
                Err(source) => {
                    result = Err(LoadError::Attach {
                        name: hook.program.to_owned(),
                        target: hook.place(),
                        source,
                    });
                }
            }
        }
        result
    }

    /// By the tracepoint's number: to look it up takes a mount, and the daemon may mount nothing by now.
    fn attach_to_syscall(&self, hook: &Hook, name: &str) -> io::Result<Event> {
        let id = self
            .syscalls
            .get(name)
            .ok_or_else(|| io::Error::other("the number of its tracepoint is not known"))?;
        let program = self.program_fd(hook.program).map_err(io::Error::other)?;
        perf::attach_tracepoint(program, *id)
    }

    /// Has the kernel measure how long programs run, for as long as the answer lives. It costs every run some
    /// nanoseconds.
    #[must_use]
    pub fn measure_run_times(&self) -> Option<std::os::fd::OwnedFd> {
        enable_stats(Stats::RunTime)
            .inspect_err(|error| tracing::warn!(%error, "run times of programs are not measured"))
            .ok()
    }

    /// Programs by name, how often they ran, and for how many seconds.
    #[must_use]
    pub fn run_times(&self) -> Vec<(String, u64, f64)> {
        self.ebpf
            .programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                let name = name.strip_prefix("hoop_").unwrap_or(name).to_owned();
                Some((name, info.run_count(), info.run_time().as_secs_f64()))
            })
            .collect()
    }

    /// Takes the cgroup programs off a cgroup.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn detach_cgroup(&self, id: u64) -> Result<(), LoadError> {
        Ok(self.pins.release(Target::Cgroup(id))?)
    }

    fn attach_to_cgroup(
        &mut self,
        name: &str,
        cgroup: BorrowedFd<'_>,
    ) -> Result<FdLink, ProgramError> {
        // The kernel treats every cgroup link as BPF_F_ALLOW_MULTI and refuses the flag itself.
        let mode = CgroupAttachMode::Single;
        match self.ebpf.program_mut(name) {
            Some(Program::CgroupSockAddr(program)) => {
                let id = program.attach(cgroup, mode)?;
                fd_link(program.take_link(id)?)
            }
            Some(Program::CgroupSkb(program)) => {
                let id = program.attach(cgroup, CgroupSkbAttachType::Egress, mode)?;
                fd_link(program.take_link(id)?)
            }
            Some(Program::CgroupSock(program)) => {
                let id = program.attach(cgroup, mode)?;
                fd_link(program.take_link(id)?)
            }
            _ => Err(ProgramError::UnexpectedProgramType),
        }
    }

    pub(super) fn program_fd(&self, name: &str) -> Result<BorrowedFd<'_>, LoadError> {
        self.ebpf
            .program(name)
            .ok_or(ProgramError::UnexpectedProgramType)
            .and_then(Program::fd)
            .map(AsFd::as_fd)
            .map_err(|error| LoadError::Program {
                name: name.to_owned(),
                reason: reason(&error),
            })
    }

    fn pin(&self, link: FdLink, target: Target, name: &str) -> Result<(), LoadError> {
        let path = self.pins.link(target, name);
        // The pin keeps the link; our own descriptor may close.
        link.pin(&path)
            .map(drop)
            .map_err(|error| broken_at(&path, &error))
    }
}

/// The struct member that a hook reads and this kernel does not have.
fn lacks(offsets: &Offsets, hook: &Hook) -> Option<&'static str> {
    match hook.place {
        // An older kernel has the tracepoint without it, and with other arguments.
        Place::Ring if offsets.io_kiocb_opcode == 0 => Some("io_kiocb.cmd or io_socket"),
        Place::Lsm("unix_stream_connect" | "unix_may_send") if offsets.unix_sock_path == 0 => {
            Some("unix_sock.path")
        }
        _ => None,
    }
}

fn load_program(ebpf: &mut Ebpf, hook: &Hook, btf: &Btf) -> Result<(), ProgramError> {
    match (ebpf.program_mut(hook.program), hook.place) {
        (Some(Program::CgroupSockAddr(program)), Place::Workloads) => program.load(),
        (Some(Program::CgroupSkb(program)), Place::Workloads) => program.load(),
        (Some(Program::CgroupSock(program)), Place::Workloads) => program.load(),
        (Some(Program::RawTracePoint(program)), Place::Tracepoint(_) | Place::Ring) => {
            program.load()
        }
        (Some(Program::Lsm(program)), Place::Lsm(name)) => program.load(name, btf),
        (Some(Program::UProbe(program)), Place::Libraries) => program.load(),
        (Some(Program::TracePoint(program)), Place::Syscall(_)) => program.load(),
        (Some(Program::BtfTracePoint(program)), Place::TrustedTracepoint(name)) => {
            program.load(name, btf)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Attaches a program of the node. `None` for those of workloads and of libraries.
fn attach_to_node(ebpf: &mut Ebpf, hook: &Hook) -> Result<Option<FdLink>, ProgramError> {
    match (ebpf.program_mut(hook.program), hook.place) {
        (Some(_), Place::Workloads | Place::Libraries) => Ok(None),
        (Some(Program::RawTracePoint(program)), Place::Tracepoint(name)) => {
            attach_raw_tracepoint(program, name).map(Some)
        }
        (Some(Program::RawTracePoint(program)), Place::Ring) => {
            let link = attach_raw_tracepoint(program, "io_uring_submit_req")
                .or_else(|_renamed| attach_raw_tracepoint(program, "io_uring_submit_sqe"))?;
            Ok(Some(link))
        }
        (Some(Program::Lsm(program)), Place::Lsm(_)) => {
            let id = program.attach()?;
            Ok(Some(program.take_link(id)?.into()))
        }
        (Some(Program::BtfTracePoint(program)), Place::TrustedTracepoint(_)) => {
            let id = program.attach()?;
            Ok(Some(program.take_link(id)?.into()))
        }
        (Some(Program::TracePoint(program)), Place::Syscall(name)) => {
            let _mounted = Tracefs::mount();
            let id = program.attach("syscalls", &format!("sys_enter_{name}"))?;
            // Without a link, before Linux 5.15, it would end with the daemon.
            fd_link(program.take_link(id)?).map(Some)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn attach_raw_tracepoint(program: &mut RawTracePoint, name: &str) -> Result<FdLink, ProgramError> {
    let id = program.attach(name)?;
    Ok(program.take_link(id)?.into())
}

/// Whether the kernel calls programs of the BPF LSM. Without `bpf` among the active LSMs it attaches
/// them all the same, and they never run.
#[derive(Clone, Copy)]
enum LsmCalls {
    Unknown,
    Yes,
    No,
}

impl LsmCalls {
    /// Finds out by the program of `socket_create`, which stands first among those of the LSM.
    fn check(&mut self, ebpf: &Ebpf, hook: &Hook) -> Result<(), String> {
        if let (Some(Program::Lsm(program)), Place::Lsm("socket_create")) =
            (ebpf.program(hook.program), hook.place)
        {
            let called = runs_on_socket(program)
                .map_err(|error| format!("whether the kernel calls it is not known: {error}"))?;
            *self = if called { Self::Yes } else { Self::No };
        }
        match self {
            Self::Yes => Ok(()),
            Self::No => {
                Err("the kernel attaches it and never calls it: boot with `lsm=...,bpf`".to_owned())
            }
            Self::Unknown => Err(
                "whether the kernel calls it is not known: it refused the program of socket_create"
                    .to_owned(),
            ),
        }
    }
}

/// Whether making a socket runs the program, by the kernel's own count.
fn runs_on_socket(program: &Lsm) -> Result<bool, String> {
    let runs = || {
        let info = program.info().map_err(|error| chain(&error))?;
        Ok::<u64, String>(info.run_count())
    };
    let _counting = enable_stats(Stats::RunTime).map_err(|error| chain(&error))?;
    let before = runs()?;
    UnixDatagram::unbound().map_err(|error| error.to_string())?;
    Ok(runs()? > before)
}

fn fd_link<L>(link: L) -> Result<FdLink, ProgramError>
where
    L: TryInto<FdLink>,
{
    // Kernels before 5.7 attach to cgroups without a link, those before 5.15 to tracepoints.
    link.try_into()
        .map_err(|_| ProgramError::UnexpectedProgramType)
}

/// Why the kernel refused a program, with the verifier's last lines if it was that.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(VERIFIER_LINES)..];
            let mut text = io_error.to_string();
            for line in tail.iter().filter(|line| !line.trim().is_empty()) {
                text.push_str("\n  ");
                text.push_str(line);
            }
            text
        }
        other => chain(other),
    }
}

pub(super) fn broken_at(path: &Path, error: &dyn std::error::Error) -> LoadError {
    LoadError::BrokenPin {
        path: path.to_owned(),
        reason: chain(error),
    }
}

/// An error with everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
