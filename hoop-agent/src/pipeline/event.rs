//! An event, decoded: what the stages share. Fixed parts are copied, variable parts borrowed.

use hoop_common::event::{
    ArgsEvent, Enforcement, ExecEvent, ExitEvent, ForkEvent, GuardEvent, Header, Hook, MoveEvent,
    NetEvent, ProcessKey, SocketEvent, Verdict,
};

/// One event of the kernel.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A process was created.
    Fork(ForkEvent),
    /// A process started to run a program.
    Exec(Exec<'a>),
    /// More arguments of an exec.
    Args(Args<'a>),
    /// A process ended.
    Exit(ExitEvent),
    /// A destination was judged.
    Net(Net),
    /// A socket was asked for.
    Socket(Socket),
    /// A process entered or left a workload.
    Move(Move),
    /// A program was refused, or a reach beyond the workload was judged.
    Guard(Guard<'a>),
}

impl Event<'_> {
    /// What every event starts with.
    #[must_use]
    pub fn header(&self) -> &Header {
        match self {
            Self::Fork(event) => &event.header,
            Self::Exec(event) => &event.fixed.header,
            Self::Args(event) => &event.fixed.header,
            Self::Exit(event) => &event.header,
            Self::Net(event) => &event.fixed.header,
            Self::Socket(event) => &event.fixed.header,
            Self::Move(event) => &event.fixed.header,
            Self::Guard(event) => &event.fixed.header,
        }
    }
}

/// A process started to run a program.
#[derive(Clone, Copy, Debug)]
pub struct Exec<'a> {
    /// The fixed part.
    pub fixed: ExecEvent,
    /// What was decided.
    pub judgement: Judgement,
    /// The program's path.
    pub path: &'a [u8],
    /// The working directory.
    pub cwd: &'a [u8],
    /// The first arguments, each ended by a NUL.
    pub args: &'a [u8],
}

/// More arguments of an exec.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// The fixed part.
    pub fixed: ArgsEvent,
    /// The arguments from `fixed.offset` on.
    pub bytes: &'a [u8],
}

/// A destination was judged.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// The fixed part.
    pub fixed: NetEvent,
    /// What was decided.
    pub judgement: Judgement,
}

/// A socket was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// The fixed part.
    pub fixed: SocketEvent,
    /// What was decided.
    pub judgement: Judgement,
}

/// What was decided and where, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// One of the hooks that judge this kind of event.
    pub hook: Hook,
    /// The verdict.
    pub verdict: Verdict,
    /// What made a denied thing not happen.
    pub enforcement: Enforcement,
}

/// A process entered or left a workload.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// The fixed part.
    pub fixed: MoveEvent,
    /// What was decided; `None` if nothing was judged.
    pub judgement: Option<Judgement>,
}

/// A program was refused, or a reach beyond the workload was judged.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    /// The fixed part.
    pub fixed: GuardEvent,
    /// What was decided.
    pub judgement: Judgement,
    /// The path of the program.
    pub path: &'a [u8],
}

/// Numbers that never arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The CPU that gave them.
    pub cpu: u16,
    /// The first missing number.
    pub first: u64,
    /// The last missing number.
    pub last: u64,
    /// How many are missing between the two; fewer than the distance if others arrived.
    pub count: u64,
    /// Why. Several causes if the kernel counted several and no one can tell which was which.
    pub cause: String,
}

/// The process that an event is about. `tgid` 0 if the kernel could not say.
#[must_use]
pub fn process_key(header: &Header) -> ProcessKey {
    ProcessKey {
        start_ns: header.start_ns,
        tgid: header.tgid,
        reserved: 0,
    }
}
