//! The daemon keeps nothing that it does not need, and shows nobody what it has (bypass 26).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use hoop_tests::daemon::Daemon;
use hoop_tests::lab::Lab;

const POLICY: &str = "mode: enforce\negress: { default: allow }";

/// `dac_override`, `dac_read_search`, `kill`, `net_admin`, `sys_ptrace`, `sys_admin` and `bpf`, by their numbers.
const KEPT: u64 = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 12 | 1 << 19 | 1 << 21 | 1 << 39;

#[test]
fn every_thread_of_the_daemon_is_confined() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", POLICY));
    let _agent = workload.probe();
    // A change of policy has sockets swept, on another thread.
    daemon.change_policy(&lab.policy("agent", "mode: enforce"));
    let statuses = thread_statuses(&daemon);
    assert!(statuses.len() > 1, "the recorder is a thread");
    for status in statuses {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in {status}")).trim()
        };
        // What compresses, and what gives records to others, needs none.
        let bare = ["log-sealer", "stream"].contains(&field("Name:"));
        for set in ["CapEff:", "CapPrm:"] {
            let set = u64::from_str_radix(field(set), 16).expect("a set of capabilities");
            // So do threads that the latter starts, which have no name of their own.
            let expected = if bare || set == 0 { 0 } else { KEPT };
            assert_eq!(set, expected, "{set:#x} in {status}");
        }
        for empty in ["CapInh:", "CapAmb:"] {
            assert_eq!(field(empty).trim_start_matches('0'), "", "{empty} {status}");
        }
        assert_eq!(field("NoNewPrivs:"), "1", "{status}");
        assert_eq!(field("Seccomp:"), "2", "a filter, in {status}");
    }
}

#[test]
fn a_crash_leaves_no_core() {
    let lab = Lab::new();
    let mut daemon = lab.daemon(&lab.policy("agent", POLICY));
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let core: Vec<_> = core.expect("a limit of cores").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{core:?}");
    let status = daemon.crash();
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    assert!(!status.core_dumped());
}

#[test]
fn only_root_reads_what_the_daemon_keeps() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", POLICY));
    let mut agent = workload.probe();
    agent.run("/bin/true", &[]).expect("something to record");
    let records = daemon.settled();
    assert!(!records.is_empty());
    let mut seen = 0;
    for path in below(&daemon.state()) {
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.permissions().mode() & 0o7777;
        assert_eq!(mode, expected, "{mode:o} of {}", path.display());
        assert_eq!(metadata.uid(), 0, "{}", path.display());
        seen += 1;
    }
    assert!(seen > 4, "records, the registry, positions and the lock");
}

/// `status` of each thread. One that ends meanwhile, as those of the sweep do, has none.
fn thread_statuses(daemon: &Daemon<'_>) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("threads");
    tasks
        .filter_map(|task| {
            let status = task.expect("readable").path().join("status");
            match fs::read_to_string(status) {
                Err(error)
                    if [Some(libc::ENOENT), Some(libc::ESRCH)].contains(&error.raw_os_error()) =>
                {
                    None
                }
                status => Some(status.expect("a thread's status")),
            }
        })
        .collect()
}

/// A directory and all below it.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
