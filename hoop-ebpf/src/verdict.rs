//! What the policy in force says, and what the mode makes of it.

use aya_ebpf::helpers::generated::bpf_send_signal;
use hoop_common::{
    event::{Enforcement, Verdict},
    policy::{self, Cell, Key, Mode, PolicyEntry, Ruling, Segment, SocketKind},
};

use crate::{maps::TABLES, workload::Governed};

pub const SIGKILL: u32 = 9;

/// A destination as the policy sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    pub address: Key,
    pub port: u16,
    pub protocol: u8,
}

/// A verdict and where it came from.
#[derive(Clone, Copy)]
pub struct Decision {
    pub verdict: Verdict,
    pub rule: u32,
    pub mode: u8,
}

impl Decision {
    /// For a workload without a policy in this epoch, or a table that cannot be read.
    pub const CLOSED: Self = Self {
        verdict: Verdict::Deny,
        rule: 0,
        mode: Mode::Enforce as u8,
    };

    /// As one number, for a function that the verifier follows by itself.
    #[inline(always)]
    pub fn pack(self) -> u64 {
        u64::from(self.rule) << 32 | u64::from(self.mode) << 8 | u64::from(self.verdict as u8)
    }

    /// The inverse of [`Decision::pack`].
    #[inline(always)]
    pub fn unpack(packed: u64) -> Self {
        Self {
            verdict: match packed as u8 {
                1 => Verdict::Allow,
                3 => Verdict::Shadow,
                _ => Verdict::Deny,
            },
            rule: (packed >> 32) as u32,
            mode: (packed >> 8) as u8,
        }
    }

    /// Whether it happens.
    #[inline(always)]
    pub fn passes(self) -> bool {
        self.verdict as u8 != Verdict::Deny as u8
    }

    /// What a hook does by whose answer the system call fails if it does not pass.
    #[inline(always)]
    pub fn enforce_by_answer(self) -> Enforcement {
        if self.passes() {
            Enforcement::None
        } else {
            Enforcement::Refused
        }
    }

    /// Ends the running process if it does not pass. It executes no further instruction of its
    /// own: the signal is pending when the kernel would return to it.
    #[inline(always)]
    pub fn enforce_by_signal(self) -> Enforcement {
        if self.passes() {
            return Enforcement::None;
        }
        // SAFETY: the helper takes no pointers.
        if unsafe { bpf_send_signal(SIGKILL) } == 0 {
            Enforcement::Killed
        } else {
            Enforcement::Failed
        }
    }
}

impl Governed<'_> {
    /// Judges a destination.
    #[inline(always)]
    pub fn destination(self, destination: Destination) -> Decision {
        let Some(policy) = self.policy else {
            return Decision::CLOSED;
        };
        if policy.len == 0 {
            return Decision::CLOSED;
        }
        let addresses = Segment {
            start: policy.start,
            len: policy.len,
        };
        let ports = Key::from_port(destination.protocol, destination.port);
        let Key { hi, lo } = destination.address;
        match hoop_judge(self.epoch.bank(), addresses.pack(), hi, lo, ports.lo) {
            NO_RULING => Decision::CLOSED,
            ruling => decide(policy.mode, Ruling::unpack(ruling)),
        }
    }

    /// Judges a packet that hides its destination.
    #[inline(always)]
    pub fn opaque(self) -> Decision {
        let Some(policy) = self.policy else {
            return Decision::CLOSED;
        };
        decide(
            policy.mode,
            Ruling {
                rule: policy.opaque_rule,
                allow: false,
            },
        )
    }

    /// Judges what no policy can allow, by the rule that says so.
    #[inline(always)]
    pub fn never(self, rule: impl Fn(&PolicyEntry) -> u32) -> Decision {
        match self.policy {
            Some(policy) if policy.len != 0 => decide(
                policy.mode,
                Ruling {
                    rule: rule(policy),
                    allow: false,
                },
            ),
            _ => Decision::CLOSED,
        }
    }

    /// What a rule that denies means in the policy's mode.
    #[inline(always)]
    pub fn denied_by(self, rule: u32) -> Decision {
        match self.policy {
            Some(policy) => decide(policy.mode, Ruling { rule, allow: false }),
            None => Decision::CLOSED,
        }
    }

    /// Judges a kind of socket.
    #[inline(always)]
    pub fn socket(self, kind: SocketKind) -> Decision {
        let Some(policy) = self.policy else {
            return Decision::CLOSED;
        };
        if policy.len == 0 {
            return Decision::CLOSED;
        }
        let allow = policy.sockets & kind.bit() != 0;
        let rule = if allow {
            policy.sockets_allow_rule
        } else {
            policy.sockets_deny_rule
        };
        decide(policy.mode, Ruling { rule, allow })
    }
}

/// The table is not what it should be. No packed [`Ruling`] has all bits set.
const NO_RULING: u64 = u64::MAX;

/// [`policy::judge`] with plain numbers: a global function, which the verifier follows once for
/// every program and not once for everything that a caller may know. It is what most of the time
/// to load went into.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_judge(bank: u32, addresses: u64, hi: u64, lo: u64, ports: u64) -> u64 {
    let Some(table) = TABLES.get(bank) else {
        return NO_RULING;
    };
    let cell = |index: u32| -> Option<&Cell> { table.get(index) };
    let address = Key { hi, lo };
    match policy::judge(
        Segment::unpack(addresses),
        address,
        Key { hi: 0, lo: ports },
        cell,
    ) {
        Some(ruling) => ruling.pack(),
        None => NO_RULING,
    }
}

/// What the mode makes of a ruling.
#[inline(always)]
pub fn decide(mode: u32, ruling: Ruling) -> Decision {
    let verdict = if ruling.allow {
        Verdict::Allow
    } else {
        match Mode::from_number(mode) {
            Mode::Enforce => Verdict::Deny,
            Mode::Shadow => Verdict::Shadow,
            Mode::Observe => Verdict::Allow,
        }
    };
    Decision {
        verdict,
        rule: ruling.rule,
        mode: mode as u8,
    }
}
