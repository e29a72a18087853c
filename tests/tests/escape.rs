//! A process that leaves its workload stays the workload's, is on record, and is ended where the
//! policy enforces (bypass 9).

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use hoop_tests::attempt::Attempt;
use hoop_tests::cgroup::Cgroup;
use hoop_tests::daemon::{Daemon, Record};
use hoop_tests::lab::{Lab, Workload};
use hoop_tests::probe::{Act, Failure, Route, Step};
use hoop_tests::prober::Prober;
use hoop_tests::wait;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const CONFINED: &str = "
mode: enforce
egress:
  default: deny
  allow:
    - { name: api, cidrs: [203.0.113.0/24], ports: [443] }
";

const ALLOWED: &str = "203.0.113.10:443";
const DENIED: &str = "198.51.100.66:443";

/// How often a race is tried.
const ROUNDS: u32 = 30;

#[test]
fn who_moves_out_is_ended_before_it_acts() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let elsewhere = lab.root.child("elsewhere");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let out = || Step::MoveTo(elsewhere.directory().to_owned());
    for steps in [
        vec![out()],
        vec![Step::Orphan, Step::Setsid, out()],
        vec![Step::NewCgroup, out()],
        vec![Step::NewUser, Step::NewCgroup, out()],
        vec![out(), Step::Orphan],
        vec![out(), Step::Exec],
    ] {
        for to in [ALLOWED, DENIED] {
            let attempt = Attempt::by(Route::UdpSendto, at(to)).after(&steps);
            let outcome = attempt.stays(&lab, &mut agent);
            assert_eq!(outcome, Err(killed()), "{steps:?}");
        }
    }
    // The agent itself stayed where it belongs.
    Attempt::by(Route::UdpSendto, at(ALLOWED)).succeeds(&lab, &mut agent);
    let escape = escape_of(&daemon, |record| record.pid() != agent.pid());
    assert_is_denied(&escape, &workload, &elsewhere, "cgroup_move");
    assert!(escape.at("process.moved_by").is_null(), "{escape:?}");
    let exit = daemon.wait_for("its end", |record| {
        record.is("exit") && record.pid() == escape.pid()
    });
    assert_eq!(exit.number("process.signal"), 9);
}

#[test]
fn who_moves_another_out_is_ended_with_it() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let elsewhere = lab.root.child("elsewhere");
    let daemon = lab.daemon(&lab.policy("agent", "mode: shadow"));
    let move_out = |prober: &Prober| Act::Write {
        path: procs(&elsewhere),
        text: prober.pid().to_string(),
    };
    let (mut mover, moved) = (workload.probe(), workload.probe());
    mover.act(&move_out(&moved)).expect("shadow lets it happen");
    assert_lives(moved);

    daemon.change_policy(&lab.policy("agent", CONFINED));
    let mut moved = workload.probe();
    mover.order(&move_out(&moved));
    assert_eq!(moved.ended().signal(), Some(libc::SIGKILL));
    assert_eq!(mover.ended().signal(), Some(libc::SIGKILL));
    let escape = escape_of(&daemon, |record| record.pid() == moved.pid());
    assert_is_denied(&escape, &workload, &elsewhere, "cgroup_move");
    let by = escape.number("process.moved_by.pid");
    assert_eq!(by, u64::from(mover.pid()), "{escape:?}");
}

#[test]
fn who_is_moved_out_by_somebody_outside_is_ended_at_once() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let elsewhere = lab.root.child("elsewhere");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _server = lab.far.listen_udp(443);
    for round in 0..ROUNDS {
        let mut agent = workload.probe();
        let text = format!("fleeing, round {round}.");
        let sign = lab.directory().join(format!("sign.{round}"));
        agent.order(&Act::Flee {
            sign: sign.clone(),
            to: at(DENIED),
            text: text.clone(),
        });
        wait::until("the agent to wait", || sign.exists().then_some(()));
        elsewhere.adopt(agent.pid());
        assert_eq!(agent.ended().signal(), Some(libc::SIGKILL));
        let packets = lab.far.arrived();
        let leaks = packets.iter().filter(|packet| packet.carries(&text));
        assert_eq!(leaks.count(), 0, "packets in round {round}");
        let escape = escape_of(&daemon, |record| record.pid() == agent.pid());
        assert_is_denied(&escape, &workload, &elsewhere, "cgroup_move");
        let by = escape.number("process.moved_by.pid");
        assert_eq!(by, u64::from(std::process::id()), "{escape:?}");
    }
}

#[test]
fn a_child_that_starts_outside_is_ended_with_its_parent() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let elsewhere = lab.root.child("elsewhere");
    let inside = workload.cgroup.child("inside");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    let born = |cgroup: &Cgroup| [Step::BornIn(cgroup.directory().to_owned())];
    let attempt = |to: &str| Attempt::by(Route::UdpSendto, at(to));
    attempt(ALLOWED)
        .after(&born(&inside))
        .succeeds(&lab, &mut agent);
    attempt(DENIED)
        .after(&born(&inside))
        .is_denied(&lab, &mut agent);
    for _ in 0..ROUNDS {
        let outcome = attempt(DENIED)
            .after(&born(&elsewhere))
            .stays(&lab, &mut agent);
        assert_eq!(outcome, Err(killed()));
    }
    let escape = escape_of(&daemon, |_| true);
    assert_is_denied(&escape, &workload, &elsewhere, "fork");
    let parent = escape.number("actor.process.parent_process.pid");
    assert_eq!(parent, escape.number("process.moved_by.pid"), "{escape:?}");
}

#[test]
fn a_thread_that_moves_out_ends_its_process() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let elsewhere = lab.root.child("elsewhere");
    for cgroup in [&workload.cgroup, &elsewhere] {
        fs::write(cgroup.directory().join("cgroup.type"), "threaded").expect("a threaded cgroup");
    }
    let daemon = lab.daemon(&lab.policy("agent", "mode: shadow"));
    let mut agent = workload.probe();
    let out = [Step::MoveThreadTo(elsewhere.directory().to_owned())];
    let attempt = || Attempt::by(Route::UdpSendto, at(DENIED)).after(&out);
    attempt().succeeds(&lab, &mut agent);
    daemon.change_policy(&lab.policy("agent", CONFINED));
    assert_eq!(attempt().stays(&lab, &mut agent), Err(killed()));
    let escape = escape_of(&daemon, |record| record.verdict() == "deny");
    assert_is_denied(&escape, &workload, &elsewhere, "cgroup_move");
}

#[test]
fn another_workload_is_outside_too() {
    let lab = Lab::new();
    let (first, second) = (lab.workload("first"), lab.workload("second"));
    let open = "mode: enforce\negress: { default: allow }";
    let policies =
        |of_first: &str| [lab.policy("first", of_first), lab.policy("second", open)].join("---\n");
    let daemon = lab.daemon(&policies("mode: shadow"));
    let mut agent = first.probe();
    let steps = [Step::MoveTo(second.cgroup.directory().to_owned())];
    let attempt = || Attempt::by(Route::UdpSendto, at(DENIED)).after(&steps);
    attempt().succeeds(&lab, &mut agent);
    daemon.change_policy(&policies(CONFINED));
    assert_eq!(attempt().stays(&lab, &mut agent), Err(killed()));
    let escape = escape_of(&daemon, |record| record.verdict() == "deny");
    assert_is_denied(&escape, &first, &second.cgroup, "cgroup_move");
}

#[test]
fn observe_and_shadow_only_record() {
    for (mode, verdict, rule) in [
        ("observe", "allow", "observe"),
        ("shadow", "shadow", "builtin/escape"),
    ] {
        let lab = Lab::new();
        let workload = lab.workload("agent");
        let elsewhere = lab.root.child("elsewhere");
        let daemon = lab.daemon(&lab.policy("agent", &format!("mode: {mode}")));
        let _server = lab.far.listen_udp(443);
        let mut agent = workload.probe();
        for steps in [
            vec![Step::MoveTo(elsewhere.directory().to_owned())],
            vec![
                Step::MoveTo(elsewhere.directory().to_owned()),
                Step::Orphan,
                Step::Exec,
            ],
            vec![Step::BornIn(elsewhere.directory().to_owned())],
        ] {
            let attempt = Attempt::by(Route::UdpSendto, at(DENIED)).after(&steps);
            attempt.succeeds(&lab, &mut agent);
        }
        let records = daemon.settled();
        let escapes = records.iter().filter(|record| is_escape(record));
        let verdicts = escapes.map(|record| {
            assert_eq!(record.text("process.cgroup"), elsewhere.path());
            (record.verdict(), record.text("verdict.rule"))
        });
        // Children of who is outside are no news.
        assert_eq!(verdicts.collect::<Vec<_>>(), [(verdict, rule); 3], "{mode}");
    }
}

#[test]
fn a_policy_that_enforces_ends_those_who_left_before() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let elsewhere = lab.root.child("elsewhere");
    let daemon = lab.daemon(&lab.policy("agent", "mode: shadow"));
    let mut agent = workload.probe();
    let stays = workload.probe();
    elsewhere.adopt(agent.pid());
    escape_of(&daemon, |record| record.verdict() == "shadow");
    daemon.change_policy(&lab.policy("agent", CONFINED));
    assert_eq!(agent.ended().signal(), Some(libc::SIGKILL));
    assert_lives(stays);
}

#[test]
fn an_untagged_workload_is_left_in_peace() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let elsewhere = lab.root.child("elsewhere");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let agent = workload.probe();
    daemon.untag(&workload);
    elsewhere.adopt(agent.pid());
    assert_lives(agent);

    daemon.change_policy(&lab.policy("agent", "mode: shadow"));
    daemon.change_policy(&lab.policy("agent", CONFINED));
    let agent = workload.probe();
    daemon.change_policy(&lab.policy("other", CONFINED));
    elsewhere.adopt(agent.pid());
    assert_lives(agent);
    let records = daemon.settled();
    assert!(!records.iter().any(is_escape), "nobody left a workload");
}

#[test]
fn a_dead_daemon_does_not_let_anybody_out() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let elsewhere = lab.root.child("elsewhere");
    let mut daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let _server = lab.far.listen_udp(443);
    let mut agent = workload.probe();
    daemon.kill();
    for step in [
        Step::MoveTo(elsewhere.directory().to_owned()),
        Step::BornIn(elsewhere.directory().to_owned()),
    ] {
        let attempt = Attempt::by(Route::UdpSendto, at(DENIED)).after(&[step]);
        assert_eq!(attempt.stays(&lab, &mut agent), Err(killed()));
    }
    let daemon = Daemon::start_again(&lab);
    let escape = escape_of(&daemon, |_| true);
    assert_is_denied(&escape, &workload, &elsewhere, "cgroup_move");
}

#[test]
fn a_move_in_another_hierarchy_is_no_escape() {
    let lab = Lab::new();
    let Some(v1) = Hierarchy::mount(&lab) else {
        return eprintln!("this kernel has no cgroup v1");
    };
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", CONFINED));
    let agent = workload.probe();
    let group = v1.0.join("group");
    fs::create_dir(&group).expect("a v1 cgroup");
    for to in [&group, &v1.0] {
        fs::write(to.join("cgroup.procs"), agent.pid().to_string()).expect("move a process");
    }
    assert_lives(agent);
    let records = daemon.settled();
    let moves: Vec<_> = records.iter().filter(|record| record.is("move")).collect();
    assert!(moves.iter().all(|record| !is_escape(record)), "{moves:?}");
    fs::remove_dir(group).expect("an empty v1 cgroup");
}

/// A v1 hierarchy without controllers, of this test alone.
struct Hierarchy(PathBuf);

impl Hierarchy {
    fn mount(lab: &Lab) -> Option<Self> {
        let directory = lab.directory().join("v1");
        fs::create_dir(&directory).expect("a directory");
        let options = format!("none,name=hoop-test-{}", std::process::id());
        mount(
            Some("cgroup"),
            &directory,
            Some("cgroup"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .ok()
        .map(|()| Self(directory))
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("group"));
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}

fn is_escape(record: &Record) -> bool {
    record.is("move") && record.at("process.escaped") == true
}

#[track_caller]
fn escape_of(daemon: &Daemon<'_>, like: impl Fn(&Record) -> bool) -> Record {
    daemon.wait_for("an escape", |record| is_escape(record) && like(record))
}

#[track_caller]
fn assert_is_denied(escape: &Record, from: &Workload<'_>, to: &Cgroup, hook: &str) {
    let texts = [
        ("verdict.result", "deny"),
        ("verdict.rule", "builtin/escape"),
        ("verdict.because", "left its workload"),
        ("verdict.mode", "enforce"),
        ("verdict.hook", hook),
        ("verdict.enforcement", "killed"),
        ("workload.cgroup", from.cgroup.path()),
        ("process.cgroup", to.path()),
    ];
    for (path, expected) in texts {
        assert_eq!(escape.text(path), expected, "{path} of {escape:?}");
    }
}

/// Whether a signal would have been delivered by now: it is, before a process's next answer.
#[track_caller]
fn assert_lives(mut prober: Prober) {
    let done = prober.run("/bin/true", &[]).expect("it lives");
    assert_eq!(done.value, 0);
}

fn killed() -> Failure {
    Failure::new("killed", libc::ESRCH)
}

fn procs(cgroup: &Cgroup) -> PathBuf {
    let directory: &Path = cgroup.directory();
    directory.join("cgroup.procs")
}

fn at(to: &str) -> SocketAddr {
    to.parse().expect("an address and a port")
}
