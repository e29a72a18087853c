//! The lab: where workloads run, what they can reach, and what is removed afterwards.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::cgroup::Cgroup;
use crate::daemon::{self, Daemon};
use crate::far::Far;
use crate::namespace::Namespace;
use crate::prober::Prober;
use crate::server::Server;

/// The near side's IPv4 address, in a /24.
pub const NEAR_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The far side's own IPv4 address. It answers for 198.51.100.0/24 and 203.0.113.0/24 as well.
pub const FAR_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The near side's IPv6 address, in a /64.
pub const NEAR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The far side's own IPv6 address. It answers for `2001:db8:8000::/33` as well.
pub const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
/// The far side's link-local address.
pub const FAR_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// The far side's hardware address.
pub const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The near side's hardware address.
pub const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The near side's interface.
pub const NEAR_INTERFACE: &str = "near0";
const FAR_INTERFACE: &str = "far0";

/// Two hosts joined by a wire, a cgroup subtree, a BPF file system and a directory for state: all
/// the lab's own, all removed when it is dropped.
#[derive(Debug)]
pub struct Lab {
    /// What arrives at the other end of the wire.
    pub far: Far,
    /// The cgroup that every workload of the lab is below.
    pub root: Cgroup,
    near: Arc<Namespace>,
    // Unmounted before the directory that it is in is removed.
    bpffs: BpfMount,
    directory: TempDir,
}

/// A cgroup for one agent.
#[derive(Debug)]
pub struct Workload<'lab> {
    /// Its cgroup.
    pub cgroup: Cgroup,
    lab: &'lab Lab,
}

#[derive(Debug)]
struct BpfMount(PathBuf);

impl Lab {
    /// Builds a lab.
    ///
    /// # Panics
    ///
    /// When it cannot be built, which needs root.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a lab is no plain value")]
    pub fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "kernel tests need root: cargo xtask test"
        );
        Self::build().unwrap_or_else(|error| panic!("no lab: {error:#}"))
    }

    /// Makes the cgroup `name` for an agent. Nothing governs it until the daemon tags it.
    ///
    /// # Panics
    ///
    /// When there is one of that name.
    #[must_use]
    pub fn workload(&self, name: &str) -> Workload<'_> {
        Workload {
            cgroup: self.root.child(name),
            lab: self,
        }
    }

    /// Starts a prober on the near side, outside every workload.
    #[must_use]
    pub fn outsider(&self) -> Prober {
        Prober::start(&self.near, None)
    }

    /// Starts the daemon on the policies in `policy`, and waits until it enforces them.
    #[must_use]
    pub fn daemon(&self, policy: &str) -> Daemon<'_> {
        Daemon::start(self, policy)
    }

    /// An echo server on `port` of every near address, loopback included.
    #[must_use]
    pub fn listen_tcp_here(&self, port: u16) -> Server {
        Server::tcp(&self.near, port)
    }

    /// A server for datagrams on `port` of every near address, loopback included.
    #[must_use]
    pub fn listen_udp_here(&self, port: u16) -> Server {
        Server::udp(&self.near, port)
    }

    /// The network that workloads are in.
    #[must_use]
    pub fn near(&self) -> &Namespace {
        &self.near
    }

    /// A directory for the test's files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the daemon pins, inside the lab's own BPF file system.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs.0.join("hoop")
    }

    /// A policy for the workload `name` of this lab. `spec` is YAML: what goes below `spec:`, without
    /// `workloads`.
    #[must_use]
    pub fn policy(&self, name: &str, spec: &str) -> String {
        policy(name, &format!("{}/{name}", self.root.path()), spec)
    }

    fn build() -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("hoop-test-{}-{number}", std::process::id());

        let directory = TempDir::with_prefix(format!("{name}-"))?;
        let bpffs = BpfMount::new(directory.path().join("bpf"))?;
        let root = Cgroup::create(&format!("/{name}"))?;
        let near = Arc::new(Namespace::new()?);
        let far = Namespace::new()?;
        join(&near, &far)?;
        let far = Far::watch(Arc::clone(&near), far, FAR_INTERFACE)?;
        far.wait_until_reachable();
        Ok(Self {
            far,
            root,
            near,
            bpffs,
            directory,
        })
    }
}

impl Workload<'_> {
    /// Starts a prober inside: it is in the cgroup before its first instruction.
    #[must_use]
    pub fn probe(&self) -> Prober {
        Prober::start(&self.lab.near, Some(&self.cgroup))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.root.kill();
        if let Err(error) = daemon::uninstall(self) {
            eprintln!("uninstall failed: {error:#}");
        }
    }
}

impl BpfMount {
    fn new(directory: PathBuf) -> Result<Self> {
        fs::create_dir(&directory)?;
        mount(
            Some("bpf"),
            &directory,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("mount a BPF file system")?;
        Ok(Self(directory))
    }
}

impl Drop for BpfMount {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}

/// A policy document for one glob of cgroups. `spec` is YAML, what goes below `spec:`.
#[must_use]
pub fn policy(name: &str, cgroups: &str, spec: &str) -> String {
    let spec = spec.trim_end().replace('\n', "\n  ");
    format!(
        "apiVersion: hoop.dev/v1alpha1
kind: WorkloadPolicy
metadata: {{ name: {name} }}
spec:
  identity: spiffe://example.org/agents/{name}
  onBehalfOf: user:alice@example.org
  workloads: [{{ cgroup: \"{cgroups}\" }}]
  {spec}
"
    )
}

/// Lays the wire. Neighbours are fixed, so no packet ever waits for address resolution.
fn join(near: &Namespace, far: &Namespace) -> Result<()> {
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let (near_mac, far_mac) = (mac(NEAR_MAC), mac(FAR_MAC));
    near.ip(&format!(
        "link set lo up
link add {NEAR_INTERFACE} address {near_mac} type veth peer name {FAR_INTERFACE} \
address {far_mac} netns {peer}
link set {NEAR_INTERFACE} addrgenmode none
addr add {NEAR_V4}/24 broadcast + dev {NEAR_INTERFACE}
addr add {NEAR_V6}/64 dev {NEAR_INTERFACE} nodad
addr add fe80::1/64 dev {NEAR_INTERFACE} nodad
",
        peer = far.path()
    ))?;
    far.ip(&format!(
        "link set lo up
link set {FAR_INTERFACE} addrgenmode none
addr add {FAR_V4}/24 broadcast + dev {FAR_INTERFACE}
addr add {FAR_V6}/64 dev {FAR_INTERFACE} nodad
addr add {FAR_LINK_LOCAL}/64 dev {FAR_INTERFACE} nodad
link set {FAR_INTERFACE} up
route add local 198.51.100.0/24 dev lo
route add local 203.0.113.0/24 dev lo
route add local 2001:db8:8000::/33 dev lo
neigh replace {NEAR_V4} lladdr {near_mac} dev {FAR_INTERFACE} nud permanent
neigh replace {NEAR_V6} lladdr {near_mac} dev {FAR_INTERFACE} nud permanent
neigh replace fe80::1 lladdr {near_mac} dev {FAR_INTERFACE} nud permanent
"
    ))?;
    near.ip(&format!(
        "link set {NEAR_INTERFACE} up
neigh replace {FAR_V4} lladdr {far_mac} dev {NEAR_INTERFACE} nud permanent
neigh replace {FAR_V6} lladdr {far_mac} dev {NEAR_INTERFACE} nud permanent
neigh replace {FAR_LINK_LOCAL} lladdr {far_mac} dev {NEAR_INTERFACE} nud permanent
route add default via {FAR_V4}
route add default via {FAR_V6}
"
    ))?;
    // Ping sockets are for root as well.
    near.run(|| fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0"))
        .context("net.ipv4.ping_group_range")
}
