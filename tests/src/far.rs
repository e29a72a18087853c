//! The far side of the lab judges by what arrives.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::lab::{FAR_V4, FAR_V6};
use crate::namespace::Namespace;
use crate::packet::Packet;
use crate::server::Server;
use crate::wait;

/// The other end of the wire: owns every documentation address that is not the near side's, and
/// writes down each packet that arrives.
#[derive(Debug)]
pub struct Far {
    near: Arc<Namespace>,
    namespace: Namespace,
    log: Arc<Log>,
    stop: Option<std::io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
    fences: AtomicU64,
}

#[derive(Debug, Default)]
struct Log {
    packets: Mutex<Vec<Packet>>,
    grown: Condvar,
}

/// Discard (RFC 863): where fences are sent.
const FENCE_PORT: u16 = 9;

impl Far {
    /// Starts to write down what arrives at `interface` of `namespace`.
    ///
    /// # Errors
    ///
    /// When the capture cannot be opened.
    pub fn watch(near: Arc<Namespace>, namespace: Namespace, interface: &str) -> Result<Self> {
        let socket = namespace.run(|| open_capture(interface))?;
        let (reader, writer) = std::io::pipe()?;
        let log = Arc::new(Log::default());
        let kept = Arc::clone(&log);
        Ok(Self {
            near,
            namespace,
            log,
            stop: Some(writer),
            thread: Some(std::thread::spawn(move || capture(&socket, &reader, &kept))),
            fences: AtomicU64::new(0),
        })
    }

    /// An echo server on `port` of every far address.
    #[must_use]
    pub fn listen_tcp(&self, port: u16) -> Server {
        Server::tcp(&self.namespace, port)
    }

    /// A server that swallows datagrams on `port` of every far address.
    #[must_use]
    pub fn listen_udp(&self, port: u16) -> Server {
        Server::udp(&self.namespace, port)
    }

    /// Everything that was sent before this call and arrived, in order.
    ///
    /// Packets wait in one queue for each CPU that sends. A marker is sent from every CPU; once all
    /// of them are here, whatever is not here was never sent.
    ///
    /// # Panics
    ///
    /// When a marker gets lost.
    #[must_use]
    pub fn arrived(&self) -> Vec<Packet> {
        let fence = self.fences.fetch_add(1, Ordering::Relaxed);
        let marker = |cpu: usize| format!("fence {fence} of cpu {cpu}.");
        let cpus = self.near.run(|| send_from_each_cpu(&marker));
        let mut packets = self
            .log
            .packets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for cpu in cpus {
            let marker = marker(cpu);
            let (guard, waited) = self
                .log
                .grown
                .wait_timeout_while(packets, wait::patience(), |packets| {
                    !packets.iter().rev().any(|packet| packet.carries(&marker))
                })
                .unwrap_or_else(PoisonError::into_inner);
            assert!(!waited.timed_out(), "the {marker} did not arrive");
            packets = guard;
        }
        let is_fence = |packet: &Packet| packet.destination_port == FENCE_PORT;
        packets
            .iter()
            .filter(|packet| !is_fence(packet))
            .cloned()
            .collect()
    }

    /// Whether a packet like this arrived among all that was sent before this call.
    #[must_use]
    pub fn saw(&self, like: impl Fn(&Packet) -> bool) -> bool {
        self.arrived().iter().any(like)
    }

    /// Waits until a packet like this has arrived.
    ///
    /// # Panics
    ///
    /// When none does.
    pub fn wait_for(&self, what: &str, like: impl Fn(&Packet) -> bool) {
        let packets = self
            .log
            .packets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (packets, waited) = self
            .log
            .grown
            .wait_timeout_while(packets, wait::patience(), |packets| {
                !packets.iter().any(&like)
            })
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.timed_out(),
            "{what} did not arrive; these did: {packets:#?}"
        );
    }

    /// Waits until both address families get through, which v6 does only a moment after the
    /// interface is up.
    ///
    /// # Panics
    ///
    /// When one does not.
    pub fn wait_until_reachable(&self) {
        for address in [IpAddr::V4(FAR_V4), IpAddr::V6(FAR_V6)] {
            wait::until(&format!("a way to {address}"), || {
                let sent = self.near.run(|| {
                    let any: IpAddr = if address.is_ipv4() {
                        [0; 4].into()
                    } else {
                        [0; 16].into()
                    };
                    UdpSocket::bind((any, 0))?.send_to(b"hello", (address, FENCE_PORT))
                });
                sent.ok()?;
                let packets = self
                    .log
                    .packets
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let (_packets, waited) = self
                    .log
                    .grown
                    .wait_timeout_while(packets, Duration::from_millis(50), |packets| {
                        !packets.iter().any(|packet| packet.destination == address)
                    })
                    .unwrap_or_else(PoisonError::into_inner);
                (!waited.timed_out()).then_some(())
            });
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Sends a marker from each CPU this process may run on; returns those.
fn send_from_each_cpu(marker: &dyn Fn(usize) -> String) -> Vec<usize> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).expect("sched_getaffinity");
    let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
    let mut cpus = Vec::new();
    for cpu in (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)) {
        let mut only = CpuSet::new();
        only.set(cpu).expect("a CPU below the set's size");
        // Runs on a thread of its own, so nothing has to be undone.
        sched_setaffinity(this, &only).expect("sched_setaffinity");
        let marker = marker(cpu);
        let interrupted = std::io::ErrorKind::Interrupted;
        while let Err(error) = socket.send_to(marker.as_bytes(), (FAR_V4, FENCE_PORT)) {
            assert_eq!(error.kind(), interrupted, "send a marker: {error}");
        }
        cpus.push(cpu);
    }
    cpus
}

fn open_capture(interface: &str) -> Result<OwnedFd> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: socket has no memory to get wrong.
    let fd = Errno::result(unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            i32::from(protocol),
        )
    })
    .context("a packet socket")?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let bytes: libc::c_int = 16 << 20;
    // SAFETY: the option's value is a c_int of the length given.
    Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as u32,
        )
    })
    .context("a larger receive buffer")?;
    // SAFETY: all zero is a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = nix::net::if_::if_nametoindex(interface)?.cast_signed();
    // SAFETY: the address is a sockaddr_ll of the length given.
    Errno::result(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    })
    .context("bind to the interface")?;
    Ok(socket)
}

fn capture(socket: &OwnedFd, stop: &std::io::PipeReader, log: &Log) {
    let mut frame = vec![0_u8; 1 << 17];
    loop {
        let mut polled = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(error) => panic!("poll: {error}"),
            Ok(_) => {}
        }
        if polled[0].revents().is_some_and(|events| !events.is_empty()) {
            return;
        }
        loop {
            // SAFETY: all zero is a valid address.
            let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            let mut size = size_of_val(&from) as u32;
            // SAFETY: both buffers are as long as the call is told.
            let count = unsafe {
                libc::recvfrom(
                    socket.as_raw_fd(),
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw mut from).cast(),
                    &raw mut size,
                )
            };
            let Ok(count) = usize::try_from(count) else {
                match Errno::last() {
                    Errno::EINTR => continue,
                    Errno::EAGAIN => break,
                    error => panic!("recvfrom: {error}"),
                }
            };
            if from.sll_pkttype == libc::PACKET_OUTGOING {
                continue;
            }
            if let Some(packet) = Packet::from_frame(&frame[..count]) {
                log.packets
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(packet);
                log.grown.notify_all();
            }
        }
    }
}
