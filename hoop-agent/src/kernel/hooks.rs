//! Every program of the object: where it is attached, whether Hoop works without it, what is lost
//! then, and what became of it on this kernel.

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its name in the object: `hoop_` and the name that people see.
    pub program: &'static str,
    /// What it is attached to.
    pub place: Place,
    /// What it does there.
    pub duty: Duty,
    /// Whether Hoop works without it.
    pub need: Need,
    /// What is lost without it.
    pub costs: &'static str,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Every tagged cgroup.
    Workloads,
    /// A raw tracepoint of the node.
    Tracepoint(&'static str),
    /// A tracepoint of the node, as a program that the kernel trusts with its arguments.
    TrustedTracepoint(&'static str),
    /// A hook of the BPF LSM.
    Lsm(&'static str),
    /// The tracepoint at the entry of a system call.
    Syscall(&'static str),
    /// The raw tracepoint of requests to `io_uring`, which has had two names.
    Ring,
    /// Functions of TLS libraries, once workloads use them whose policy says `capture`.
    Libraries,
}

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It can stop what the policy does not allow.
    Judges,
    /// It reports, and can stop nothing.
    Observes,
    /// The same, for the sake of plaintext: it is attached only while a policy captures, and for as long
    /// as a daemon reads what it reports.
    Captures,
    /// The same, only while a policy captures what is written to pipes: it runs at every system call.
    CapturesStdio,
}

/// Whether Hoop works without a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The daemon does not start without it.
    Needed,
    /// The daemon starts. Policies that need what it keeps are refused.
    Optional,
    /// It is for kernels on which that other one is not attached, and costs more. Like `Optional`
    /// there.
    InsteadOf(&'static str),
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookState {
    /// It is attached, and stops what it judges; to tagged cgroups, as soon as there is one.
    Attached,
    /// It is attached, and only reports.
    ObserveOnly,
    /// It is not needed here: another program does the same. Which one.
    Spare(&'static str),
    /// The kernel refused it. The error, with the last lines of the verifier if it was that.
    Refused(String),
}

/// What became of every program of this load, in the order of [`HOOKS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks(Vec<(&'static Hook, HookState)>);

/// Every program of the object. The order is that of loading and of what people see; the LSM's first
/// hook is also the one that shows whether the kernel calls the BPF LSM at all.
pub static HOOKS: &[Hook] = &[
    Hook {
        program: "hoop_connect4",
        place: Place::Workloads,
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "IPv4 connections are judged only packet by packet",
    },
    Hook {
        program: "hoop_connect6",
        place: Place::Workloads,
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "IPv6 connections are judged only packet by packet",
    },
    Hook {
        program: "hoop_sendmsg4",
        place: Place::Workloads,
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "IPv4 datagrams are judged only packet by packet",
    },
    Hook {
        program: "hoop_sendmsg6",
        place: Place::Workloads,
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "IPv6 datagrams are judged only packet by packet",
    },
    Hook {
        program: "hoop_egress",
        place: Place::Workloads,
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "raw sockets and sockets from before the tag get through",
    },
    Hook {
        program: "hoop_sock_create",
        place: Place::Workloads,
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "any kind of IPv4 and IPv6 socket can be opened",
    },
    // Before the others at their tracepoints: the kernel keeps one signal per CPU while interrupts are
    // off, and it must be the one for the process that is outside.
    Hook {
        program: "hoop_end_child",
        place: Place::TrustedTracepoint("sched_process_fork"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "a child that starts outside its workload acts until the daemon ends it",
    },
    Hook {
        program: "hoop_end_moved",
        place: Place::TrustedTracepoint("cgroup_attach_task"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "a process that another moves out of its workload acts until the daemon ends it",
    },
    Hook {
        program: "hoop_fork",
        place: Place::Tracepoint("sched_process_fork"),
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "new processes are not recorded",
    },
    Hook {
        program: "hoop_exec",
        place: Place::Tracepoint("sched_process_exec"),
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "commands are neither recorded nor stopped",
    },
    Hook {
        program: "hoop_exit",
        place: Place::Tracepoint("sched_process_exit"),
        duty: Duty::Observes,
        need: Need::Needed,
        costs: "ends of processes are not recorded",
    },
    Hook {
        program: "hoop_cgroup_move",
        place: Place::Tracepoint("cgroup_attach_task"),
        duty: Duty::Judges,
        need: Need::Needed,
        costs: "processes that leave their workload are not recorded",
    },
    Hook {
        program: "hoop_socket_create",
        place: Place::Lsm("socket_create"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "sockets of other families than IPv4 and IPv6 do not fail with EPERM",
    },
    Hook {
        program: "hoop_unix_connect",
        place: Place::Lsm("unix_stream_connect"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "connections to Unix sockets that `sockets.unix.deny` names are not stopped",
    },
    Hook {
        program: "hoop_unix_send",
        place: Place::Lsm("unix_may_send"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "datagrams to Unix sockets that `sockets.unix.deny` names are not stopped",
    },
    Hook {
        program: "hoop_exec_check",
        place: Place::Lsm("bprm_creds_from_file"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "denied commands do not fail with EPERM: the process is killed as they begin",
    },
    Hook {
        program: "hoop_ptrace",
        place: Place::Lsm("ptrace_access_check"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "workloads can debug processes outside, as far as their privileges allow",
    },
    Hook {
        program: "hoop_signal",
        place: Place::Lsm("task_kill"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "workloads can signal the daemon, as far as their privileges allow",
    },
    Hook {
        program: "hoop_bpf",
        place: Place::Lsm("bpf"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "workloads can call bpf, as far as their privileges allow",
    },
    Hook {
        program: "hoop_unlink",
        place: Place::Lsm("inode_unlink"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "workloads can remove Hoop's pins, as far as their privileges allow",
    },
    Hook {
        program: "hoop_rmdir",
        place: Place::Lsm("inode_rmdir"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "workloads can remove the directories of Hoop's pins, as far as their privileges allow",
    },
    Hook {
        program: "hoop_rename",
        place: Place::Lsm("inode_rename"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "workloads can rename Hoop's pins, as far as their privileges allow",
    },
    Hook {
        program: "hoop_umount",
        place: Place::Lsm("sb_umount"),
        duty: Duty::Judges,
        need: Need::Optional,
        costs: "workloads can unmount Hoop's pins, as far as their privileges allow",
    },
    Hook {
        program: "hoop_enter_socket",
        place: Place::Syscall("socket"),
        duty: Duty::Judges,
        need: Need::InsteadOf("hoop_socket_create"),
        costs: "any kind of socket of other families than IPv4 and IPv6 can be opened",
    },
    Hook {
        program: "hoop_enter_socketpair",
        place: Place::Syscall("socketpair"),
        duty: Duty::Judges,
        need: Need::InsteadOf("hoop_socket_create"),
        costs: "any kind of socket of other families can be opened in pairs",
    },
    Hook {
        program: "hoop_ring_socket",
        place: Place::Ring,
        duty: Duty::Judges,
        need: Need::InsteadOf("hoop_socket_create"),
        costs: "io_uring can open any kind of socket of other families, if it can open sockets",
    },
    Hook {
        program: "hoop_mmap",
        place: Place::Lsm("mmap_file"),
        duty: Duty::Captures,
        need: Need::Optional,
        costs: "TLS libraries that a process loads late are noticed when the next program starts",
    },
    Hook {
        program: "hoop_enter_mmap",
        place: Place::Syscall("mmap"),
        duty: Duty::Captures,
        need: Need::InsteadOf("hoop_mmap"),
        costs: "TLS libraries that a process loads late are noticed when the next program starts",
    },
    Hook {
        program: "hoop_tls_call",
        place: Place::Libraries,
        duty: Duty::Captures,
        need: Need::Optional,
        costs: "TLS plaintext is not read",
    },
    Hook {
        program: "hoop_tls_return",
        place: Place::Libraries,
        duty: Duty::Captures,
        need: Need::Optional,
        costs: "TLS plaintext is not read",
    },
    Hook {
        program: "hoop_tls_close",
        place: Place::Libraries,
        duty: Duty::Captures,
        need: Need::Optional,
        costs: "two TLS connections of a process may be taken for one",
    },
    Hook {
        program: "hoop_go_call",
        place: Place::Libraries,
        duty: Duty::Captures,
        need: Need::Optional,
        costs: "TLS plaintext of Go programs is not read",
    },
    Hook {
        program: "hoop_go_return",
        place: Place::Libraries,
        duty: Duty::Captures,
        need: Need::Optional,
        costs: "TLS plaintext of Go programs is not read",
    },
    Hook {
        program: "hoop_tls_send",
        place: Place::TrustedTracepoint("sock_send_length"),
        duty: Duty::Captures,
        need: Need::Optional,
        costs: "TLS plaintext is not joined to a connection",
    },
    Hook {
        program: "hoop_tls_receive",
        place: Place::TrustedTracepoint("sock_recv_length"),
        duty: Duty::Captures,
        need: Need::Optional,
        costs: "TLS plaintext is not joined to a connection until the process sends",
    },
    Hook {
        program: "hoop_stdio",
        place: Place::TrustedTracepoint("sys_exit"),
        duty: Duty::CapturesStdio,
        need: Need::Optional,
        costs: "what is said to tools over pipes is not read",
    },
];

impl Hook {
    /// The name that people see.
    #[must_use]
    pub fn name(&self) -> &'static str {
        shown(self.program)
    }

    /// What it is attached to, for people.
    #[must_use]
    pub fn place(&self) -> String {
        let place = self.place.describe();
        match self.duty {
            Duty::Captures => format!("{place}, while a policy captures"),
            Duty::CapturesStdio => format!("{place}, while a policy captures stdio"),
            Duty::Judges | Duty::Observes => place,
        }
    }

    /// Whether it is attached to every tagged cgroup.
    #[must_use]
    pub fn is_of_workloads(&self) -> bool {
        self.place == Place::Workloads
    }
}

impl Place {
    /// Where that is, for people.
    #[must_use]
    fn describe(self) -> String {
        match self {
            Self::Workloads => "every tagged cgroup".to_owned(),
            Self::Tracepoint(name) => format!("tracepoint {name}"),
            Self::TrustedTracepoint(name) => format!("tracepoint {name}, by BTF"),
            Self::Lsm(name) => format!("LSM hook {name}"),
            Self::Syscall(name) => format!("entry of the system call {name}"),
            Self::Ring => "requests to io_uring".to_owned(),
            Self::Libraries => "TLS libraries, as they are used".to_owned(),
        }
    }
}

impl HookState {
    /// The state as records and `status` name it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::ObserveOnly => "observe-only",
            Self::Spare(_) => "spare",
            Self::Refused(_) => "refused",
        }
    }

    /// Why it is not attached.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Attached | Self::ObserveOnly => None,
            Self::Spare(other) => Some(format!("{} does the same, and better", shown(other))),
            Self::Refused(reason) => Some(reason.clone()),
        }
    }
}

impl Hooks {
    /// Asks `state` of every program, in order. It is told what became of those before.
    pub(crate) fn gather(mut state: impl FnMut(&'static Hook, &Self) -> HookState) -> Self {
        let mut hooks = Self(Vec::with_capacity(HOOKS.len()));
        for hook in HOOKS {
            let state = state(hook, &hooks);
            hooks.0.push((hook, state));
        }
        hooks
    }

    /// Every program and what became of it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Hook, &HookState)> {
        self.0.iter().map(|(hook, state)| (*hook, state))
    }

    /// What became of one program.
    #[must_use]
    pub fn state(&self, program: &str) -> Option<&HookState> {
        self.iter()
            .find_map(|(hook, state)| (hook.program == program).then_some(state))
    }

    /// Whether a program is attached, or ready to be.
    #[must_use]
    pub fn is_loaded(&self, program: &str) -> bool {
        matches!(
            self.state(program),
            Some(HookState::Attached | HookState::ObserveOnly)
        )
    }

    /// The first program that Hoop does not work without and the kernel refused, and why.
    #[must_use]
    pub fn missing(&self) -> Option<(&'static Hook, &str)> {
        self.iter().find_map(|(hook, state)| match state {
            HookState::Refused(reason) if hook.need == Need::Needed => {
                Some((hook, reason.as_str()))
            }
            _ => None,
        })
    }
}

fn shown(program: &'static str) -> &'static str {
    program.strip_prefix("hoop_").unwrap_or(program)
}
