//! What this kernel can do, found by asking it. Versions say nothing: distributions move features
//! both ways.

use std::io;

use aya::{
    maps::MapType,
    programs::{LsmAttachType, ProgramType},
    sys::BpfHelper,
};
use thiserror::Error;

use super::sys;

/// A feature that Hoop uses.
#[derive(Clone, Debug)]
pub struct Feature {
    /// What it is.
    pub name: &'static str,
    /// What Hoop does with it.
    pub gives: &'static str,
    /// What is lost without it.
    pub costs: &'static str,
    /// What to do about it.
    pub fix: &'static str,
    /// Whether Hoop does not work without it.
    pub needed: bool,
    /// Why the kernel does not have it; `None` if it does.
    pub refused: Option<String>,
}

/// A feature without which no promise is kept.
#[derive(Debug, Error)]
#[error("this kernel lacks {}: {reason}. Without it {}; {}", .feature.name, .feature.costs, .feature.fix)]
pub struct Lacking {
    feature: Feature,
    reason: String,
}

const CGROUP_FIX: &str = "boot a kernel with CONFIG_CGROUP_BPF=y";

/// Asks for every feature. Needs root.
#[must_use]
pub fn features() -> Vec<Feature> {
    let programs = [
        (
            ProgramType::CgroupSockAddr,
            "connect and sendmsg hooks",
            "a denied connect or datagram fails with EPERM",
            "nothing can be enforced",
            CGROUP_FIX,
            true,
        ),
        (
            ProgramType::CgroupSkb,
            "packet hook",
            "the backstop below every system call",
            "raw sockets and sockets from before the tag get through",
            CGROUP_FIX,
            true,
        ),
        (
            ProgramType::CgroupSock,
            "socket hook",
            "IPv4 and IPv6 socket kinds are allowed or denied",
            "any kind of socket can be opened",
            CGROUP_FIX,
            true,
        ),
        (
            ProgramType::RawTracePoint,
            "process tracepoints",
            "forks, execs, exits and moves are recorded",
            "nobody knows who did it",
            "boot a kernel with CONFIG_BPF_EVENTS=y",
            true,
        ),
        (
            ProgramType::Lsm(LsmAttachType::Mac),
            "BPF LSM",
            "sockets of every family can be denied",
            "packet, vsock, alg and netlink sockets are not seen",
            "boot with `lsm=...,bpf` and CONFIG_BPF_LSM=y",
            false,
        ),
    ];
    let maps = [
        (
            MapType::RingBuf,
            "ring buffer",
            "events reach the daemon in order",
            "nothing is recorded",
            "boot Linux 5.8 or later",
        ),
        (
            MapType::SkStorage,
            "socket storage",
            "a verdict is kept with its socket",
            "every packet is judged anew",
            "boot Linux 5.8 or later",
        ),
    ];
    let programs = programs
        .into_iter()
        .map(|(kind, name, gives, costs, fix, needed)| Feature {
            name,
            gives,
            costs,
            fix,
            needed,
            refused: refusal(aya::sys::is_program_supported(kind)),
        });
    let maps = maps
        .into_iter()
        .map(|(kind, name, gives, costs, fix)| Feature {
            name,
            gives,
            costs,
            fix,
            needed: true,
            refused: refusal(aya::sys::is_map_supported(kind)),
        });
    programs.chain(maps).chain([loops(), atomics()]).collect()
}

/// Checks that no needed feature is missing, before anything is made.
///
/// # Errors
///
/// The first that is.
pub fn require() -> Result<(), Lacking> {
    let lacking = features().into_iter().find_map(|feature| {
        let reason = feature.refused.clone().filter(|_| feature.needed)?;
        Some(Lacking { feature, reason })
    });
    lacking.map_or(Ok(()), Err)
}

/// The helper `bpf_loop`.
fn loops() -> Feature {
    Feature {
        name: "loops",
        gives: "paths, command lines and cgroup levels of any number are walked",
        costs: "no command can be judged or recorded, and no process be told from others",
        fix: "boot Linux 5.17 or later",
        needed: true,
        refused: refusal(aya::sys::is_helper_supported(
            ProgramType::RawTracePoint,
            BpfHelper::BPF_FUNC_loop,
        )),
    }
}

/// Atomic instructions that return what was there before.
fn atomics() -> Feature {
    const FETCH_ADD: [[u8; 8]; 5] = [
        // r1 = 0
        [0xb7, 0x01, 0, 0, 0, 0, 0, 0],
        // *(u64 *)(r10 - 8) = r1
        [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0],
        // r1 = atomic_fetch_add((u64 *)(r10 - 8), r1)
        [0xdb, 0x1a, 0xf8, 0xff, 1, 0, 0, 0],
        // r0 = 0
        [0xb7, 0x00, 0, 0, 0, 0, 0, 0],
        // exit
        [0x95, 0x00, 0, 0, 0, 0, 0, 0],
    ];
    Feature {
        name: "fetching atomics",
        gives: "every event has a number, so that a lost one shows",
        costs: "events could be lost without a gap in the record",
        fix: "boot Linux 5.12 or later",
        needed: true,
        refused: sys::try_program(&FETCH_ADD)
            .err()
            .map(|error: io::Error| format!("the kernel refuses it: {error}")),
    }
}

fn refusal<E: std::fmt::Display>(supported: Result<bool, E>) -> Option<String> {
    match supported {
        Ok(true) => None,
        Ok(false) => Some("the kernel refuses it".to_owned()),
        Err(error) => Some(format!("the kernel refuses it: {error}")),
    }
}
