//! A TCP or UDP server inside a network namespace.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::namespace::Namespace;
use crate::wait;

/// A server that listens on one port of every address, v4 and v6, and remembers what it was sent.
/// Over TCP it echoes.
#[derive(Debug)]
pub struct Server {
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Option<std::io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// A TCP connection to a server, or the datagrams that one peer sent.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The other end.
    pub peer: SocketAddr,
    /// Which of its addresses the server was reached at; for UDP only the port is known.
    pub local: SocketAddr,
    /// Everything that came, in order.
    pub data: Vec<u8>,
    /// Whether the connection ended, by close or reset.
    pub ended: bool,
}

impl Server {
    /// Listens for connections on `port`, or on a free one if it is 0.
    ///
    /// # Panics
    ///
    /// When the port is taken.
    #[must_use]
    pub fn tcp(namespace: &Namespace, port: u16) -> Self {
        let listener = namespace
            .run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))
            .expect("listen");
        listener.set_nonblocking(true).expect("non-blocking");
        Self::start(move |stop, heard| serve_tcp(&listener, &stop, &heard))
    }

    /// Receives datagrams on `port`.
    ///
    /// # Panics
    ///
    /// When the port is taken.
    #[must_use]
    pub fn udp(namespace: &Namespace, port: u16) -> Self {
        let socket = namespace
            .run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)))
            .expect("bind");
        socket.set_nonblocking(true).expect("non-blocking");
        Self::start(move |stop, heard| serve_udp(&socket, &stop, &heard))
    }

    /// What came so far, a copy.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.heard).clone()
    }

    /// Waits until some peer has sent `text`.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub fn wait_for(&self, text: &str) -> Heard {
        wait::until(&format!("{text:?} at a server"), || {
            self.heard()
                .into_iter()
                .find(|heard| contains(&heard.data, text))
        })
    }

    /// Whether some peer has sent `text`.
    #[must_use]
    pub fn heard_of(&self, text: &str) -> bool {
        self.heard().iter().any(|heard| contains(&heard.data, text))
    }

    fn start(
        serve: impl FnOnce(std::io::PipeReader, Arc<Mutex<Vec<Heard>>>) + Send + 'static,
    ) -> Self {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        Self {
            heard,
            stop: Some(writer),
            thread: Some(std::thread::spawn(|| serve(reader, log))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread sees the pipe hang up.
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve_tcp(listener: &TcpListener, stop: &std::io::PipeReader, heard: &Mutex<Vec<Heard>>) {
    let mut connections: Vec<(TcpStream, usize)> = Vec::new();
    loop {
        let mut polled = vec![
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        polled.extend(
            connections
                .iter()
                .map(|(stream, _)| PollFd::new(stream.as_fd(), PollFlags::POLLIN)),
        );
        if !wait_ready(&mut polled) {
            return;
        }
        drop(polled);
        while let Ok((stream, peer)) = listener.accept() {
            let local = stream.local_addr().unwrap_or(peer);
            if stream.set_nonblocking(true).is_ok() {
                let mut heard = lock(heard);
                heard.push(Heard::new(peer, local));
                connections.push((stream, heard.len() - 1));
            }
        }
        connections.retain_mut(|(stream, index)| {
            let mut buffer = [0; 65536];
            loop {
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => {
                        lock(heard)[*index].data.extend(&buffer[..count]);
                        let _ = stream.write_all(&buffer[..count]);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => {
                        lock(heard)[*index].ended = true;
                        return false;
                    }
                }
            }
        });
    }
}

fn serve_udp(socket: &UdpSocket, stop: &std::io::PipeReader, heard: &Mutex<Vec<Heard>>) {
    let local = socket.local_addr().expect("a bound socket has an address");
    let mut peers: HashMap<SocketAddr, usize> = HashMap::new();
    let mut buffer = vec![0; 65536];
    loop {
        let mut polled = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
        ];
        if !wait_ready(&mut polled) {
            return;
        }
        while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
            let mut heard = lock(heard);
            let index = *peers.entry(peer).or_insert_with(|| {
                heard.push(Heard::new(peer, local));
                heard.len() - 1
            });
            heard[index].data.extend(&buffer[..count]);
        }
    }
}

/// Waits until one of the descriptors is ready. `false` if it is the first, which says stop.
fn wait_ready(polled: &mut [PollFd<'_>]) -> bool {
    while let Err(error) = poll(polled, PollTimeout::NONE) {
        assert_eq!(error, nix::errno::Errno::EINTR, "poll");
    }
    polled[0].revents().is_none_or(|events| events.is_empty())
}

impl Heard {
    fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        // The sockets are dual-stack; v4 peers show as mapped addresses.
        let plain =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self {
            peer: plain(peer),
            local: plain(local),
            data: Vec::new(),
            ended: false,
        }
    }
}

fn contains(data: &[u8], text: &str) -> bool {
    data.windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
