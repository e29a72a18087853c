//! Nothing gets through while daemons are killed, replaced and upgraded, at whatever moment.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{self, Daemon};
use hoop_tests::lab::Lab;
use hoop_tests::long;
use hoop_tests::probe::{Act, Route};
use hoop_tests::random::Random;

const SPEC: &str = "mode: enforce\negress:\n  default: deny\n  allow:\n    \
                    - { name: api, cidrs: [203.0.113.0/24], ports: [443] }\n\
                    exec:\n  deny:\n    \
                    - { name: no-touch, path: \"**/touch\", because: files are made by people }";
const ALLOWED: &str = "203.0.113.10:443";
const DENIED: &str = "198.51.100.66:443";
const PER_SECOND: u32 = 1000;

#[test]
fn nothing_leaks_while_daemons_are_killed_restarted_and_upgraded() {
    let turns = long::either(3, 100);
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let _servers = (lab.far.listen_tcp(443), lab.far.listen_udp(443));
    let starting = Instant::now();
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    // Measured, and a little more, so that every moment of a start is among them.
    let start_takes = starting.elapsed() * 6 / 5;
    let builds = [daemon::program(), daemon::other_layout(&lab)];
    let until = lab.directory().join("until");
    let reach = |route| Act::Reach {
        route,
        to: at(DENIED),
        text: "leaked".to_owned(),
    };
    let written = lab.directory().join("written");
    let write = Act::Run {
        program: "/usr/bin/touch".into(),
        argv: vec![b"touch".into(), written.as_os_str().as_bytes().into()],
        directory: None,
        user: None,
    };
    let mut agents = [reach(Route::UdpSendto), reach(Route::RawUdp), write].map(|act| {
        let mut agent = workload.probe();
        agent.order(&Act::Repeat {
            act: Box::new(act),
            per_second: PER_SECOND,
            until: until.clone(),
        });
        agent
    });
    let mut other = workload.probe();
    let mut random = Random::new();

    for turn in 0..turns {
        std::thread::sleep(random.part_of(Duration::from_millis(50)));
        daemon.kill();
        for (number, build) in (0..).zip(&builds) {
            // One after another through all of a start.
            let step = start_takes / turns;
            let moment = step * ((turn + number * turns / 2) % turns);
            // One that runs enforces: it is only killed, and the moments go on from there.
            daemon::start_and_kill(&lab, build, moment + random.part_of(step));
        }
        daemon = Daemon::start_build(&lab, &builds[(turn as usize + 1) % 2]);
        // What is in force is the policy.
        Attempt::by(Route::TcpConnect, at(ALLOWED)).succeeds(&lab, &mut other);
        Attempt::by(Route::UdpSendto, at(DENIED)).is_denied(&lab, &mut other);
        let layouts = fs::read_dir(lab.pins()).expect("pins").count();
        assert_eq!(layouts, 1, "the other build's pins are released");
    }

    fs::write(until, "").expect("a file");
    for agent in &mut agents {
        let done = agent.answer().expect("the agent ends");
        eprintln!("{} attempts", done.value);
        // What is not refused was killed: that is the wait status.
        let killed = format!("ok {} ", libc::SIGKILL);
        let mut outcomes = done.text.lines();
        assert!(
            outcomes.all(|it| it.starts_with("EPERM ") || it.starts_with(&killed)),
            "{}",
            done.text
        );
        assert!(done.value >= i64::from(turns) * 50, "{}", done.value);
    }
    assert!(!written.exists(), "a denied command ran");
    let denied = at(DENIED).ip();
    assert!(!lab.far.saw(|packet| packet.destination == denied));
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}
