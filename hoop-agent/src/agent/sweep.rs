//! Live connections judged again: those that the policy in force does not allow are ended, so
//! that the program sees an error and does not hang.
//!
//! The egress hook already stops their packets. This only tells the program.

use std::{net::IpAddr, path::Path, sync::Arc};

use hoop_common::{event::ProcessKey, policy::Mode};

use super::recorder::Notes;
use crate::{
    kernel::{
        netns::NetNs,
        sock_diag::{Family, Protocol, SockDiag, SockDiagError, Socket},
    },
    pipeline::attribute::lifecycle,
    policy::{compile::Compiled, model::protocol_name},
    workload::{cgroup::CgroupRoot, path::CgroupPath, procfs::ProcessSnapshot},
};
use hoop_records::{
    ConnectionInfo, Endpoint, Fact, Kind, NetworkActivity, Record, Result as VerdictResult, Shared,
    Verdict, Workload,
};

/// A workload as a sweep needs it.
#[derive(Clone)]
pub struct Target {
    /// Path of its cgroup.
    pub path: CgroupPath,
    /// Index of its policy in `compiled`.
    pub policy: usize,
    /// The policy's mode. Only `enforce` ends connections.
    pub mode: Mode,
    /// For records.
    pub workload: Shared<Workload>,
}

/// What a sweep judges by.
#[derive(Clone)]
pub struct Rules {
    /// The policies in force.
    pub compiled: Arc<Compiled>,
    /// Their epoch.
    pub epoch: u64,
    /// Names and reasons of rules.
    pub book: Arc<crate::policy::book::RuleBook>,
}

/// Ends the connections of `targets` that are not allowed, and records each. Blocks.
pub fn sweep(cgroups: &CgroupRoot, rules: &Rules, targets: &[Target], notes: &Notes) {
    for target in targets.iter().filter(|target| target.mode == Mode::Enforce) {
        if let Err(error) = sweep_one(cgroups, rules, target, notes) {
            tracing::warn!(%error, cgroup = target.path.as_str(), "live connections not judged");
        }
    }
}

fn sweep_one(
    cgroups: &CgroupRoot,
    rules: &Rules,
    target: &Target,
    notes: &Notes,
) -> anyhow::Result<()> {
    let members = cgroups.subtree_ids(&target.path)?;
    let processes = cgroups.processes(&target.path)?;
    for netns in NetNs::distinct(processes.iter().copied())? {
        let mut diag = SockDiag::open(&netns)?;
        for protocol in Protocol::ALL {
            for family in Family::ALL {
                let sockets = match diag.dump(family, protocol) {
                    Ok(sockets) => sockets,
                    Err(SockDiagError::NoProtocol { .. }) => continue,
                    Err(error) => return Err(error.into()),
                };
                for socket in sockets {
                    if socket.cgroup_id.is_some_and(|id| members.contains(&id)) {
                        let Some(record) = judge(&mut diag, &socket, netns.inode(), rules, target)
                        else {
                            continue;
                        };
                        match owner(&processes, socket.inode) {
                            Some(process) => notes.record_about(record, process),
                            None => notes.record(record),
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// Ends the connection if it is not allowed; returns a record of that.
fn judge(
    diag: &mut SockDiag,
    socket: &Socket,
    netns: u64,
    rules: &Rules,
    target: &Target,
) -> Option<Record> {
    let destination = socket.destination;
    if destination.ip().is_unspecified() {
        return None;
    }
    let address = destination.ip().to_canonical();
    let number = socket.protocol.on_the_wire();
    let ruling = rules
        .compiled
        .judge(target.policy, address, number, destination.port())?;
    if ruling.allow {
        return None;
    }
    match diag.destroy(socket) {
        Ok(()) => {}
        // An MPTCP connection ends with its subflows, which are TCP sockets.
        Err(SockDiagError::NoDestroy { .. }) => return None,
        Err(error) => {
            tracing::warn!(%error, %destination, "a connection could not be ended");
            return None;
        }
    }
    let rule = rules.book.get(ruling.rule);
    let mut record = lifecycle(Kind::Reset, "", String::new(), String::new());
    record.class_uid = 4001;
    // OCSF network activity: Reset.
    record.activity_id = 3;
    record.workload = Some(target.workload.clone());
    record.attribution = "no process of the workload has the socket open".to_owned();
    record.verdict = Some(Verdict {
        result: VerdictResult::Deny.into(),
        rule: rule.map_or_else(String::new, |rule| rule.rule.clone()),
        because: rule.map_or_else(String::new, |rule| rule.because.clone()),
        mode: "enforce".to_owned(),
        hook: "sock_destroy".to_owned(),
        epoch: rules.epoch,
        enforcement: "reset".to_owned(),
    });
    let endpoint = |ip: IpAddr, port: u16| Endpoint {
        ip: ip.to_string(),
        port: Some(port.into()),
    };
    record.fact = Some(Fact::Network(NetworkActivity {
        dst_endpoint: Some(endpoint(address, destination.port())),
        src_endpoint: Some(endpoint(
            socket.source.ip().to_canonical(),
            socket.source.port(),
        )),
        connection_info: Some(ConnectionInfo {
            uid: socket.cookie,
            protocol_num: number.into(),
            protocol_name: protocol_name(number),
            direction: "Outbound".to_owned(),
            netns: netns as u32,
        }),
    }));
    Some(record)
}

/// The process that has the socket with this inode number open.
fn owner(processes: &[u32], inode: u32) -> Option<ProcessKey> {
    let link = format!("socket:[{inode}]");
    let holds = |pid: &u32| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd"));
        fds.is_ok_and(|fds| {
            fds.flatten()
                .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == Path::new(&link)))
        })
    };
    let snapshot = ProcessSnapshot::read(*processes.iter().find(|pid| holds(pid))?)?;
    Some(ProcessKey {
        start_ns: snapshot.start.start_ns(),
        tgid: snapshot.tgid,
        reserved: 0,
    })
}
