//! The object of this build: its programs and maps, as the daemon uses them.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf},
};
use aya_obj::generated::{BPF_F_INNER_MAP, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use hoop_common::{
    event::{LossCause, Offsets},
    exec::ExecEntry,
    limits::MAX_POLICIES,
    payload::{Carries, Channel, PayloadLoss},
    policy::{Cell, PolicyEntry, WorkloadEntry},
    state::{ProcessEntry, Standing},
    unix_path::UnixKey,
};
use thiserror::Error;
use zerocopy::IntoBytes;

use super::{
    attach::{Capturing, FreshLink, broken_at, load_programs},
    btf::BtfError,
    hooks::{Duty, HOOKS, Hooks},
    kfunc,
    mapped::MatcherMap,
    pins::{PinError, Pins},
    state::StateMap,
    sys, tracefs,
};

/// The object that `cargo xtask build-ebpf` made.
pub(super) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hoop-ebpf.o"));

const PINNED_MAPS: [&str; 12] = [
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
    "UNIX_DENIED",
    "WORKLOADS",
];

/// Tables: one for each bank, as `TABLES` in the kernel programs' `maps.rs` has it.
const BANKS: u32 = 2;

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
    pub(super) ebpf: Ebpf,
    pub(super) pins: Pins,
    pub(super) generation: u64,
    /// Links of the node's programs until [`Kernel::take_over_node`] pins them.
    pub(super) fresh: Vec<FreshLink>,
    /// See [`Kernel::set_capturing`].
    pub(super) capturing: Vec<(Duty, Capturing)>,
    /// Numbers of the tracepoints at system calls where programs that capture are attached.
    pub(super) syscalls: std::collections::HashMap<&'static str, u64>,
    hooks: Hooks,
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
    /// `UNIX_DENIED`
    pub unix_denied: HashMap<MapData, Pod<UnixKey>, u32>,
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

/// The maps through which plaintext arrives. They belong to the thread that reads them.
pub struct PayloadSource {
    /// `PAYLOAD`
    pub ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    channels: HashMap<MapData, u64, Pod<Channel>>,
}

/// What became of plaintext that did not reach the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PayloadLost {
    /// Pieces for which the ring had no space.
    pub pieces: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Calls of which nothing was taken.
    pub calls: u64,
}

/// The programs for TLS libraries, to be attached as those are used.
pub struct CapturePrograms {
    /// At the entry of C functions.
    pub call: OwnedFd,
    /// At their return.
    pub r#return: OwnedFd,
    /// At functions that close.
    pub close: OwnedFd,
    /// At the entry of Go's functions.
    pub go_call: OwnedFd,
    /// At their return instructions.
    pub go_return: OwnedFd,
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

/// What became of every program on this kernel, by loading the object apart from any daemon. The
/// programs are gone when this returns.
///
/// # Errors
///
/// When the maps cannot be made.
pub fn trial(offsets: &Offsets) -> Result<Hooks, LoadError> {
    Ok(load_object(None, offsets, 0, 0)?.hooks)
}

impl Kernel {
    /// Loads the programs and attaches those of the node, which stay silent until
    /// [`Kernel::take_over_node`]. Maps that are pinned already are adopted with what is in them.
    /// `log_level` is one of aya-log's levels, or 0 for none: then the kernel removes every log
    /// statement when it verifies the programs.
    ///
    /// # Errors
    ///
    /// When the kernel refuses something that is needed; nothing stays attached then.
    pub fn load(
        pins: Pins,
        offsets: &Offsets,
        log_level: u8,
    ) -> Result<(Self, EventSource, PayloadSource), LoadError> {
        for path in pins.links() {
            sys::open_pinned(&path).map_err(|error| broken_at(&path, &error))?;
        }
        pin_tables(&pins.map("TABLES"))?;
        for name in PINNED_MAPS {
            check_pin(&pins.map(name))?;
        }
        let generation = generation();
        let loaded = load_object(Some(&pins), offsets, generation, log_level)?;
        if let Some((hook, reason)) = loaded.hooks.missing() {
            return Err(LoadError::Program {
                name: hook.program.to_owned(),
                reason: reason.to_owned(),
            });
        }
        let Loaded {
            mut ebpf,
            hooks,
            fresh,
        } = loaded;

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
            unix_denied: take(&mut ebpf, "UNIX_DENIED")?,
            ebpf,
            pins,
            generation,
            fresh,
            capturing: Vec::new(),
            syscalls: tracefs::syscalls(),
            hooks,
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
        let payload = PayloadSource {
            ring: take(&mut kernel.ebpf, "PAYLOAD")?,
            lost: take(&mut kernel.ebpf, "PAYLOAD_LOST")?,
            channels: take(&mut kernel.ebpf, "CHANNELS")?,
        };
        Ok((kernel, events, payload))
    }

    /// The programs for TLS libraries. `None` if the kernel refused one of those that are needed.
    ///
    /// # Errors
    ///
    /// When there are no descriptors left.
    pub fn capture_programs(&self) -> io::Result<Option<CapturePrograms>> {
        const NAMES: [&str; 5] = [
            "hoop_tls_call",
            "hoop_tls_return",
            "hoop_tls_close",
            "hoop_go_call",
            "hoop_go_return",
        ];
        if !NAMES.iter().all(|name| self.hooks.is_loaded(name)) {
            return Ok(None);
        }
        let fd = |name| {
            let fd = self.program_fd(name).map_err(io::Error::other)?;
            fd.try_clone_to_owned()
        };
        Ok(Some(CapturePrograms {
            call: fd(NAMES[0])?,
            r#return: fd(NAMES[1])?,
            close: fd(NAMES[2])?,
            go_call: fd(NAMES[3])?,
            go_return: fd(NAMES[4])?,
        }))
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

    /// What became of every program.
    #[must_use]
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
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
            standing: Standing::Inside as u64,
            recorded: 0,
        };
        // A full map is no error: the process is still found by its cgroup.
        let _ = self.processes.insert(tgid, Pod(entry), BPF_NOEXIST);
    }

    /// Processes that are outside their workload, or were condemned.
    pub fn strays(&self) -> impl Iterator<Item = (u32, ProcessEntry)> {
        self.processes
            .iter()
            .flatten()
            .map(|(tgid, Pod(entry))| (tgid, entry))
            .filter(|(_, entry)| entry.standing != Standing::Inside as u64)
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

    /// How many processes the kernel programs condemned so far.
    #[must_use]
    pub fn condemned(&self) -> u64 {
        self.state.condemned()
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

impl PayloadSource {
    /// What was lost since the programs were loaded.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn lost(&self) -> Result<PayloadLost, MapError> {
        let sum = |what: PayloadLoss| {
            let values = self.lost.get(&(what as u32), 0)?;
            Ok::<u64, MapError>(values.iter().sum())
        };
        Ok(PayloadLost {
            pieces: sum(PayloadLoss::Pieces)?,
            bytes: sum(PayloadLoss::Bytes)?,
            calls: sum(PayloadLoss::Calls)?,
        })
    }

    /// Takes no more of what is written to a channel, which is named as in `PieceHeader::object`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn refuse(&mut self, channel: u64) -> Result<(), MapError> {
        let other = Channel {
            carries: Carries::Other as u32,
            ..Channel::default()
        };
        self.channels.insert(channel, Pod(other), 0)
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

/// The object, loaded.
struct Loaded {
    ebpf: Ebpf,
    hooks: Hooks,
    fresh: Vec<FreshLink>,
}

/// Loads the object with the maps that are pinned, or with maps of its own.
fn load_object(
    pins: Option<&Pins>,
    offsets: &Offsets,
    generation: u64,
    log_level: u8,
) -> Result<Loaded, LoadError> {
    let object = |error: EbpfError| LoadError::Object(Box::new(error));
    let btf = Btf::from_sys_fs().map_err(|error| object(error.into()))?;
    let daemon = std::process::id();
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(&btf))
        .override_global("OFFSETS", offsets.as_bytes(), true)
        .override_global("GENERATION", &generation, true)
        .override_global("DAEMON", &daemon, true)
        .override_global(aya_log::LEVEL, &log_level, false);
    for (name, pins) in PINNED_MAPS.into_iter().zip(pins.into_iter().cycle()) {
        loader.map_pin_path(name, pins.map(name));
    }
    let mut bytes = OBJECT.to_vec();
    kfunc::link(&mut bytes, &btf);
    let mut ebpf = loader.load(&bytes).map_err(object)?;
    if let Some((name, _)) = ebpf
        .programs()
        .find(|(name, _)| HOOKS.iter().all(|hook| hook.program != *name))
    {
        return Err(LoadError::Program {
            name: name.to_owned(),
            reason: "it is not in the table of hooks".to_owned(),
        });
    }
    let (hooks, fresh) = load_programs(&mut ebpf, &btf, offsets);
    Ok(Loaded { ebpf, hooks, fresh })
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

/// Pins the array of tables, unless one is there. aya makes the template of an array of maps with
/// type information and [`empty_table`] makes tables without; before Linux 6.3 the kernel does not
/// take the one for the other (`bpf_map_meta_equal`).
fn pin_tables(path: &Path) -> Result<(), LoadError> {
    if path.exists() {
        return Ok(());
    }
    let template = empty_table(1).map_err(|error| LoadError::map("TABLES", error))?;
    sys::create_array_of_maps("TABLES", BANKS, template.fd().as_fd())
        .and_then(|tables| sys::pin(tables.as_fd(), path))
        .map_err(|error| LoadError::map("TABLES", MapError::IoError(error)))
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

/// Makes a table for one epoch and fills it.
///
/// # Errors
///
/// When the kernel has no memory for it.
pub fn make_table(cells: &[Cell]) -> Result<Array<MapData, Pod<Cell>>, LoadError> {
    let failed = |source| LoadError::map("TABLES", source);
    let table = empty_table(cells.len() as u32).map_err(failed)?;
    if !cells.is_empty() {
        sys::update_array(table.fd().as_fd(), cells)
            .map_err(|error| failed(MapError::IoError(error)))?;
    }
    Map::Array(table).try_into().map_err(failed)
}

fn empty_table(cells: u32) -> Result<MapData, MapError> {
    let definition = aya_obj::Map::new_from_params(
        BPF_MAP_TYPE_ARRAY as u32,
        size_of::<u32>() as u32,
        size_of::<Cell>() as u32,
        cells.max(1),
        BPF_F_INNER_MAP,
    );
    MapData::create(definition, "hoop_table", None)
}
