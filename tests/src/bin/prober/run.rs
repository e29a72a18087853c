//! Programs and crowds of processes.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use hoop_tests::probe::{Done, Failure, Outcome, Route};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};

use crate::call::failure;
use crate::ip::{connect, done, inet, reach};

pub(crate) fn program(
    program: &Path,
    argv: &[Vec<u8>],
    directory: Option<&Path>,
    user: Option<u32>,
) -> Outcome {
    let mut command = Command::new(program);
    if let Some((zeroth, rest)) = argv.split_first() {
        command.arg0(OsStr::from_bytes(zeroth));
        command.args(rest.iter().map(|argument| OsStr::from_bytes(argument)));
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    if let Some(id) = user {
        command.uid(id).gid(id);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| failure("execve", &error))?;
    let status = child.wait().map_err(|error| failure("wait", &error))?;
    Ok(Done {
        pid: child.id(),
        ..done(status.into_raw().into())
    })
}

pub(crate) fn from_memory(program: &Path, argv: &[Vec<u8>]) -> Outcome {
    let bytes = fs::read(program).map_err(|error| failure("read", &error))?;
    let name = c"program";
    let memory = nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::empty())
        .map_err(|errno| Failure::new("memfd_create", errno as i32))?;
    let mut memory = fs::File::from(memory);
    memory
        .write_all(&bytes)
        .map_err(|error| failure("write", &error))?;
    let argv = c_strings(argv)?;
    // SAFETY: the prober has a single thread, so the child may do anything.
    match unsafe { nix::unistd::fork() }.map_err(|errno| Failure::new("fork", errno as i32))? {
        ForkResult::Child => {
            let environment: [&std::ffi::CStr; 0] = [];
            let flags = nix::fcntl::AtFlags::AT_EMPTY_PATH;
            let error = nix::unistd::execveat(&memory, c"", &argv, &environment, flags);
            let errno = error.err().map_or(libc::EIO, |errno| errno as i32);
            // SAFETY: _exit does not return.
            unsafe { libc::_exit(errno) }
        }
        ForkResult::Parent { child } => Ok(Done {
            pid: child.as_raw().cast_unsigned(),
            ..done(status(child)?.into())
        }),
    }
}

pub(crate) fn mounted(
    program: &Path,
    over: &Path,
    argv: &[Vec<u8>],
    user_namespace: bool,
) -> Outcome {
    let argv = c_strings(argv)?;
    // SAFETY: the prober has a single thread, so the child may do anything.
    match unsafe { nix::unistd::fork() }.map_err(|errno| Failure::new("fork", errno as i32))? {
        ForkResult::Child => {
            let errno = run_mounted(program, over, &argv, user_namespace);
            // SAFETY: _exit does not return.
            unsafe { libc::_exit(errno as i32) }
        }
        ForkResult::Parent { child } => Ok(Done {
            pid: child.as_raw().cast_unsigned(),
            ..done(status(child)?.into())
        }),
    }
}

fn run_mounted(program: &Path, over: &Path, argv: &[CString], user_namespace: bool) -> Errno {
    let become_program = || -> nix::Result<()> {
        let mut namespaces = CloneFlags::CLONE_NEWNS;
        namespaces.set(CloneFlags::CLONE_NEWUSER, user_namespace);
        unshare(namespaces)?;
        let nothing: Option<&Path> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(nothing, Path::new("/"), nothing, private, nothing)?;
        mount(Some(program), over, nothing, MsFlags::MS_BIND, nothing)?;
        let over = CString::new(over.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
        nix::unistd::execv(&over, argv).map(drop)
    };
    become_program().err().unwrap_or(Errno::EIO)
}

pub(crate) fn racing(
    program: &Path,
    argv: &[Vec<u8>],
    texts: &[Vec<u8>; 2],
    times: u32,
) -> Outcome {
    let program = CString::new(program.as_os_str().as_bytes())
        .map_err(|_| Failure::new("argv", libc::EINVAL))?;
    let argv = c_strings(argv)?;
    let mut well = 0;
    for _ in 0..times {
        // SAFETY: the prober has a single thread, so the child may do anything.
        match unsafe { nix::unistd::fork() }.map_err(|errno| Failure::new("fork", errno as i32))? {
            ForkResult::Child => run_while_written(&program, &argv, texts),
            ForkResult::Parent { child } => well += i64::from(status(child)? == 0),
        }
    }
    Ok(done(well))
}

/// Becomes the program; until then a thread writes over the last argument.
fn run_while_written(program: &CString, argv: &[CString], texts: &[Vec<u8>; 2]) -> ! {
    let cells = |text: &Vec<u8>| text.iter().map(|byte| AtomicU8::new(*byte)).collect();
    let last: Vec<AtomicU8> = cells(&[texts[0].as_slice(), b"\0"].concat());
    let last: &'static [AtomicU8] = last.leak();
    let texts = texts.clone();
    let (writes, written) = std::sync::mpsc::sync_channel(0);
    std::thread::spawn(move || {
        for (round, text) in texts.iter().cycle().enumerate() {
            for (to, from) in last.iter().zip(text) {
                to.store(*from, Ordering::Relaxed);
            }
            if round == texts.len() {
                // Without this, a busy machine may run the program before this thread at all.
                let _ = writes.send(());
            }
        }
    });
    let _ = written.recv();
    let mut pointers: Vec<*const libc::c_char> = argv.iter().map(|text| text.as_ptr()).collect();
    pointers.push(last.as_ptr().cast());
    pointers.push(std::ptr::null());
    let environment = [std::ptr::null()];
    // SAFETY: both lists end with a null pointer, and every text with a NUL; _exit does not return.
    unsafe {
        libc::execve(program.as_ptr(), pointers.as_ptr(), environment.as_ptr());
        libc::_exit(*libc::__errno_location())
    }
}

fn c_strings(texts: &[Vec<u8>]) -> Result<Vec<CString>, Failure> {
    let text =
        |text: &Vec<u8>| CString::new(text.clone()).map_err(|_| Failure::new("argv", libc::EINVAL));
    texts.iter().map(text).collect()
}

/// The wait status of a child that ends.
fn status(child: Pid) -> Result<i32, Failure> {
    let mut status = 0;
    crate::call::call("waitpid", || {
        // SAFETY: `status` is one int.
        unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) }
    })?;
    Ok(status)
}

pub(crate) fn spawn(count: u32) -> Outcome {
    for _ in 0..count {
        // SAFETY: the prober has a single thread, and the child does nothing.
        match unsafe { nix::unistd::fork() }.map_err(|errno| Failure::new("fork", errno as i32))? {
            // SAFETY: _exit does not return.
            ForkResult::Child => unsafe { libc::_exit(0) },
            ForkResult::Parent { child } => reap(child),
        }
    }
    Ok(done(count.into()))
}

pub(crate) fn flood(to: SocketAddr, processes: u32, each: u32) -> Outcome {
    in_parallel(processes, || connects(to, each).unwrap_or(0))
}

/// Adds up what each of several processes counts.
fn in_parallel(processes: u32, work: impl Fn() -> u32) -> Outcome {
    let (mut reader, mut writer) = std::io::pipe().map_err(|error| failure("pipe", &error))?;
    let mut children = Vec::new();
    for _ in 0..processes {
        // SAFETY: the prober has a single thread, so the child may do anything.
        match unsafe { nix::unistd::fork() }.map_err(|errno| Failure::new("fork", errno as i32))? {
            ForkResult::Child => {
                let _ = writer.write_all(&work().to_ne_bytes());
                // SAFETY: _exit does not return.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => children.push(child),
        }
    }
    drop(writer);
    let mut counts = Vec::new();
    let read = reader.read_to_end(&mut counts);
    children.into_iter().for_each(reap);
    read.map_err(|error| failure("read", &error))?;
    let sum: u32 = counts
        .chunks_exact(4)
        .map(|count| u32::from_ne_bytes([count[0], count[1], count[2], count[3]]))
        .sum();
    Ok(done(sum.into()))
}

pub(crate) fn execs(program: &Path, processes: u32, each: u32) -> Outcome {
    in_parallel(processes, || {
        let parent = std::process::id().to_string();
        let mut ran = 0;
        for _ in 0..each {
            let status = Command::new(program).arg(&parent).status();
            ran += u32::from(status.is_ok_and(|status| status.success()));
        }
        ran
    })
}

pub(crate) fn flee(sign: &Path, to: SocketAddr, text: &str) -> Outcome {
    let cgroup = || fs::read("/proc/self/cgroup").map_err(|error| failure("read", &error));
    let before = cgroup()?;
    fs::write(sign, "").map_err(|error| failure("write", &error))?;
    // Nothing announces a move, and a moment later is too late.
    while cgroup()? == before {}
    loop {
        // What comes of one does not matter to the next.
        let _ = reach(Route::UdpSendto, to, text);
    }
}

/// Connects one socket over and over; how often the kernel allowed or denied it.
fn connects(to: SocketAddr, times: u32) -> Result<u32, Failure> {
    let socket = inet(to.is_ipv6(), libc::SOCK_DGRAM, 0)?;
    let mut judged = 0;
    for _ in 0..times {
        match connect(socket.as_raw_fd(), to) {
            Err(failure) if !failure.is_denial() => return Err(failure),
            _ => judged += 1,
        }
    }
    Ok(judged)
}

fn reap(child: Pid) {
    while waitpid(child, None) == Err(Errno::EINTR) {}
}
