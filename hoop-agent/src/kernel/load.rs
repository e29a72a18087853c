//! The kernel programs and maps of this build, loaded and attached.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
    programs::{
        CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError, RawTracePoint, links::FdLink,
    },
};
use aya_obj::generated::{BPF_F_INNER_MAP, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use hoop_common::{
    event::{LossCause, Offsets},
    exec::ExecEntry,
    limits::MAX_POLICIES,
    policy::{Cell, PolicyEntry, WorkloadEntry},
    state::ProcessEntry,
};
use thiserror::Error;
use zerocopy::IntoBytes;

use super::{
    btf::BtfError,
    mapped::MatcherMap,
    pins::{PinError, Pins, Target},
    state::StateMap,
    sys,
};

/// The object that `cargo xtask build-ebpf` made.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hoop-ebpf.o"));

/// Programs that are attached to every tagged cgroup.
pub const CGROUP_PROGRAMS: [&str; 6] = [
    "hoop_connect4",
    "hoop_connect6",
    "hoop_sendmsg4",
    "hoop_sendmsg6",
    "hoop_egress",
    "hoop_sock_create",
];

/// Programs that are attached once, and the tracepoint of each.
pub const TRACEPOINT_PROGRAMS: [(&str, &str); 4] = [
    ("hoop_fork", "sched_process_fork"),
    ("hoop_exec", "sched_process_exec"),
    ("hoop_exit", "sched_process_exit"),
    ("hoop_cgroup_move", "cgroup_attach_task"),
];

const PINNED_MAPS: [&str; 11] = [
    "EVENTS",
    "EXECS",
    "LOST",
    "MATCHER",
    "NUMBERED",
    "POLICIES",
    "PROCESSES",
    "SOCKETS",
    "STATE",
    "TABLES",
    "WORKLOADS",
];

/// Lines of the verifier's log that an error shows.
const VERIFIER_LINES: usize = 12;

/// `BPF_NOEXIST` of `include/uapi/linux/bpf.h`: insert only.
const BPF_NOEXIST: u64 = 1;

/// Why the kernel does not run Hoop's programs.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The kernel's type information does not have what the programs read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// There is no place for pins, or it cannot be used.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A map could not be made, or a pin is not the map that it should be.
    #[error("the map {name}: {source}")]
    Map {
        /// The map.
        name: String,
        /// Why.
        source: Box<MapError>,
    },
    /// The object could not be loaded.
    #[error("the kernel programs could not be loaded: {0}")]
    Object(#[source] Box<EbpfError>),
    /// The kernel refused a program.
    #[error("the kernel refused the program {name}: {reason}")]
    Program {
        /// The program.
        name: String,
        /// The error, and the last lines of the verifier.
        reason: String,
    },
    /// The kernel did not attach a program.
    #[error("{name} could not be attached to {target}: {source}")]
    Attach {
        /// The program.
        name: String,
        /// What it was to be attached to.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// A pin is something else than what this build put there.
    #[error(
        "the pin {path} is broken ({reason}): end every Hoop daemon and run `hoop-agent uninstall`, then start again"
    )]
    BrokenPin {
        /// The pin.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl LoadError {
    /// An error of one map.
    #[must_use]
    pub fn map(name: &str, source: MapError) -> Self {
        Self::Map {
            name: name.to_owned(),
            source: Box::new(source),
        }
    }
}

/// Loaded programs and their maps.
pub struct Kernel {
    ebpf: Ebpf,
    pins: Pins,
    generation: u64,
    /// See `STATE` in the kernel programs' `maps.rs`.
    pub state: StateMap,
    /// `WORKLOADS`
    pub workloads: HashMap<MapData, u64, Pod<WorkloadEntry>>,
    /// Entries of `POLICIES` in use, by bank. All of them, until this daemon filled the bank.
    pub policies_in_bank: [u32; 2],
    /// `POLICIES`
    pub policies: Array<MapData, Pod<PolicyEntry>>,
    /// `EXECS`
    pub execs: Array<MapData, Pod<ExecEntry>>,
    /// `MATCHER`
    pub matcher: MatcherMap,
    /// `TABLES`
    pub tables: ArrayOfMaps<MapData, Array<MapData, Pod<Cell>>>,
    /// `PROCESSES`
    pub processes: HashMap<MapData, u32, Pod<ProcessEntry>>,
}

/// The maps through which events arrive. They belong to the thread that reads them.
pub struct EventSource {
    /// `EVENTS`
    pub ring: RingBuf<MapData>,
    numbered: PerCpuArray<MapData, u64>,
    lost: PerCpuArray<MapData, u64>,
    map_id: u32,
    state: StateMap,
}

/// What the kernel side counted on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events numbered.
    pub numbered: u64,
    /// Events that did not fit, by [`LossCause`].
    pub lost: [u64; LossCause::ALL.len()],
}

/// A struct that is shared with the kernel programs, as aya wants it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Pod<T>(pub T);

// SAFETY: the shared structs are made of integers without padding (`zerocopy::IntoBytes`).
unsafe impl<T: Copy + IntoBytes + 'static> aya::Pod for Pod<T> {}

impl Kernel {
    /// Loads the programs. Maps that are pinned already are adopted with what is in them.
    /// `log_level` is one of aya-log's levels, or 0 for none: then the kernel removes every log
    /// statement when it verifies the programs.
    ///
    /// # Errors
    ///
    /// When the kernel refuses something; nothing is attached then.
    pub fn load(
        pins: Pins,
        offsets: &Offsets,
        log_level: u8,
    ) -> Result<(Self, EventSource), LoadError> {
        for path in pins.links() {
            sys::open_pinned(&path).map_err(|error| broken_at(&path, &error))?;
        }
        let generation = generation();
        let mut loader = EbpfLoader::new();
        loader
            .override_global("OFFSETS", offsets.as_bytes(), true)
            .override_global("GENERATION", &generation, true)
            .override_global(aya_log::LEVEL, &log_level, false);
        for name in PINNED_MAPS {
            check_pin(&pins.map(name))?;
            loader.map_pin_path(name, pins.map(name));
        }
        let mut ebpf = loader
            .load(OBJECT)
            .map_err(|error| LoadError::Object(Box::new(error)))?;
        for (name, program) in ebpf.programs_mut() {
            load_program(name, program)?;
        }

        let state = StateMap::new(map_data(&ebpf, "STATE")?.fd().as_fd())
            .map_err(|source| broken(&pins, "STATE", &source.to_string()))?;
        let matcher = MatcherMap::new(map_data(&ebpf, "MATCHER")?.fd().as_fd())
            .map_err(|source| broken(&pins, "MATCHER", &source.to_string()))?;
        let kernel = Self {
            state,
            workloads: take(&mut ebpf, "WORKLOADS")?,
            policies_in_bank: [MAX_POLICIES; 2],
            policies: take(&mut ebpf, "POLICIES")?,
            execs: take(&mut ebpf, "EXECS")?,
            matcher,
            tables: take(&mut ebpf, "TABLES")?,
            processes: take(&mut ebpf, "PROCESSES")?,
            ebpf,
            pins,
            generation,
        };
        let mut kernel = kernel;
        let map_id = match kernel.ebpf.map("NUMBERED") {
            Some(Map::PerCpuArray(data)) => data.info().map_or(0, |info| info.id()),
            _ => return Err(missing("NUMBERED")),
        };
        let state = StateMap::new(map_data(&kernel.ebpf, "STATE")?.fd().as_fd())
            .map_err(|source| broken(&kernel.pins, "STATE", &source.to_string()))?;
        let events = EventSource {
            map_id,
            state,
            ring: take(&mut kernel.ebpf, "EVENTS")?,
            numbered: take(&mut kernel.ebpf, "NUMBERED")?,
            lost: take(&mut kernel.ebpf, "LOST")?,
        };
        Ok((kernel, events))
    }

    /// The reader of the kernel programs' diagnostics.
    ///
    /// # Errors
    ///
    /// When there is no such map: the programs log nothing.
    pub fn logger(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
    }

    /// The pins.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Attaches the process programs and silences those of an earlier daemon.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; what was attached before stays.
    pub fn attach_node(&mut self) -> Result<(), LoadError> {
        let mut fresh = Vec::new();
        for (name, tracepoint) in TRACEPOINT_PROGRAMS {
            let program: &mut RawTracePoint = program(&mut self.ebpf, name)?;
            let link = program
                .attach(tracepoint)
                .and_then(|id| program.take_link(id))
                .map_err(|error| attach_error(name, tracepoint, &error))?;
            fresh.push((name, FdLink::from(link)));
        }
        // From here the new load reports and the old one does not.
        self.state.set_generation(self.generation);
        self.pins.release(Target::Node)?;
        self.pins.prepare(Target::Node)?;
        for (name, link) in fresh {
            self.pin(link, Target::Node, name)?;
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
        for name in CGROUP_PROGRAMS {
            let path = self.pins.link(target, name);
            if path.exists() {
                let link = sys::open_pinned(&path).map_err(|error| broken_at(&path, &error))?;
                let new = self.program_fd(name)?;
                sys::update_link(link.as_fd(), new).map_err(|error| broken_at(&path, &error))?;
                continue;
            }
            let link = self
                .attach_program(name, cgroup)
                .map_err(|error| attach_error(name, &format!("the cgroup with id {id}"), &error))?;
            self.pin(link, target, name)?;
        }
        Ok(())
    }

    /// Enters a tagged cgroup, with its policy in both banks.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn add_workload(&mut self, id: u64, policy: u32) -> Result<(), LoadError> {
        let entry = WorkloadEntry {
            policy: [policy; 2],
        };
        self.workloads
            .insert(id, Pod(entry), 0)
            .map_err(|error| LoadError::map("WORKLOADS", error))
    }

    /// Forgets a tagged cgroup and its processes.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn remove_workload(&mut self, id: u64) -> Result<(), LoadError> {
        match self.workloads.remove(&id) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(MapError::SyscallError(error)) if is_absent(&error.io_error) => {}
            Err(error) => return Err(LoadError::map("WORKLOADS", error)),
        }
        let members: Vec<u32> = self
            .processes
            .iter()
            .flatten()
            .filter(|(_, Pod(entry))| entry.workload == id)
            .map(|(tgid, _)| tgid)
            .collect();
        for tgid in members {
            // It may have ended just now.
            let _ = self.processes.remove(&tgid);
        }
        Ok(())
    }

    /// The tagged cgroups that the kernel side knows, by id.
    #[must_use]
    pub fn workload_ids(&self) -> Vec<u64> {
        self.workloads.keys().flatten().collect()
    }

    /// Enters a process that was in the workload before its tag. The kernel's own entry, if it
    /// made one meanwhile, stays.
    pub fn add_process(&mut self, tgid: u32, workload: u64, start_ticks: u64) {
        let entry = ProcessEntry {
            workload,
            start_ticks,
            escaped: 0,
        };
        // A full map is no error: the process is still found by its cgroup.
        let _ = self.processes.insert(tgid, Pod(entry), BPF_NOEXIST);
    }

    /// Takes the cgroup programs off a cgroup.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn detach_cgroup(&self, id: u64) -> Result<(), LoadError> {
        Ok(self.pins.release(Target::Cgroup(id))?)
    }

    fn attach_program(
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

    fn program_fd(&self, name: &str) -> Result<BorrowedFd<'_>, LoadError> {
        self.ebpf
            .program(name)
            .ok_or(ProgramError::UnexpectedProgramType)
            .and_then(Program::fd)
            .map(AsFd::as_fd)
            .map_err(|error| program_error(name, &error))
    }

    fn pin(&self, link: FdLink, target: Target, name: &str) -> Result<(), LoadError> {
        let path = self.pins.link(target, name);
        // The pin keeps the link; our own descriptor may close.
        link.pin(&path)
            .map(drop)
            .map_err(|error| broken_at(&path, &error))
    }
}

impl EventSource {
    /// Names these counters: other maps, or the maps of another boot, count from 0 again.
    #[must_use]
    pub fn identity(&self) -> String {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        format!("{} map {}", boot.trim(), self.map_id)
    }

    /// Says whether the next event must wake the reader. Until it does, the reader has to look
    /// into the ring by itself.
    pub fn set_sleeping(&self, sleeping: bool) {
        self.state.set_sleeping(sleeping);
    }

    /// What the kernel counted, by CPU.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn counters(&self) -> Result<Vec<Counters>, MapError> {
        let numbered = self.numbered.get(&0, 0)?;
        let mut counters: Vec<Counters> = numbered
            .iter()
            .map(|n| Counters {
                numbered: *n,
                ..Counters::default()
            })
            .collect();
        for cause in LossCause::ALL {
            let lost = self.lost.get(&(cause as u32), 0)?;
            for (counters, lost) in counters.iter_mut().zip(lost.iter()) {
                counters.lost[cause as usize] = *lost;
            }
        }
        Ok(counters)
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// A number that no earlier load had: the time since boot.
fn generation() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map_or(1, |now| {
        now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
    })
}

fn load_program(name: &str, program: &mut Program) -> Result<(), LoadError> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|error| program_error(name, &error))
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, LoadError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(ProgramError::UnexpectedProgramType)
        .and_then(TryInto::try_into)
        .map_err(|error| program_error(name, &error))
}

fn fd_link<L>(link: L) -> Result<FdLink, ProgramError>
where
    L: TryInto<FdLink>,
{
    // Only a kernel before 5.7 attaches without a link.
    link.try_into()
        .map_err(|_| ProgramError::UnexpectedProgramType)
}

fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).ok_or_else(|| missing(name))?;
    T::try_from(map).map_err(|source| LoadError::Map {
        name: name.into(),
        source: Box::new(source),
    })
}

fn map_data<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(missing(name)),
    }
}

fn missing(name: &str) -> LoadError {
    let source = Box::new(MapError::InvalidName { name: name.into() });
    LoadError::Map {
        name: name.into(),
        source,
    }
}

/// aya takes any pinned object for the map without a look.
fn check_pin(path: &Path) -> Result<(), LoadError> {
    if !path.exists() {
        return Ok(());
    }
    MapData::from_pin(path)
        .map(drop)
        .map_err(|error| broken_at(path, &error))
}

fn broken(pins: &Pins, name: &str, reason: &str) -> LoadError {
    LoadError::BrokenPin {
        path: pins.map(name),
        reason: reason.to_owned(),
    }
}

fn broken_at(path: &Path, error: &dyn std::error::Error) -> LoadError {
    LoadError::BrokenPin {
        path: path.to_owned(),
        reason: chain(error),
    }
}

fn attach_error(name: &str, target: &str, error: &ProgramError) -> LoadError {
    LoadError::Attach {
        name: name.to_owned(),
        target: target.to_owned(),
        source: io::Error::other(chain(error)),
    }
}

fn program_error(name: &str, error: &ProgramError) -> LoadError {
    let reason = match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(VERIFIER_LINES)..].join("\n  ");
            format!("{io_error}\n  {tail}")
        }
        other => chain(other),
    };
    LoadError::Program {
        name: name.to_owned(),
        reason,
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

/// Makes a table for one epoch and fills it.
///
/// # Errors
///
/// When the kernel has no memory for it.
pub fn make_table(cells: &[Cell]) -> Result<Array<MapData, Pod<Cell>>, LoadError> {
    let failed = |source| LoadError::Map {
        name: "TABLES".into(),
        source: Box::new(source),
    };
    let definition = aya_obj::Map::new_from_params(
        BPF_MAP_TYPE_ARRAY as u32,
        size_of::<u32>() as u32,
        size_of::<Cell>() as u32,
        (cells.len() as u32).max(1),
        BPF_F_INNER_MAP,
    );
    let table = MapData::create(definition, "hoop_table", None).map_err(failed)?;
    if !cells.is_empty() {
        sys::update_array(table.fd().as_fd(), cells)
            .map_err(|error| failed(MapError::IoError(error)))?;
    }
    Map::Array(table).try_into().map_err(failed)
}
