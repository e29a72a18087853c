//! What the policy in force says, and what the mode makes of it.

use aya_ebpf::helpers::generated::bpf_send_signal;
use hoop_common::{
    event::{Enforcement, Verdict},
    policy::{self, Cell, Key, Mode, Ruling, Segment, SocketKind},
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
        let bank = self.epoch.bank();
        let Some(table) = TABLES.get(bank) else {
            return Decision::CLOSED;
        };
        let cell = |index: u32| -> Option<&Cell> { table.get(index) };
        let addresses = Segment {
            start: policy.start,
            len: policy.len,
        };
        match policy::judge(
            addresses,
            destination.address,
            destination.protocol,
            destination.port,
            cell,
        ) {
            Some(ruling) => decide(policy.mode, ruling),
            None => Decision::CLOSED,
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
