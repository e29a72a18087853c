//! Nothing outside a workload is judged, delayed or recorded.

use std::net::SocketAddr;

use hoop_tests::attempt::Attempt;
use hoop_tests::bpf::{self, Program};
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Route, Step};
use hoop_tests::{cgroup, daemon::Daemon};

const CONFINED: &str = "mode: enforce\negress: { default: deny }";

#[test]
fn no_program_runs_while_untagged_processes_connect() {
    let lab = Lab::new();
    let (workload, neighbour) = (lab.workload("agent"), lab.workload("neighbour"));
    let _daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let _counting = bpf::count_runs();
    let programs = judges(&lab);
    assert!(programs.len() >= 6, "{programs:?}");
    let runs = || programs.iter().map(Program::runs).sum::<u64>();

    let before = runs();
    for prober in [&mut lab.outsider(), &mut neighbour.probe()] {
        for to in ["203.0.113.10:443", "[2001:db8:a000::10]:443"] {
            let to: SocketAddr = to.parse().expect("an address and a port");
            let routes = [
                Route::TCP,
                Route::UDP,
                Route::RAW,
                Route::ICMP,
                &[Route::Frame],
            ];
            for route in routes.concat() {
                if route.leads_to(to.ip()) {
                    Attempt::by(route, to).succeeds(&lab, prober);
                }
            }
        }
    }
    assert_eq!(runs() - before, 0);

    // The same count does move for a workload.
    let denied = Attempt::by(
        Route::UdpSendto,
        "203.0.113.10:443".parse().expect("an address"),
    );
    denied.is_denied(&lab, &mut workload.probe());
    assert!(runs() > before);
}

#[test]
fn nothing_is_attached_outside_workloads() {
    let lab = Lab::new();
    let (workload, neighbour) = (lab.workload("agent"), lab.workload("neighbour"));
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let nested = workload.cgroup.child("nested");
    let ours: Vec<u32> = judges(&lab).iter().map(|program| program.id).collect();
    let attached = |directory: &std::path::Path| {
        let mut ids = bpf::attached(directory);
        ids.retain(|id| ours.contains(id));
        ids
    };
    assert!(attached(workload.cgroup.directory()).len() >= 6);
    let root = cgroup::mount().expect("cgroup v2");
    for outside in [
        root.as_path(),
        lab.root.directory(),
        neighbour.cgroup.directory(),
    ] {
        assert_eq!(attached(outside), [0_u32; 0], "{}", outside.display());
    }
    assert_eq!(
        attached(nested.directory()),
        [0_u32; 0],
        "a workload's programs are inherited"
    );

    daemon.tag(&neighbour, "agent");
    assert!(attached(neighbour.cgroup.directory()).len() >= 6);
    daemon.untag(&neighbour);
    assert_eq!(attached(neighbour.cgroup.directory()), [0_u32; 0]);
}

#[test]
fn the_root_cgroup_is_never_tagged() {
    let lab = Lab::new();
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    for path in ["/", "", ".", "/.", "//", "/../"] {
        let refused = hoop_tests::daemon::run(
            daemon
                .cli()
                .args(["workload", "tag", "--policy", "agent", path]),
        );
        assert!(!refused.status.success(), "{path:?}");
    }
    let root = cgroup::mount().expect("cgroup v2");
    let ours: Vec<u32> = judges(&lab).iter().map(|program| program.id).collect();
    assert!(bpf::attached(&root).iter().all(|id| !ours.contains(id)));
}

#[test]
fn nothing_is_recorded_of_untagged_processes() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let mut outsider = lab.outsider();
    outsider.run("/bin/true", &[]).expect("run");
    outsider.act(&Act::Spawn { count: 20 }).expect("spawn");
    let to = "203.0.113.10:9".parse().expect("an address");
    Attempt::by(Route::UdpSendto, to).succeeds(&lab, &mut outsider);
    let elsewhere = Step::MoveTo(lab.root.directory().join("elsewhere"));
    Attempt::by(Route::UdpSendto, to)
        .after(&[elsewhere])
        .succeeds(&lab, &mut outsider);

    // What a workload does is the fence.
    let agent = workload.probe();
    daemon.wait_for("the agent's start", |record| record.pid() == agent.pid());
    let own = ["agent", "policy", "workload"];
    for record in daemon.settled() {
        let is_own = own.contains(&record.text("kind"));
        assert!(
            is_own || record.text("workload.cgroup") == workload.cgroup.path(),
            "{record:?}"
        );
        assert_ne!(record.pid(), outsider.pid(), "{record:?}");
    }
}

#[test]
fn uninstall_leaves_nothing() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon: Daemon<'_> = lab.daemon(&lab.policy("agent", CONFINED));
    let mut agent = workload.probe();
    let attempt = || {
        Attempt::by(
            Route::UdpSendto,
            "203.0.113.10:443".parse().expect("an address"),
        )
    };
    attempt().is_denied(&lab, &mut agent);
    assert!(daemon.stop().success());
    attempt().is_denied(&lab, &mut agent);
    hoop_tests::daemon::uninstall(&lab).expect("uninstall");
    assert_eq!(bpf::attached(workload.cgroup.directory()), [0_u32; 0]);
    attempt().succeeds(&lab, &mut agent);
}

/// The daemon's programs that judge: those for cgroups. Those for processes see every fork.
fn judges(lab: &Lab) -> Vec<Program> {
    let mut programs = bpf::pinned(&lab.pins());
    programs.retain(Program::is_for_cgroups);
    programs
}
