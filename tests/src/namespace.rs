//! Network namespaces without a name: they vanish with the last descriptor, even if the test is
//! killed.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
}

impl Namespace {
    /// Makes an empty namespace.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for want of privilege most likely.
    pub fn new() -> Result<Self> {
        // A thread of its own, so that the caller stays where it is.
        let made = std::thread::spawn(|| -> Result<OwnedFd> {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET)")?;
            Ok(File::open("/proc/thread-self/ns/net")?.into())
        });
        let fd = made.join().expect("the thread does not panic")?;
        Ok(Self { fd })
    }

    /// Runs `act` on a thread inside the namespace. Sockets that it opens stay there.
    ///
    /// # Panics
    ///
    /// When `act` does, or the namespace cannot be entered.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).expect("setns");
                act()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Lets `command` start inside the namespace.
    pub fn enter<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let fd = self.fd.as_raw_fd();
        // SAFETY: setns is async-signal-safe, and the descriptor outlives the fork because the
        // caller spawns while it borrows the namespace's owner.
        unsafe {
            command.pre_exec(move || match libc::setns(fd, libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        }
    }

    /// A path that names the namespace for `ip link ... netns PATH`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }

    /// Runs a batch of `ip` commands inside the namespace.
    ///
    /// # Errors
    ///
    /// When `ip` is missing or one of the commands fails.
    pub fn ip(&self, batch: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.enter(&mut command).spawn().context("ip (iproute2)")?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(batch.as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "ip: {}\nin\n{batch}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}
