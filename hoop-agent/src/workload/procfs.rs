//! What `/proc` tells of a process that was there before the daemon.
//!
//! Read on bytes: a process chooses its own name and arguments, and one that is not UTF-8 must not
//! hide it. Everything is read below one open `/proc/PID`, so a pid that is reused meanwhile does
//! not mix two processes.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use hoop_common::limits::ARGS_BYTES;
use procfs::process::Process;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A process as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSnapshot {
    /// Process id in this process's PID namespace.
    pub tgid: u32,
    /// When it started; see [`ProcessSnapshot::is`].
    pub start: StartTicks,
    /// Process id of its parent; 0 if that is outside this PID namespace.
    pub parent: u32,
    /// The program that it runs; `None` for kernel threads and zombies.
    pub executable: Option<Executable>,
    /// Its arguments, each ended by a NUL; at most [`ARGS_BYTES`] bytes. Empty for kernel threads
    /// and zombies.
    pub arguments: Vec<u8>,
    /// Whether there were more.
    pub arguments_truncated: bool,
    /// Its working directory, seen from its own root.
    pub working_directory: Option<PathBuf>,
    /// Real and effective user id, real and effective group id, in this user namespace.
    pub credentials: Credentials,
    /// Inode numbers of the namespaces: pid, net, mnt, user, uts, ipc, cgroup, in the order of
    /// [`hoop_common::event::ExecEvent::namespaces`]. 0 where it cannot be read.
    pub namespaces: [u32; 7],
    /// Path of its cgroup v2 as this process's cgroup namespace shows it; `None` if it is not
    /// below that namespace's root.
    pub cgroup: Option<OsString>,
}

/// The program that a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Its path, or `/memfd:NAME`.
    pub path: PathBuf,
    /// Whether nothing is at that path any more, or something else.
    pub deleted: bool,
}

/// Who a process acts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
}

/// A start time as field 22 of `/proc/PID/stat` has it: whole clock ticks since boot, where the
/// kernel's own `start_boottime`, and so [`hoop_common::event::ProcessKey`], has nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StartTicks {
    /// Ticks since boot, in this process's time namespace.
    pub ticks: u64,
    /// Ticks in a second: `sysconf(_SC_CLK_TCK)`.
    pub per_second: u64,
}

impl StartTicks {
    /// The ticks of a time in nanoseconds since boot, rounded as the kernel rounds
    /// (`nsec_to_clock_t`).
    #[must_use]
    pub fn of(start_ns: u64) -> Self {
        let per_second = procfs::ticks_per_second();
        Self {
            ticks: start_ns / (NANOS_PER_SECOND / per_second),
            per_second,
        }
    }

    /// The earliest nanosecond since boot that these ticks stand for.
    #[must_use]
    pub fn start_ns(self) -> u64 {
        self.ticks
            .saturating_mul(NANOS_PER_SECOND / self.per_second)
    }
}

impl ProcessSnapshot {
    /// Reads a process. `None` if there is no such process, or none any more. In the middle of an
    /// exec, arguments can still be missing.
    #[must_use]
    pub fn read(pid: u32) -> Option<Self> {
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let stat = Stat::parse(&read(&process, "stat", u64::from(ARGS_BYTES))?)?;
        let status = read(&process, "status", u64::from(ARGS_BYTES))?;
        let [uid, euid] = first_two(field(&status, b"Uid:")?)?;
        let [gid, egid] = first_two(field(&status, b"Gid:")?)?;
        let mut arguments = read(&process, "cmdline", u64::from(ARGS_BYTES) + 1)?;
        let arguments_truncated = arguments.len() > ARGS_BYTES as usize;
        arguments.truncate(ARGS_BYTES as usize);
        let cgroup = read(&process, "cgroup", 1 << 20)?;
        Some(Self {
            tgid: pid,
            start: stat.start,
            parent: stat.parent,
            executable: Executable::read(&process),
            arguments,
            arguments_truncated,
            working_directory: process.cwd().ok(),
            credentials: Credentials {
                uid,
                euid,
                gid,
                egid,
            },
            namespaces: ["pid", "net", "mnt", "user", "uts", "ipc", "cgroup"]
                .map(|name| namespace(pid, name).unwrap_or(0)),
            cgroup: cgroup_v2(&cgroup),
        })
        // The namespaces went by the pid: they are this process's only if it is still there.
        .filter(|_| read(&process, "stat", 1).is_some())
    }

    /// Whether the process that the kernel knows by this id and `start_boottime` is this one.
    ///
    /// Two processes of the same id within one tick, 10 ms, would be taken for one; the pid range
    /// would have to be used up within it.
    #[must_use]
    pub fn is(&self, tgid: u32, start_ns: u64) -> bool {
        self.tgid == tgid && self.start == StartTicks::of(start_ns)
    }
}

/// Sends SIGKILL to a process, if it is still the one that started then.
///
/// # Errors
///
/// `NotFound` if it is gone; otherwise the error of `pidfd_open(2)` or `pidfd_send_signal(2)`.
pub fn end(tgid: u32, start_ticks: u64) -> io::Result<()> {
    let pidfd = pidfd_open(tgid)?;
    // Read after the descriptor was opened: both are about the same process.
    let process = Process::new(tgid.cast_signed()).ok();
    let start = process
        .and_then(|process| read(&process, "stat", u64::from(ARGS_BYTES)))
        .and_then(|stat| Stat::parse(&stat));
    if start.is_none_or(|stat| stat.start.ticks != start_ticks) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: a null siginfo is what kill(2) would send.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if sent == 0 { Ok(()) } else { Err(last_error()) }
}

fn pidfd_open(tgid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, tgid, 0) };
    if fd < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The error of the last call; `NotFound` if there is no such process.
fn last_error() -> io::Error {
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        error => error,
    }
}

/// The process that a thread belongs to. `None` if there is no such thread any more.
pub(super) fn process_of(tid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{tid}/status")).ok()?;
    std::str::from_utf8(field(&status, b"Tgid:")?)
        .ok()?
        .trim()
        .parse()
        .ok()
}

impl Executable {
    fn read(process: &Process) -> Option<Self> {
        const DELETED: &[u8] = b" (deleted)";
        let path = process.exe().ok()?;
        let Some(kept) = path.as_os_str().as_bytes().strip_suffix(DELETED) else {
            return Some(Self {
                path,
                deleted: false,
            });
        };
        // A file may really be called so.
        let root = PathBuf::from(format!("/proc/{}", process.pid()));
        let named = root.join("root").join(path.strip_prefix("/").ok()?);
        let same = match (fs::metadata(root.join("exe")), fs::metadata(named)) {
            (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
            _ => false,
        };
        Some(if same {
            Self {
                path,
                deleted: false,
            }
        } else {
            Self {
                path: OsString::from_vec(kept.to_vec()).into(),
                deleted: true,
            }
        })
    }
}

pub(super) struct Stat {
    parent: u32,
    start: StartTicks,
}

impl Stat {
    /// `proc_pid_stat(5)`. The name in parentheses may hold anything, so what follows the last one
    /// counts.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let name_end = line.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        // The first is field 3.
        let parent = fields.nth(4 - 3)?.parse().ok()?;
        let ticks = fields.nth(22 - 5)?.parse().ok()?;
        Some(Self {
            parent,
            start: StartTicks {
                ticks,
                per_second: procfs::ticks_per_second(),
            },
        })
    }
}

fn read(process: &Process, name: &str, limit: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    process
        .open_relative(name)
        .ok()?
        .take(limit)
        .read_to_end(&mut content)
        .ok()?;
    Some(content)
}

pub(super) fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    // A newline in the process's name is escaped here, so a line starts where it seems to.
    status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(name))
}

pub(super) fn first_two(field: &[u8]) -> Option<[u32; 2]> {
    let mut numbers = std::str::from_utf8(field).ok()?.split_ascii_whitespace();
    Some([numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?])
}

fn namespace(pid: u32, name: &str) -> Option<u32> {
    let inode = fs::metadata(format!("/proc/{pid}/ns/{name}")).ok()?.ino();
    u32::try_from(inode).ok()
}

/// The v2 line of `/proc/PID/cgroup`: `0::PATH`, with ` (deleted)` if the cgroup was removed under
/// a zombie.
pub(super) fn cgroup_v2(content: &[u8]) -> Option<OsString> {
    let path = content
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    let outside = path == b"/.." || path.starts_with(b"/../");
    (!outside).then(|| OsString::from_vec(path.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Child, Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{ProcessSnapshot, StartTicks, Stat, cgroup_v2};

    struct Reaped(Child);

    impl Drop for Reaped {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn sees_this_process() {
        let Some(process) = ProcessSnapshot::read(std::process::id()) else {
            panic!("this process is not in /proc");
        };
        assert_eq!(
            process.executable.map(|it| (Some(it.path), it.deleted)),
            Some((std::env::current_exe().ok(), false))
        );
        assert_eq!(process.working_directory, std::env::current_dir().ok());
        assert_eq!(process.parent, std::os::unix::process::parent_id());
        assert!(process.namespaces.iter().all(|&inode| inode != 0));
        assert!(process.arguments.ends_with(b"\0"));
    }

    #[test]
    fn a_kernel_time_matches_its_tick_only() {
        let Some(process) = ProcessSnapshot::read(std::process::id()) else {
            panic!("this process is not in /proc");
        };
        let first = process.start.start_ns();
        let tick = 1_000_000_000 / process.start.per_second;
        assert!(process.is(process.tgid, first));
        assert!(process.is(process.tgid, first + tick - 1));
        assert!(!process.is(process.tgid, first + tick));
        assert!(!process.is(process.tgid, first - 1));
        assert!(!process.is(process.tgid + 1, first));
    }

    #[test]
    fn nobody_is_none() {
        assert_eq!(ProcessSnapshot::read(u32::MAX), None);
        assert_eq!(ProcessSnapshot::read(0), None);
    }

    #[test]
    fn a_removed_program_keeps_its_path() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        // A name that looks removed is not, until it is.
        let program = dir.path().join("sleep (deleted)");
        fs::copy("/bin/sleep", &program)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
        // More arguments than are kept.
        let child = loop {
            let started = Command::new(&program)
                .args(["600"].into_iter().chain([&*"0".repeat(100_000); 2]))
                .stdin(Stdio::null())
                .spawn();
            match started {
                // Another test's fork may still hold the file that was just written.
                Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => {}
                started => break Reaped(started?),
            }
        };
        let read = || ProcessSnapshot::read(child.0.id());
        // `spawn` returns before the kernel has set up the new program's arguments.
        let deadline = Instant::now() + Duration::from_secs(20);
        while read().is_none_or(|it| !it.arguments.starts_with(program.as_os_str().as_bytes())) {
            assert!(Instant::now() < deadline, "exec takes too long");
            thread::yield_now();
        }
        let program_of = |process: Option<ProcessSnapshot>| {
            process
                .and_then(|process| process.executable)
                .map(|it| (it.path, it.deleted))
        };
        assert_eq!(program_of(read()), Some((program.clone(), false)));
        let process = read();
        assert!(process.as_ref().is_some_and(|it| it.arguments_truncated));
        assert_eq!(process.map(|it| it.arguments.len()), Some(128 * 1024));
        fs::remove_file(&program)?;
        assert_eq!(program_of(read()), Some((program, true)));
        Ok(())
    }

    #[test]
    fn odd_names_do_not_hide_a_process() {
        let start = "S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        for name in ["a) S 9 (b", ") (", "\u{fffd}"] {
            let stat = Stat::parse(format!("5 ({name}) {start}").as_bytes());
            assert_eq!(
                stat.map(|stat| (stat.parent, stat.start.ticks)),
                Some((7, 4242))
            );
        }
        let stat = Stat::parse(&[b"5 (\xff) ", start.as_bytes()].concat());
        assert_eq!(stat.map(|stat| stat.parent), Some(7));
        for cut in ["", "5", "5 (a)", "5 (a) S", "5 (a) S x"] {
            assert!(Stat::parse(cut.as_bytes()).is_none());
        }
        assert_eq!(StartTicks::of(0).ticks, 0);
    }

    #[test]
    fn only_the_v2_line_counts() {
        let hybrid = b"9:name=systemd:/a\n4:memory:/b\n0::/hoop/c\n";
        assert_eq!(cgroup_v2(hybrid).as_deref(), Some(OsStr::new("/hoop/c")));
        assert_eq!(cgroup_v2(b"0::/../x\n"), None);
        assert_eq!(cgroup_v2(b"1:cpu:/\n"), None);
    }
}
