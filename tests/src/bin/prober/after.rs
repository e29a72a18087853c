//! Acts of a descendant that has taken some steps first.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use hoop_tests::probe::{Act, Failure, Outcome, Step};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Uid};

use crate::call::{call, failure, socket};
use crate::perform;

/// Forks; the child takes the steps, acts, and writes what came of it into a pipe.
pub(crate) fn fork(steps: &[Step], act: &Act) -> Outcome {
    let (mut reader, writer) = std::io::pipe().map_err(|error| failure("pipe", &error))?;
    // SAFETY: the prober has a single thread, so the child may do anything.
    match unsafe { nix::unistd::fork() }.map_err(|errno| Failure::new("fork", errno as i32))? {
        ForkResult::Child => {
            drop(reader);
            walk(OwnedFd::from(writer), steps, act)
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut answer = String::new();
            let read = reader.read_to_string(&mut answer);
            while waitpid(child, None) == Err(nix::errno::Errno::EINTR) {}
            read.map_err(|error| failure("read", &error))?;
            // A descendant that was killed has no answer.
            serde_json::from_str(&answer).unwrap_or(Err(Failure::new("killed", libc::ESRCH)))
        }
    }
}

/// Goes on after an exec.
pub(crate) fn resume(pipe: i32, steps: &[Step], act: &Act) -> ! {
    // SAFETY: the program before this one left the descriptor to it.
    walk(unsafe { OwnedFd::from_raw_fd(pipe) }, steps, act)
}

fn walk(pipe: OwnedFd, steps: &[Step], act: &Act) -> ! {
    let outcome = steps
        .iter()
        .enumerate()
        .try_for_each(|(index, step)| take(step, &pipe, &steps[index + 1..], act))
        .and_then(|()| perform(act));
    let answer = serde_json::to_string(&outcome).unwrap_or_default();
    let _ = fs::File::from(pipe).write_all(answer.as_bytes());
    // SAFETY: _exit does not return, and leaves the parent's buffers alone.
    unsafe { libc::_exit(0) }
}

fn take(step: &Step, pipe: &OwnedFd, rest: &[Step], act: &Act) -> Result<(), Failure> {
    let fail = |name: &'static str| move |errno| Failure::new(name, errno as i32);
    match step {
        // SAFETY: a single thread, see above.
        Step::Orphan => match unsafe { nix::unistd::fork() }.map_err(fail("fork"))? {
            // SAFETY: _exit does not return.
            ForkResult::Parent { .. } => unsafe { libc::_exit(0) },
            ForkResult::Child => Ok(()),
        },
        Step::Setsid => nix::unistd::setsid().map(drop).map_err(fail("setsid")),
        Step::NewUser => unshare(CloneFlags::CLONE_NEWUSER).map_err(fail("unshare")),
        Step::NewNetwork => {
            unshare(CloneFlags::CLONE_NEWNET).map_err(fail("unshare"))?;
            loopback_up()
        }
        Step::EnterNetwork(path) => {
            let namespace = fs::File::open(path).map_err(|error| failure("open", &error))?;
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(fail("setns"))
        }
        Step::MoveTo(cgroup) => {
            if !cgroup.exists() {
                fs::create_dir(cgroup).map_err(|error| failure("mkdir", &error))?;
            }
            fs::write(cgroup.join("cgroup.procs"), "0").map_err(|error| failure("write", &error))
        }
        Step::MoveThreadTo(cgroup) => {
            let path = cgroup.join("cgroup.threads");
            let moved = std::thread::spawn(move || fs::write(path, "0")).join();
            moved
                .map_err(|_| Failure::new("thread", libc::EIO))?
                .map_err(|error| failure("write", &error))
        }
        Step::BornIn(cgroup) => born_in(cgroup),
        Step::NewCgroup => unshare(CloneFlags::CLONE_NEWCGROUP).map_err(fail("unshare")),
        Step::Become(id) => {
            nix::unistd::setgroups(&[]).map_err(fail("setgroups"))?;
            let (user, group) = (Uid::from_raw(*id), Gid::from_raw(*id));
            nix::unistd::setresgid(group, group, group).map_err(fail("setresgid"))?;
            nix::unistd::setresuid(user, user, user).map_err(fail("setresuid"))
        }
        Step::Exec => {
            // SAFETY: fcntl takes no memory here.
            call("fcntl", || unsafe {
                libc::fcntl(pipe.as_raw_fd(), libc::F_SETFD, 0)
            })?;
            let json = |error: serde_json::Error| failure("execve", &error.into());
            let steps = serde_json::to_string(rest).map_err(json)?;
            let act = serde_json::to_string(act).map_err(json)?;
            let mut command = std::process::Command::new("/proc/self/exe");
            command.args([pipe.as_raw_fd().to_string(), steps, act]);
            let error = std::os::unix::process::CommandExt::exec(&mut command);
            Err(failure("execve", &error))
        }
    }
}

/// `CLONE_INTO_CGROUP` of `include/uapi/linux/sched.h`, which `libc` has too narrow.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Goes on as a child in another cgroup; the parent waits for it, so that it is not the parent's
/// end that ends it.
fn born_in(cgroup: &std::path::Path) -> Result<(), Failure> {
    let directory = fs::File::open(cgroup).map_err(|error| failure("open", &error))?;
    // SAFETY: all zero is a valid request.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = directory.as_raw_fd() as u64;
    // SAFETY: without CLONE_VM this is a fork; the prober has a single thread.
    let child = call("clone3", || unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    })?;
    if child == 0 {
        return Ok(());
    }
    let child = nix::unistd::Pid::from_raw(child as i32);
    while waitpid(child, None) == Err(nix::errno::Errno::EINTR) {}
    // SAFETY: _exit does not return.
    unsafe { libc::_exit(0) }
}

fn loopback_up() -> Result<(), Failure> {
    let control = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    // SAFETY: all zero is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: the request is what this ioctl takes.
    call("SIOCSIFFLAGS", || unsafe {
        libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    })?;
    Ok(())
}
