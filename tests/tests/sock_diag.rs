//! The daemon finds a workload's sockets and ends them. Needs root; all traffic stays on the
//! loopback of network namespaces made here.

use std::fs;
use std::io::{self, Read};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use hoop_agent::kernel::netns::NetNs;
use hoop_agent::kernel::sock_diag::{Family, Protocol, SockDiag, SockDiagError, Socket};
use hoop_agent::workload::cgroup::CgroupRoot;
use hoop_agent::workload::path::CgroupPath;
use nix::sched::{CloneFlags, unshare};

const DEADLINE: Duration = Duration::from_secs(30);
const LOOPBACKS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
];

/// This process in a cgroup of its own, and back where it was when dropped.
struct InCgroup {
    root: CgroupRoot,
    path: CgroupPath,
    id: u64,
    back: std::path::PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl InCgroup {
    fn enter() -> anyhow::Result<Self> {
        // The whole process moves, so one test at a time.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let root = CgroupRoot::find()?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .context("this process has no cgroup v2")?;
        let back = root.mount().join(own).join("cgroup.procs");
        let path = CgroupPath::parse(&format!("/hoop-test-diag-{}", std::process::id()))?;
        let id = root.create(&path)?;
        let entered = Self {
            root,
            path,
            id,
            back,
            _alone: alone,
        };
        let procs = entered.root.full_path(&entered.path).join("cgroup.procs");
        fs::write(procs, "0")?;
        Ok(entered)
    }
}

impl Drop for InCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.back, "0") {
            eprintln!("cannot leave {}: {error}", self.path);
        }
        if let Err(error) = self.root.remove(&self.path) {
            eprintln!("cannot clean up: {error}");
        }
    }
}

/// A network namespace with nothing but its loopback, which is up.
fn new_netns() -> anyhow::Result<NetNs> {
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        loopback_up()?;
        Ok(NetNs::current()?)
    })
    .join()
    .map_err(|_| anyhow::anyhow!("the thread panicked"))?
}

fn loopback_up() -> io::Result<()> {
    let any = UdpSocket::bind("[::]:0")?;
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is an `ifreq` that lives through the call.
    match unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

fn find(
    diag: &mut SockDiag,
    protocol: Protocol,
    source: SocketAddr,
) -> anyhow::Result<Option<Socket>> {
    let sockets = diag.dump(family_of(source.ip()), protocol)?;
    Ok(sockets.into_iter().find(|socket| socket.source == source))
}

fn cookie(socket: &impl AsRawFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to live values of the sizes stated.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    match done {
        0 => Ok(cookie),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads until something other than a signal ends the wait.
fn outcome(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> anyhow::Result<i32> {
    match result {
        Ok(done) => anyhow::bail!("no error but {done:?}"),
        Err(error) => error.raw_os_error().context("an error of the system"),
    }
}

#[test]
fn a_tcp_connection_is_found_and_ended() -> anyhow::Result<()> {
    let cgroup = InCgroup::enter()?;
    let netns = new_netns()?;
    let mut diag = SockDiag::open(&netns)?;
    for address in LOOPBACKS {
        let (mut client, mut server) = netns.run(|| {
            let listener = TcpListener::bind((address, 0))?;
            let client = TcpStream::connect(listener.local_addr()?)?;
            io::Result::Ok((client, listener.accept()?.0))
        })??;
        client.set_read_timeout(Some(DEADLINE))?;
        server.set_read_timeout(Some(DEADLINE))?;
        let socket = find(&mut diag, Protocol::Tcp, client.local_addr()?)?.context("listed")?;
        assert_eq!(socket.destination, client.peer_addr()?);
        assert_eq!(socket.cookie, cookie(&client)?);
        assert_eq!(socket.cgroup_id, Some(cgroup.id));
        assert_eq!(socket.state, 1);

        // Another cookie is another socket, whatever its address.
        let other = Socket {
            cookie: socket.cookie ^ 1 << 40,
            ..socket.clone()
        };
        diag.destroy(&other)?;
        assert!(find(&mut diag, Protocol::Tcp, client.local_addr()?)?.is_some());

        let blocked = thread::scope(|scope| {
            let reader = scope.spawn(|| outcome(|| client.read(&mut [0])));
            diag.destroy(&socket)?;
            reader
                .join()
                .map_err(|_| anyhow::anyhow!("the reader panicked"))
        })?;
        assert_eq!(errno(blocked)?, libc::ECONNABORTED, "{address}");
        let reset = outcome(|| server.read(&mut [0]));
        assert_eq!(errno(reset)?, libc::ECONNRESET, "{address}");
        diag.destroy(&socket).context("gone already is no error")?;
    }
    Ok(())
}

#[test]
fn a_udp_socket_is_found_and_ended() -> anyhow::Result<()> {
    let cgroup = InCgroup::enter()?;
    let netns = new_netns()?;
    let mut diag = SockDiag::open(&netns)?;
    for address in LOOPBACKS {
        for connected in [true, false] {
            let socket = netns.run(|| UdpSocket::bind((address, 0)))??;
            if connected {
                socket.connect((address, 9))?;
            }
            socket.set_read_timeout(Some(DEADLINE))?;
            let source = socket.local_addr()?;
            let listed = find(&mut diag, Protocol::Udp, source)?.context("listed")?;
            assert_eq!(listed.cookie, cookie(&socket)?);
            assert_eq!(listed.cgroup_id, Some(cgroup.id));
            assert_eq!(listed.state, if connected { 1 } else { 7 });

            let blocked = thread::scope(|scope| {
                let reader = scope.spawn(|| outcome(|| socket.recv(&mut [0])));
                diag.destroy(&listed)?;
                reader
                    .join()
                    .map_err(|_| anyhow::anyhow!("the reader panicked"))
            })?;
            assert_eq!(errno(blocked)?, libc::ECONNABORTED, "{address} {connected}");
            diag.destroy(&listed).context("gone already is no error")?;
        }
    }
    Ok(())
}

#[test]
fn a_udp_socket_behind_another_is_not_called_gone() -> anyhow::Result<()> {
    let netns = new_netns()?;
    let mut diag = SockDiag::open(&netns)?;
    // Of sockets that share an address, a look-up finds one and always the same.
    let sockets = netns.run(|| {
        let first = reusable_udp(0)?;
        let second = reusable_udp(first.local_addr()?.port())?;
        io::Result::Ok([first, second])
    })??;
    let listed = diag.dump(Family::V4, Protocol::Udp)?;
    assert_eq!(listed.len(), 2);
    let hidden = listed
        .iter()
        .filter(|socket| {
            let done = diag.destroy(socket);
            matches!(done, Err(SockDiagError::Hidden { cookie }) if cookie == socket.cookie)
        })
        .count();
    assert_eq!(hidden, 1, "one is found, the other said to be there");
    drop(sockets);
    Ok(())
}

fn reusable_udp(port: u16) -> io::Result<UdpSocket> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
    };
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port))?;
    Ok(socket.into())
}

#[test]
fn an_mptcp_connection_is_found_and_ended() -> anyhow::Result<()> {
    let cgroup = InCgroup::enter()?;
    let netns = new_netns()?;
    let mut diag = SockDiag::open(&netns)?;
    let (mut client, mut server) = netns.run(|| {
        // How long a connection without subflows waits for another; seconds.
        fs::write("/proc/sys/net/mptcp/close_timeout", "1")?;
        let listener = mptcp_socket()?;
        let listener = TcpListener::from(listener);
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1)?)?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let client = mptcp_socket()?;
        let address: nix::sys::socket::SockaddrIn = address.into();
        nix::sys::socket::connect(client.as_raw_fd(), &address)?;
        let client = TcpStream::from(client);
        io::Result::Ok((client, listener.accept()?.0))
    })??;
    client.set_read_timeout(Some(DEADLINE))?;
    server.set_read_timeout(Some(DEADLINE))?;
    let source = client.local_addr()?;
    let connection = find(&mut diag, Protocol::Mptcp, source)?.context("the connection")?;
    assert_eq!(connection.cgroup_id, Some(cgroup.id));
    let subflow = find(&mut diag, Protocol::Tcp, source)?.context("the subflow")?;
    assert_eq!(subflow.cgroup_id, Some(cgroup.id));
    match diag.destroy(&connection) {
        // So it is up to Linux 6.18.
        Err(SockDiagError::NoDestroy { .. }) => diag.destroy(&subflow)?,
        done => done?,
    }
    for end in [&mut client, &mut server] {
        let ended = outcome(|| end.read(&mut [0]));
        let waits = matches!(&ended, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        ensure!(!waits, "the connection outlives its subflow");
    }
    Ok(())
}

fn mptcp_socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe {
        libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            libc::IPPROTO_MPTCP,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    nix::sys::socket::bind(
        socket.as_raw_fd(),
        &nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, 0),
    )?;
    Ok(socket)
}

#[test]
fn a_namespace_of_a_single_thread_is_found() -> anyhow::Result<()> {
    use std::sync::mpsc::sync_channel;
    let (made, ready) = sync_channel(1);
    let (done, wait) = sync_channel::<()>(1);
    let own = std::process::id();
    let thread = thread::spawn(move || {
        let inode = unshare(CloneFlags::CLONE_NEWNET)
            .map_err(io::Error::from)
            .and_then(|()| NetNs::current())
            .map(|netns| netns.inode());
        let _ = made.send(inode);
        let _ = wait.recv();
    });
    let inode = ready.recv_timeout(DEADLINE)??;
    let found = NetNs::distinct([own])?;
    drop(done);
    let _ = thread.join();
    assert!(found.iter().any(|netns| netns.inode() == inode));
    Ok(())
}
