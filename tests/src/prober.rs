//! A process that does what it is told.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, IoSlice, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::cgroup::Cgroup;
use crate::namespace::Namespace;
use crate::probe::{Act, Outcome, Route, Step, Stream};
use crate::wait;

/// A running `prober`. Dropping it ends it.
#[derive(Debug)]
pub struct Prober {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Prober {
    /// Starts a prober in a network and, if one is given, a cgroup.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(network: &Namespace, cgroup: Option<&Cgroup>) -> Self {
        let mut command = Command::new(program());
        network
            .enter(&mut command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let entrance = cgroup.map(|cgroup| {
            OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_CLOEXEC)
                .open(cgroup.directory().join("cgroup.procs"))
                .expect("the cgroup exists")
        });
        if let Some(entrance) = &entrance {
            let fd = entrance.as_raw_fd();
            // SAFETY: write is async-signal-safe, and the file stays open until after the spawn.
            unsafe {
                command.pre_exec(move || match libc::write(fd, b"0".as_ptr().cast(), 1) {
                    1 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                });
            }
        }
        let mut child = command.spawn().expect("start a prober");
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().expect("stdout is piped")),
            child,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Does `act`, and says what came of it.
    ///
    /// # Panics
    ///
    /// When the prober does not answer.
    #[track_caller]
    pub fn act(&mut self, act: &Act) -> Outcome {
        self.order(act);
        self.answer()
    }

    /// Orders `act` without waiting for the answer.
    ///
    /// # Panics
    ///
    /// When the prober is gone.
    #[track_caller]
    pub fn order(&mut self, act: &Act) {
        let mut line = serde_json::to_string(act).expect("an act is JSON");
        line.push('\n');
        let stdin = self.stdin.as_mut().expect("stdin is open until the drop");
        stdin
            .write_all(line.as_bytes())
            .expect("the prober listens");
    }

    /// The answer to the oldest order that has none yet.
    ///
    /// # Panics
    ///
    /// When none comes.
    #[track_caller]
    pub fn answer(&mut self) -> Outcome {
        self.answer_within(wait::patience())
    }

    /// The same, for orders that take longer.
    ///
    /// # Panics
    ///
    /// When none comes.
    #[track_caller]
    pub fn answer_within(&mut self, patience: std::time::Duration) -> Outcome {
        let timeout = PollTimeout::try_from(patience).expect("a patience in poll's range");
        if self.stdout.buffer().is_empty() {
            let mut polled = [PollFd::new(
                self.stdout.get_ref().as_fd(),
                PollFlags::POLLIN,
            )];
            let ready = loop {
                match poll(&mut polled, timeout) {
                    Err(nix::errno::Errno::EINTR) => {}
                    ready => break ready.expect("poll"),
                }
            };
            assert!(ready > 0, "the prober hangs");
        }
        let mut line = String::new();
        self.stdout
            .read_line(&mut line)
            .expect("the prober answers");
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the prober answered {line:?}: {error}"))
    }

    /// Gets `text` to `to` by `route`.
    #[track_caller]
    pub fn reach(&mut self, route: Route, to: SocketAddr, text: &str) -> Outcome {
        self.act(&Act::Reach {
            route,
            to,
            text: text.to_owned(),
        })
    }

    /// Opens a TCP or UDP socket and connects it.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[track_caller]
    pub fn connected(&mut self, stream: Stream, to: SocketAddr) -> i32 {
        let fd = self.open(stream, to.is_ipv6());
        self.act(&Act::Connect { fd, to }).expect("connect");
        fd
    }

    /// Opens a TCP or UDP socket.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[track_caller]
    pub fn open(&mut self, stream: Stream, v6: bool) -> i32 {
        let done = self.act(&Act::Open { stream, v6 }).expect("open a socket");
        i32::try_from(done.value).expect("a descriptor")
    }

    /// Sends on a connected socket.
    #[track_caller]
    pub fn send(&mut self, fd: i32, text: &str) -> Outcome {
        self.act(&Act::Send {
            fd,
            text: text.to_owned(),
        })
    }

    /// Waits for something to arrive on a connected socket.
    #[track_caller]
    pub fn receive(&mut self, fd: i32) -> Outcome {
        self.act(&Act::Receive { fd })
    }

    /// Forks, takes the steps, acts.
    #[track_caller]
    pub fn after(&mut self, steps: &[Step], act: Act) -> Outcome {
        self.act(&Act::After {
            steps: steps.to_vec(),
            act: Box::new(act),
        })
    }

    /// Runs a program with arguments (the zeroth is the program) to its end.
    #[track_caller]
    pub fn run(&mut self, program: &str, arguments: &[&str]) -> Outcome {
        let argv = std::iter::once(&program).chain(arguments);
        self.act(&Act::Run {
            program: PathBuf::from(program),
            argv: argv.map(|argument| argument.as_bytes().to_vec()).collect(),
            directory: None,
            user: None,
        })
    }

    /// Waits until the prober was ended by somebody.
    ///
    /// # Panics
    ///
    /// When it lives on.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        wait::until("the prober's end", || {
            self.child.try_wait().expect("wait for the prober")
        })
    }

    /// Lets the prober end with `code`, and waits until it has.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn exit(&mut self, code: i32) -> ExitStatus {
        self.order(&Act::Exit { code });
        self.child.wait().expect("wait for the prober")
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the `prober` program is: beside the test that runs.
///
/// # Panics
///
/// When it was not built.
#[must_use]
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the running program has a path");
    let program = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("prober"))
        .find(|program| program.is_file());
    program.expect("prober is built along with the tests")
}

/// Passes a socket to a prober by `SCM_RIGHTS` over a new Unix socket at `path`. Answers with its
/// descriptor there.
///
/// # Panics
///
/// When it does not get there.
#[track_caller]
pub fn pass(prober: &mut Prober, path: &Path, socket: BorrowedFd<'_>) -> i32 {
    let listener = UnixListener::bind(path).expect("a Unix socket");
    prober.order(&Act::TakeSocket {
        path: path.to_owned(),
    });
    let (stream, _peer) = listener.accept().expect("the prober connects");
    let rights = [socket.as_raw_fd()];
    sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(b"!")],
        &[ControlMessage::ScmRights(&rights)],
        MsgFlags::empty(),
        None,
    )
    .expect("pass a socket");
    i32::try_from(prober.answer().expect("take the socket").value).expect("a descriptor")
}
