//! Where loads run: a lab with a tagged and an untagged cgroup side by side, and servers.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use anyhow::Result;
use hoop_tests::lab::{Lab, Workload};
use nix::errno::Errno;

use crate::load::{Load, here};

/// Accepts connections and closes them.
const DISCARD: u16 = 4001;
/// Reads connections to their end.
const SINK: u16 = 4002;

/// The policy's name, and the tagged cgroup's.
const TAGGED: &str = "tagged";

/// The lab, its cgroups and its servers.
pub struct Field<'lab> {
    pub lab: &'lab Lab,
    pub tagged: Workload<'lab>,
    pub bare: Workload<'lab>,
}

impl<'lab> Field<'lab> {
    /// Lays the field out. The servers end with this program.
    pub fn new(lab: &'lab Lab) -> Result<Self> {
        serve(lab, DISCARD, |_connection| {})?;
        serve(lab, SINK, |mut connection| {
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match connection.read(&mut buffer) {
                    Ok(0) => return,
                    Err(error) if error.kind() != ErrorKind::Interrupted => return,
                    Ok(_) | Err(_) => {}
                }
            }
        })?;
        Ok(Self {
            lab,
            tagged: lab.workload(TAGGED),
            bare: lab.workload("bare"),
        })
    }

    /// Where connections are accepted and closed.
    pub const fn discard() -> std::net::SocketAddrV4 {
        here(DISCARD)
    }

    /// Where connections are read to their end.
    pub const fn sink() -> std::net::SocketAddrV4 {
        here(SINK)
    }

    /// A load that the policy governs.
    pub fn tagged_load(&self) -> Result<Load> {
        Load::start(self.lab.near(), &self.tagged.cgroup)
    }

    /// A load outside every workload.
    pub fn bare_load(&self) -> Result<Load> {
        Load::start(self.lab.near(), &self.bare.cgroup)
    }

    /// A policy of one rule with `cidrs` networks, loopback among them. No two of the others are
    /// neighbours, so that none can be merged. `salt` makes two policies of one length differ.
    pub fn policy(&self, cidrs: u32, salt: u32) -> String {
        let mut spec = String::from(
            "mode: enforce\negress:\n  default: deny\n  allow:\n    - { name: api, cidrs: [127.0.0.0/8",
        );
        for number in 1..cidrs {
            let address = Ipv4Addr::from(0x0a00_0000 + (number << 3 | (salt & 3) << 1));
            let _ = write!(spec, ", {address}/32");
        }
        spec.push_str("] }");
        self.lab.policy(TAGGED, &spec)
    }
}

fn serve(lab: &Lab, port: u16, answer: impl Fn(TcpStream) + Send + 'static) -> Result<()> {
    let listener = lab.near().run(|| TcpListener::bind(here(port)))?;
    // Longer than the 128 that the library asks for: a connect that finds the queue full waits a
    // second.
    // SAFETY: the call takes no pointers.
    Errno::result(unsafe { libc::listen(listener.as_raw_fd(), 4096) })?;
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    Ok(())
}
