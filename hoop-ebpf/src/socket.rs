//! Sockets of workloads: who made them, and what was last judged about them.

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock_addr},
    helpers::generated::{
        bpf_get_socket_cookie, bpf_sk_storage_get, bpf_spin_lock, bpf_spin_unlock,
    },
};
use hoop_common::{
    event::{EventKind, Hook, NetEvent, Verdict},
    policy::{Epoch, Key},
};

use crate::{
    emit::{self, Priority},
    kernel::Process,
    maps::{Judged, SOCKETS, SocketState},
    verdict::{Decision, Destination},
    workload::Workload,
};

/// The kernel's `IPPROTO_MPTCP`, which does not fit a protocol number. On the wire it is TCP.
const IPPROTO_MPTCP: u32 = 262;
const IPPROTO_TCP: u8 = 6;

/// What a socket's last judgement says about a destination. A struct and no enum with data: the
/// compiler leaves what a variant lacks unwritten and may read it all the same, which the verifier
/// refuses before Linux 6.3.
#[derive(Clone, Copy)]
pub struct Recall {
    pub age: Age,
    /// The verdict as a number; 0 for [`Age::Nothing`].
    pub verdict: u8,
    /// The rule that decided; 0 for [`Age::Nothing`].
    pub rule: u32,
}

/// Whether a judgement can be used again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// The same destination in the same epoch.
    Current,
    /// The same destination, by policies that are not in force any more.
    Outdated,
    /// There is none, or of another destination.
    Nothing,
}

impl Recall {
    pub const NOTHING: Self = Self {
        age: Age::Nothing,
        verdict: 0,
        rule: 0,
    };

    /// The verdict, if it was given in this epoch.
    #[inline(always)]
    pub fn current(self) -> Option<Verdict> {
        match (self.age, self.verdict) {
            (Age::Current, 1) => Some(Verdict::Allow),
            (Age::Current, 3) => Some(Verdict::Shadow),
            (Age::Current, _) => Some(Verdict::Deny),
            _ => None,
        }
    }
}

impl SocketState {
    /// The state of a socket, made if it has none. `sk` is a `bpf_sock` or a context that stands
    /// for one. `None` if the kernel has no memory; then every use judges anew.
    #[inline(always)]
    pub fn of<T>(sk: *mut T) -> Option<&'static mut Self> {
        // SAFETY: the verifier checks that `sk` is a socket and not null.
        let state = unsafe {
            bpf_sk_storage_get(
                (&raw const SOCKETS).cast_mut().cast(),
                sk.cast(),
                core::ptr::null_mut(),
                u64::from(BPF_SK_STORAGE_GET_F_CREATE),
            )
        }
        .cast::<Self>();
        // SAFETY: null or a value that lives as long as the socket.
        unsafe { state.as_mut() }
    }

    /// Notes the running process as the socket's user, unless one is noted already.
    #[inline(always)]
    pub fn own(&mut self, workload: u64, process: Process) {
        if self.workload == 0 {
            self.tgid = process.tgid;
            self.start_ns = process.start_ns;
            self.workload = workload;
        }
    }

    /// The process that was noted.
    #[inline(always)]
    pub fn owner(&self) -> Process {
        Process {
            start_ns: self.start_ns,
            tgid: self.tgid,
            tid: 0,
        }
    }

    /// What the last judgement says about `destination` in `epoch`.
    #[inline(always)]
    pub fn recall(&mut self, epoch: Epoch, destination: Destination) -> Recall {
        let lock = &raw mut self.lock;
        // SAFETY: a lock inside a map value, taken once.
        unsafe { bpf_spin_lock(lock) };
        let judged = self.judged;
        // SAFETY: taken above.
        unsafe { bpf_spin_unlock(lock) };
        let same = judged.epoch != 0
            && judged.destination.lo == destination.address.lo
            && judged.destination.hi == destination.address.hi
            && judged.port == destination.port
            && judged.protocol == destination.protocol;
        if !same {
            return Recall::NOTHING;
        }
        Recall {
            age: if judged.epoch == epoch.0 {
                Age::Current
            } else {
                Age::Outdated
            },
            verdict: judged.verdict,
            rule: judged.rule,
        }
    }

    /// Keeps a judgement for the next packet.
    #[inline(always)]
    pub fn remember(&mut self, epoch: Epoch, destination: Destination, decision: Decision) {
        let judged = Judged {
            epoch: epoch.0,
            destination: destination.address,
            rule: decision.rule,
            port: destination.port,
            protocol: destination.protocol,
            verdict: decision.verdict as u8,
        };
        let lock = &raw mut self.lock;
        // SAFETY: a lock inside a map value, taken once.
        unsafe { bpf_spin_lock(lock) };
        self.judged = judged;
        // SAFETY: taken above.
        unsafe { bpf_spin_unlock(lock) };
    }
}

/// Judges the address that a program handed to connect or sendmsg, and records the verdict.
/// `None`: neither the task nor the socket belongs to a workload; the packet hook decides.
#[inline(always)]
pub fn judge_address(
    ctx: *mut bpf_sock_addr,
    hook: Hook,
    address: Key,
    bound_to: Key,
) -> Option<Decision> {
    // SAFETY: `ctx` is the program's context; fields are read volatile and one by one, since the
    // verifier refuses a load that the compiler merged.
    let (sk, protocol, port) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx).__bindgen_anon_1.sk),
            core::ptr::read_volatile(&raw const (*ctx).protocol),
            core::ptr::read_volatile(&raw const (*ctx).user_port),
        )
    };
    let mut state = if sk.is_null() {
        None
    } else {
        SocketState::of(sk)
    };
    let made_in = match &state {
        Some(state) => state.workload,
        None => 0,
    };
    let workload = match made_in {
        0 => Workload::of_current()?,
        id => match Workload::by_id(id) {
            Some(workload) => workload,
            None => Workload::of_current()?,
        },
    };
    let process = Process::current();
    if let Some(state) = &mut state {
        state.own(workload.id, process);
    }
    let destination = Destination {
        address: this_host(address, bound_to),
        port: u16::from_be(port as u16),
        protocol: if protocol == IPPROTO_MPTCP {
            IPPROTO_TCP
        } else {
            protocol as u8
        },
    };
    let governed = workload.governed();
    let datagram = hook as u8 == Hook::Sendmsg4 as u8 || hook as u8 == Hook::Sendmsg6 as u8;
    if datagram && let Some(state) = &mut state {
        // One record for a run of datagrams to one place; every denied one has its own.
        let recall = state.recall(governed.epoch, destination);
        if let Some(verdict @ (Verdict::Allow | Verdict::Shadow)) = recall.current() {
            return Some(Decision {
                verdict,
                rule: 0,
                mode: 0,
            });
        }
    }
    let decision = governed.destination(destination);
    if let Some(state) = &mut state {
        state.remember(governed.epoch, destination, decision);
    }
    let event = NetEvent {
        header: emit::header::<NetEvent>(EventKind::Net, workload.id, process),
        destination: destination.address,
        source: bound_to,
        // SAFETY: `ctx` is the program's context.
        cookie: unsafe { bpf_get_socket_cookie(ctx.cast()) },
        epoch: governed.epoch.0,
        rule: decision.rule,
        reserved: 0,
        destination_port: destination.port,
        source_port: 0,
        protocol: destination.protocol,
        hook: hook as u8,
        verdict: decision.verdict as u8,
        mode: decision.mode,
    };
    emit::send(&event, decision.priority());
    Some(decision)
}

/// The kernel takes the unspecified address for this host: for the address that the socket is
/// bound to, else for loopback (`ip_route_output_key_hash_rcu`, `ip6_datagram_connect`).
#[inline(always)]
fn this_host(address: Key, bound_to: Key) -> Key {
    let v4 = address.is_v4();
    let unspecified = address.hi == 0 && (address.lo == 0 || v4 && address.lo as u32 == 0);
    if !unspecified {
        return address;
    }
    if bound_to.hi != 0 || bound_to.lo != 0 {
        return bound_to;
    }
    if v4 {
        Key::from_v4(0x7f00_0001)
    } else {
        Key { hi: 0, lo: 1 }
    }
}

impl Decision {
    /// How its event may use the ring.
    #[inline(always)]
    pub fn priority(self) -> Priority {
        if self.passes() {
            Priority::Normal
        } else {
            Priority::Denial
        }
    }
}
