//! Judges a command by the exec rules of a policy.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use hoop_common::{
    exec::{ExecEntry, Facts, Found, Met},
    limits::TEXT_CHUNK,
    matcher::Dfa,
    policy::{Cell, Ruling},
};

use crate::{
    kernel::{KernelPtr, Task, offset},
    maps::TABLES,
    matcher::{Cells, Progress},
    path::Path,
    verdict::{Decision, decide},
    verifier::{Forgotten, at_most},
    workload::Governed,
};

/// Longest command line in chunks: `MAX_ARG_STRINGS` and the stack's limit allow 6 MiB
/// (`_STK_LIM / 4 * 3` of `fs/exec.c`).
const CHUNKS: u32 = (8 << 20) / TEXT_CHUNK;

/// Room to judge in. It does not fit on the stack.
#[repr(C)]
pub struct Scratch {
    /// The path at hand.
    pub path: Path,
    text: [u8; TEXT_CHUNK as usize],
    progress: Progress,
    /// Where the command line starts in the process's memory.
    start: Forgotten<u64>,
    /// Its length without the last NUL.
    len: Forgotten<u64>,
    /// Whether all of it could be read, as 0 or 1.
    readable: Forgotten<u32>,
}

/// The exec rules in force for one workload.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    entry: &'a ExecEntry,
    cells: Cells,
    governed: Governed<'a>,
    mode: u32,
}

impl<'a> Rules<'a> {
    /// The rules; `None` if the workload has no policy, so that nothing is allowed.
    #[inline(always)]
    pub fn of(governed: Governed<'a>) -> Option<Self> {
        Some(Self {
            entry: governed.exec?,
            cells: Cells::of(governed.epoch)?,
            mode: governed.policy?.mode,
            governed,
        })
    }

    /// Walks the path in `scratch`, which is the program's.
    #[inline(always)]
    pub fn program(self, scratch: &mut Scratch) -> Found {
        self.walk_path(&self.entry.paths, scratch)
    }

    /// Resolves and walks the path of the parent's program. Uses the path in `scratch`.
    #[inline(always)]
    pub fn parent(self, task: Task, scratch: &mut Scratch) -> Found {
        if self.entry.needs_parent == 0 {
            return Found::complete(0);
        }
        let program = task.parent().and_then(Task::program);
        let Some(program) = program else {
            return Found::UNREADABLE;
        };
        scratch.path.resolve(program);
        self.walk_path(&self.entry.parents, scratch)
    }

    /// What the rules say before the arguments are looked at.
    #[inline(always)]
    pub fn met(self, facts: &Facts) -> Option<Met> {
        if self.entry.uids_len == 0 {
            // Then no cell is read.
            return Met::of(self.entry, facts, |_| None);
        }
        let table = TABLES.get(self.governed.epoch.bank())?;
        let cell = |index: u32| -> Option<&Cell> { table.get(index) };
        Met::of(self.entry, facts, cell)
    }

    /// Whether the arguments can change the answer.
    #[inline(always)]
    pub fn needs_args(self, met: Met) -> bool {
        met.needs_args(self.entry)
    }

    /// Walks the command line from `start` up to `end` in the memory of the running process: all
    /// of it, however much is recorded.
    #[inline(always)]
    pub fn args(self, start: u64, end: u64, scratch: &mut Scratch) -> Found {
        // Without the last NUL, as `Command::args` in the daemon's `policy/exec`.
        scratch.len.set(end.saturating_sub(start).saturating_sub(1));
        scratch.start.set(start);
        scratch.readable.set(1);
        scratch.progress.begin(&self.entry.args);
        let mut args = Args {
            cells: self.cells,
            scratch,
        };
        // SAFETY: the callback takes an `Args`, which outlives the call.
        unsafe {
            bpf_loop(
                CHUNKS,
                chunk as *mut c_void,
                (&raw mut args).cast::<c_void>(),
                0,
            )
        };
        if scratch.readable.get() == 0 {
            return Found::UNREADABLE;
        }
        Found::complete(scratch.progress.finish(self.cells))
    }

    /// Judges the command.
    #[inline(always)]
    pub fn judge(self, met: Met, args: Found) -> Decision {
        let number = |index: u32| Some(self.cells.cell(index));
        match met.judge(self.entry, args, number) {
            Some(ruling) => self.decide(ruling),
            None => Decision::CLOSED,
        }
    }

    #[inline(always)]
    fn decide(self, ruling: Ruling) -> Decision {
        decide(self.mode, ruling)
    }

    #[inline(always)]
    fn walk_path(self, dfa: &Dfa, scratch: &mut Scratch) -> Found {
        if !scratch.path.is_whole() {
            // What is cut off may be what a pattern begins with.
            return Found::UNREADABLE;
        }
        if dfa.is_empty() {
            return Found::complete(0);
        }
        scratch.progress.begin(dfa);
        let start = scratch.path.start();
        scratch
            .progress
            .feed(self.cells, scratch.path.bytes(), start, TEXT_CHUNK);
        Found {
            trusted: !scratch.path.has_user_mounts(),
            ..Found::complete(scratch.progress.finish(self.cells))
        }
    }
}

struct Args {
    cells: Cells,
    scratch: *mut Scratch,
}

/// Walks one chunk of the command line, for `bpf_loop`; 1 ends the loop.
unsafe extern "C" fn chunk(turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `Rules::args` passes an `Args`, and its own reference sleeps meanwhile.
    let args = unsafe { &*context.cast::<Args>() };
    // SAFETY: as above.
    let scratch = unsafe { &mut *args.scratch };
    let offset = u64::from(turn) * u64::from(TEXT_CHUNK);
    let len = scratch.len.get();
    if offset >= len {
        return 1;
    }
    let rest = len - offset;
    let rest = if rest > u64::from(TEXT_CHUNK) {
        TEXT_CHUNK
    } else {
        rest as u32
    };
    let bytes = at_most::<TEXT_CHUNK>(rest);
    let text = (&raw mut scratch.text).cast::<u8>();
    // SAFETY: `text` has room for `TEXT_CHUNK` bytes.
    let result = unsafe {
        bpf_probe_read_user(
            text.cast(),
            bytes,
            (scratch.start.get().wrapping_add(offset)) as *const _,
        )
    };
    if result != 0 {
        scratch.readable.set(0);
        return 1;
    }
    scratch.progress.feed(args.cells, text, 0, bytes);
    0
}

impl Task {
    /// The `struct path` of the program that the task runs.
    #[inline(always)]
    pub fn program(self) -> Option<KernelPtr> {
        self.0
            .follow(offset!(task_struct_mm))?
            .follow(offset!(mm_struct_exe_file))
            .map(|file| file.at(offset!(file_f_path)))
    }
}
