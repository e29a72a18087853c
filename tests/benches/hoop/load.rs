//! The process that is measured: it does what it is ordered, over and over, and says how long that
//! took. One runs in a tagged cgroup and one in its untagged sibling; they take turns.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hoop_tests::cgroup::Cgroup;
use hoop_tests::namespace::Namespace;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde::{Deserialize, Serialize};

/// The argument that turns this program into a load.
pub const ROLE: &str = "load";

/// Bytes of an argument, with its NUL.
pub const ARGUMENT: u32 = 1024;

/// The CPU that loads run on. Servers and the daemon run where the scheduler puts them.
const CPU: usize = 0;

/// What a load can do.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Order {
    /// socket, connect and close, `times` times. TCP connections are reset, so that no port waits.
    Connect {
        protocol: Protocol,
        to: SocketAddrV4,
        times: u32,
    },
    /// Sends this many bytes over one connection, until the other end has read them all.
    Bulk { to: SocketAddrV4, bytes: u64 },
    /// Starts a program and waits for its end, `times` times.
    Spawn {
        program: PathBuf,
        /// How many arguments it gets, each of [`ARGUMENT`] bytes with its NUL.
        arguments: u32,
        times: u32,
    },
    /// Connects datagram sockets from many processes at once, on all CPUs.
    Flood {
        to: SocketAddrV4,
        processes: u32,
        each: u32,
    },
    /// Connects a datagram socket again and again, so many times a second, for a while.
    Paced {
        to: SocketAddrV4,
        per_second: u32,
        seconds: u32,
    },
}

/// A transport.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// How long an order took.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Took {
    /// By the clock.
    pub wall_ns: u64,
    /// On the CPU, of the load and of the processes that it started.
    pub cpu_ns: u64,
}

/// A running load. Dropping it ends it.
pub struct Load {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Load {
    /// Starts a load in a network and a cgroup.
    pub fn start(network: &Namespace, cgroup: &Cgroup) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        place(&mut command, network, cgroup)?;
        let mut child = command.spawn().context("start a load")?;
        Ok(Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().context("stdout is piped")?),
            child,
        })
    }

    /// Gives an order, without waiting for it to be carried out.
    pub fn order(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        let stdin = self.stdin.as_mut().context("the load runs")?;
        stdin.write_all(line.as_bytes()).context("a load ended")
    }

    /// Waits until the last order is carried out.
    pub fn answer(&mut self) -> Result<Took> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line)?;
        ensure!(read > 0, "a load ended before it answered");
        Ok(serde_json::from_str(&line)?)
    }

    /// Carries an order out.
    pub fn run(&mut self, order: &Order) -> Result<Took> {
        self.order(order)?;
        self.answer()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// Lets `command` start in a network and a cgroup.
pub fn place(command: &mut Command, network: &Namespace, cgroup: &Cgroup) -> Result<()> {
    let entrance = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(cgroup.directory().join("cgroup.procs"))?;
    network.enter(command);
    // SAFETY: write is async-signal-safe, and the closure owns the file.
    unsafe {
        command.pre_exec(move || (&entrance).write_all(b"0"));
    }
    Ok(())
}

/// What the load itself runs: carries out orders from standard input until there are no more.
pub fn serve() -> Result<()> {
    pin(&[CPU])?;
    let mut answers = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let took = perform(&serde_json::from_str(&line?)?)?;
        let mut answer = serde_json::to_string(&took)?;
        answer.push('\n');
        answers.write_all(answer.as_bytes())?;
        answers.flush()?;
    }
    Ok(())
}

fn perform(order: &Order) -> Result<Took> {
    let (wall, cpu) = (Instant::now(), cpu_time()?);
    match order {
        Order::Connect {
            protocol,
            to,
            times,
        } => {
            for _ in 0..*times {
                drop(connect(*protocol, *to)?);
            }
        }
        Order::Bulk { to, bytes } => send(*to, *bytes)?,
        Order::Spawn {
            program,
            arguments,
            times,
        } => spawn(program, *arguments, *times)?,
        Order::Flood {
            to,
            processes,
            each,
        } => flood(*to, *processes, *each)?,
        Order::Paced {
            to,
            per_second,
            seconds,
        } => paced(*to, *per_second, *seconds)?,
    }
    let (wall, cpu) = (wall.elapsed(), cpu_time()? - cpu);
    Ok(Took {
        wall_ns: wall.as_nanos() as u64,
        cpu_ns: cpu.as_nanos() as u64,
    })
}

/// A connected socket. Plain system calls, so that nothing but them is measured.
fn connect(protocol: Protocol, to: SocketAddrV4) -> Result<OwnedFd> {
    let kind = match protocol {
        Protocol::Tcp => libc::SOCK_STREAM,
        Protocol::Udp => libc::SOCK_DGRAM,
    };
    // SAFETY: the call takes no pointers.
    let fd = Errno::result(unsafe { libc::socket(libc::AF_INET, kind | libc::SOCK_CLOEXEC, 0) })
        .context("socket")?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if protocol == Protocol::Tcp {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: the option is as long as the call is told.
        Errno::result(unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of_val(&linger) as libc::socklen_t,
            )
        })
        .context("SO_LINGER")?;
    }
    connect_to(&socket, to)?;
    Ok(socket)
}

fn connect_to(socket: &OwnedFd, to: SocketAddrV4) -> Result<()> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*to.ip()).to_be(),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: the address is as long as the call is told.
    let connected = Errno::result(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    });
    match connected {
        // A handler ran, or the process was stopped: the connection comes about all the same.
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("connect to {to}")),
    }
}

fn send(to: SocketAddrV4, bytes: u64) -> Result<()> {
    const AT_ONCE: u64 = 64 * 1024;
    let mut stream = TcpStream::connect(to)?;
    let piece = vec![0; AT_ONCE as usize];
    for _ in 0..bytes / AT_ONCE {
        stream.write_all(&piece)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // The other end closes when it has read everything.
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn spawn(program: &Path, arguments: u32, times: u32) -> Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = CString::new(program.as_os_str().as_bytes())?;
    let argument = CString::new(vec![b'x'; ARGUMENT as usize - 1])?;
    let mut argv = vec![path.as_ptr().cast_mut()];
    argv.resize(1 + arguments as usize, argument.as_ptr().cast_mut());
    argv.push(std::ptr::null_mut());
    let environment = [std::ptr::null_mut()];
    for _ in 0..times {
        let mut pid = 0;
        // SAFETY: the strings and the lists live through the call, and the lists end with null.
        let result = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                path.as_ptr(),
                std::ptr::null(),
                std::ptr::null(),
                argv.as_ptr(),
                environment.as_ptr(),
            )
        };
        ensure!(result == 0, "posix_spawn: {}", Errno::from_raw(result));
        reap(Pid::from_raw(pid))?;
    }
    Ok(())
}

fn flood(to: SocketAddrV4, processes: u32, each: u32) -> Result<()> {
    let mut children = Vec::new();
    for _ in 0..processes {
        // SAFETY: the load has a single thread, so the child may do anything.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let done = all_cpus().and_then(|()| {
                    let socket = connect(Protocol::Udp, to)?;
                    (1..each).try_for_each(|_| connect_to(&socket, to))
                });
                // SAFETY: _exit does not return.
                unsafe { libc::_exit(i32::from(done.is_err())) }
            }
            ForkResult::Parent { child } => children.push(child),
        }
    }
    children.into_iter().try_for_each(reap)
}

fn paced(to: SocketAddrV4, per_second: u32, seconds: u32) -> Result<()> {
    const PAUSE: Duration = Duration::from_micros(100);
    // Else the kernel lets a pause last 50 us longer.
    nix::sys::prctl::set_timerslack(1)?;
    let socket = connect(Protocol::Udp, to)?;
    let (start, whole) = (Instant::now(), u64::from(per_second) * u64::from(seconds));
    let mut done = 1;
    while done < whole {
        let due = start.elapsed().as_nanos() * u128::from(per_second) / 1_000_000_000;
        while done < whole.min(due as u64) {
            connect_to(&socket, to)?;
            done += 1;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn reap(child: Pid) -> Result<()> {
    use nix::sys::wait::WaitStatus;
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
            other => anyhow::bail!("a child of the load: {other:?}"),
        }
    }
}

fn pin(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("pin to a CPU")
}

fn all_cpus() -> Result<()> {
    pin(&(0..CpuSet::count()).collect::<Vec<_>>())
}

fn cpu_time() -> Result<Duration> {
    let mut total = Duration::from(nix::time::clock_gettime(
        nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID,
    )?);
    let children = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    for time in [children.user_time(), children.system_time()] {
        total += Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    }
    Ok(total)
}

/// An address on this host.
pub const fn here(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}
