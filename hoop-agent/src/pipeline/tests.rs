use hoop_common::event::{Hook, Verdict};
use hoop_common::policy::Key;
use proptest::prelude::*;
use zerocopy::IntoBytes as _;

use super::process::{Limits, Seed, TICK_NS};
use super::testing::{self, Names, WORKLOAD, key, start_ns};
use super::*;
use hoop_records::{Fact, Kind};

struct Bench {
    pipeline: Pipeline,
    names: Names,
    records: Vec<Record>,
    offset: i64,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self {
            pipeline: Pipeline::new(ProcessTable::new(limits, 0)),
            names: Names::default(),
            records: Vec::new(),
            offset: OFFSET,
        }
    }

    fn ingest(&mut self, bytes: &[u8]) -> &mut Self {
        let context = Context {
            directory: &self.names,
            offset: ClockOffset(self.offset),
        };
        self.pipeline
            .ingest(bytes, &context, &mut |record| self.records.push(record));
        self
    }

    fn settle(&mut self, numbered: u64, lost: [u64; 2], now_ns: u64) -> &mut Self {
        let context = Context {
            directory: &self.names,
            offset: ClockOffset(self.offset),
        };
        let counters = [CpuCounters {
            cpu: 0,
            numbered,
            lost,
        }];
        let sink = &mut |record| self.records.push(record);
        self.pipeline.settle(&counters, now_ns, &context, sink);
        self
    }

    /// The records since last time, as JSON.
    fn lines(&mut self) -> Vec<String> {
        let line = |record: Record| {
            let mut line = Vec::new();
            hoop_records::render(&record, &mut line);
            assert_eq!(line.pop(), Some(b'\n'));
            assert!(!line.contains(&b'\n'));
            String::from_utf8_lossy(&line).into_owned()
        };
        self.records.drain(..).map(line).collect()
    }

    fn last(&self) -> &Record {
        &self.records[self.records.len() - 1]
    }

    fn command_line(&self) -> &str {
        let process = self
            .last()
            .actor
            .as_ref()
            .and_then(|actor| actor.process.as_ref());
        process.map_or("no process", |process| &process.cmd_line)
    }

    fn ancestry(&self) -> Vec<&str> {
        let actor = self.last().actor.as_ref();
        actor.map_or_else(Vec::new, |actor| {
            actor
                .ancestry
                .iter()
                .map(|ancestor| &*ancestor.name)
                .collect()
        })
    }

    fn session(&self) -> &str {
        let session = self
            .last()
            .actor
            .as_ref()
            .and_then(|actor| actor.session.as_ref());
        session.map_or("no session", |session| &session.uid)
    }
}

const OFFSET: i64 = 1_795_597_000_000_000_000;

const WORKLOAD_JSON: &str = concat!(
    r#""workload":{"cgroup_id":4242,"cgroup":"/hoop/copilot-1","policy":"coding-copilots","#,
    r#""identity":"spiffe://example.org/agents/copilot","#,
    r#""on_behalf_of":"user:alice@example.org"}"#,
);

const ACTOR_JSON: &str = concat!(
    r#""actor":{"process":{"pid":100,"uid":"100-100000000700","name":"python3","#,
    r#""file":{"path":"/usr/bin/python3"},"cmd_line":"python3 -c 'import this'","#,
    r#""working_directory":"/root","user":{"uid":1000,"gid":1000,"euid":0,"egid":1000},"#,
    r#""parent_process":{"pid":1,"uid":"1-1000000007"},"#,
    r#""namespaces":{"pid":11,"net":12,"mnt":13,"user":14,"uts":15,"ipc":16,"cgroup":17}},"#,
    r#""session":{"uid":"100-100000000700"}}"#,
);

fn front(sequence: u64, kind: &str, class_and_activity: &str) -> String {
    let boot = 1_000_000_000_000 + sequence;
    format!(r#"{{"time_dt":"2026-11-25T09:13:20.{sequence:09}Z","boot_time_ns":{boot},"#)
        + &format!(
            r#""kind":"{kind}",{class_and_activity},"origin":{{"sequence":{sequence}}},{WORKLOAD_JSON}"#
        )
}

fn python(sequence: u64) -> Vec<u8> {
    let args = b"python3\0-c\0import this\0";
    testing::exec(sequence, b"/usr/bin/python3", b"/root", args, args.len())
}

#[test]
fn golden_json_of_every_kind() {
    let mut bench = Bench::new();
    bench.ingest(&python(1)).ingest(testing::net(2).as_bytes());
    let mut packet = testing::net(3);
    packet.hook = Hook::Egress as u8;
    packet.verdict = Verdict::Shadow as u8;
    packet.header.tgid = 0;
    packet.header.start_ns = 0;
    packet.source = Key::from_v6(std::net::Ipv6Addr::LOCALHOST.octets());
    packet.destination = packet.source;
    packet.protocol = 58;
    bench
        .ingest(packet.as_bytes())
        .ingest(testing::socket(4).as_bytes())
        .ingest(&testing::moved(5, 100, 5, true))
        .ingest(&testing::exit(6, 100, 0x0100))
        .ingest(&testing::exit(7, 100, 9));
    let process = r#""class_uid":1007,"activity_id":1"#;
    let ended = r#""class_uid":1007,"activity_id":2"#;
    let expected = [
        format!(
            concat!(
                r#"{},{},"verdict":{{"result":"allow","rule":"default","mode":"enforce","#,
                r#""hook":"exec","epoch":3}},"process":{{}}}}"#
            ),
            front(1, "exec", process),
            ACTOR_JSON,
        ),
        format!(
            concat!(
                r#"{},{},"verdict":{{"result":"deny","rule":"metadata","#,
                r#""because":"cloud credentials","mode":"enforce","hook":"connect4","#,
                r#""epoch":3,"enforcement":"refused"}},"#,
                r#""network":{{"dst_endpoint":{{"ip":"192.0.2.7","port":443}},"#,
                r#""connection_info":{{"uid":77,"protocol_num":6,"protocol_name":"tcp","#,
                r#""direction":"Outbound"}}}}}}"#
            ),
            front(2, "connect", r#""class_uid":4001,"activity_id":5"#),
            ACTOR_JSON,
        ),
        format!(
            concat!(
                r#"{},"verdict":{{"result":"shadow","rule":"metadata","#,
                r#""because":"cloud credentials","mode":"enforce","hook":"egress","epoch":3}},"#,
                r#""attribution":"the kernel could not say which process","#,
                r#""network":{{"dst_endpoint":{{"ip":"::1"}},"src_endpoint":{{"ip":"::1"}},"#,
                r#""connection_info":{{"uid":77,"protocol_num":58,"protocol_name":"ipv6-icmp","#,
                r#""direction":"Outbound"}}}}}}"#
            ),
            front(3, "packet", r#""class_uid":4001,"activity_id":6"#),
        ),
        format!(
            concat!(
                r#"{},{},"verdict":{{"result":"allow","rule":"sockets","mode":"enforce","#,
                r#""hook":"sock_create","epoch":3}},"#,
                r#""socket":{{"kind":"tcp","family":2,"type":1}}}}"#
            ),
            front(4, "socket", r#""class_uid":4001,"activity_id":99"#),
            ACTOR_JSON,
        ),
        format!(
            concat!(
                r#"{},{},"verdict":{{"result":"deny","rule":"metadata","#,
                r#""because":"cloud credentials","mode":"enforce","hook":"cgroup_move","#,
                r#""epoch":3,"enforcement":"killed"}},"#,
                r#""process":{{"cgroup":"/elsewhere","escaped":true}}}}"#
            ),
            front(5, "move", r#""class_uid":1007,"activity_id":99"#),
            ACTOR_JSON,
        ),
        format!(
            r#"{},{ACTOR_JSON},"process":{{"exit_code":1}}}}"#,
            front(6, "exit", ended)
        ),
        format!(
            r#"{},{ACTOR_JSON},"process":{{"signal":9}}}}"#,
            front(7, "exit", ended)
        ),
    ];
    let lines = bench.lines();
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(line, expected);
    }

    bench
        .settle(8, [1, 0], 0)
        .settle(8, [1, 0], 0)
        .settle(8, [1, 0], 1_000_000_000_008);
    assert_eq!(
        bench.lines(),
        [concat!(
            r#"{"time_dt":"2026-11-25T09:13:20.000000008Z","boot_time_ns":1000000000008,"#,
            r#""kind":"gap","class_uid":6002,"#,
            r#""activity_id":99,"gap":{"first":8,"last":8,"count":1,"cause":"ring full"}}"#
        )],
    );
    bench.ingest(&testing::fork(9, 200, 100));
    let line = bench.lines().concat();
    let child = concat!(
        r#""actor":{"process":{"pid":200,"uid":"200-200000001400","name":"python3","#,
        r#""file":{"path":"/usr/bin/python3"},"cmd_line":"python3 -c 'import this'","#,
    );
    assert!(
        line.starts_with(&front(9, "fork", process)) && line.contains(child),
        "{line}"
    );
    assert!(
        line.contains(r#""ancestry":[{"pid":100,"name":"python3"}]"#),
        "{line}"
    );
}

#[test]
fn a_child_has_its_parents_session_and_an_exec_its_own_arguments() {
    let mut bench = Bench::new();
    bench.ingest(&python(1)).ingest(&testing::fork(2, 101, 100));
    assert_eq!(bench.command_line(), "python3 -c 'import this'");
    bench.ingest(&testing::exec_by(101, 100, 3, b"/bin/sh", b"/", b"sh\0", 3));
    assert_eq!(bench.command_line(), "sh");
    assert_eq!(bench.session(), "100-100000000700");
    bench.ingest(&testing::fork(4, 102, 101));
    assert_eq!(bench.ancestry(), ["sh", "python3"]);
    // An ancestor that runs another program shows in its descendants' next records.
    bench.ingest(&testing::exec_by(
        101,
        100,
        5,
        b"/bin/dash",
        b"/",
        b"dash\0",
        5,
    ));
    bench.ingest(&testing::exit(6, 102, 0));
    assert_eq!(bench.ancestry(), ["dash", "python3"]);
}

#[test]
fn who_is_refused_a_program_stays_what_it_was() {
    let mut bench = Bench::new();
    bench.ingest(&python(1));
    let before = bench.command_line().to_owned();
    bench.ingest(&testing::guard(2, Hook::ExecCheck, 0, b"/usr/bin/touch"));
    assert_eq!(bench.last().kind(), Kind::Exec);
    assert_eq!(bench.command_line(), before);
    let Some(Fact::Process(activity)) = &bench.last().fact else {
        panic!("no process");
    };
    let program = activity.program.as_ref().map(|file| file.path.as_str());
    assert_eq!(program, Some("/usr/bin/touch"));
    assert_eq!(activity.target, None);
    bench.ingest(&testing::exit(3, 100, 0));
    assert_eq!(bench.command_line(), before);

    bench.ingest(&testing::guard(4, Hook::Ptrace, 7, b""));
    assert_eq!(bench.last().kind(), Kind::Tamper);
    let Some(Fact::Process(activity)) = &bench.last().fact else {
        panic!("no process");
    };
    assert_eq!(activity.operation, "ptrace");
    assert_eq!(activity.target.as_ref().map(|target| target.pid), Some(7));
    assert_eq!(activity.program, None);
}

#[test]
fn ancestors_outlive_their_grace_as_long_as_they_have_children() {
    let mut bench = Bench::new();
    bench
        .ingest(&python(1))
        .ingest(&testing::fork(2, 101, 100))
        .ingest(&testing::fork(3, 102, 101));
    bench
        .ingest(&testing::exit(4, 101, 0))
        .settle(4, [0, 0], u64::MAX);
    assert_eq!(bench.pipeline.table.len(), 3);
    bench.ingest(&testing::exec_by(102, 1, 5, b"/bin/ls", b"/", b"ls\0", 3));
    assert_eq!(bench.ancestry(), ["python3", "python3"]);
    bench
        .ingest(&testing::exit(6, 102, 0))
        .settle(6, [0, 0], u64::MAX);
    assert_eq!(bench.pipeline.table.len(), 1);
}

#[test]
fn arguments_in_chunks_are_one_record() {
    let mut bench = Bench::new();
    let part = |sequence| testing::exec(sequence, b"/bin/echo", b"/", b"echo\0one \0", 17);
    bench.ingest(&part(1));
    assert_eq!(bench.records.len(), 0);
    bench.ingest(&testing::args(2, 100, 10, b"two\0", false));
    bench.ingest(&testing::args(3, 100, 14, b"33\0", true));
    assert_eq!(
        (bench.command_line(), bench.records.len()),
        ("echo 'one ' two 33", 1)
    );
    assert_eq!(bench.pipeline.stats().recorded, 3);

    // A chunk is lost: what came before it is kept.
    bench
        .ingest(&part(4))
        .ingest(&testing::args(6, 100, 14, b"33\0", true));
    assert_eq!(
        (bench.command_line(), bench.records.len()),
        ("echo 'one '", 2)
    );
    assert!(
        bench
            .lines()
            .concat()
            .contains(r#""cmd_line_truncated":true"#)
    );

    // The last chunk never comes: another event of the process, its child's fork, or time does.
    bench.ingest(&part(7)).ingest(testing::net(8).as_bytes());
    bench.ingest(&part(9)).ingest(&testing::fork(10, 101, 100));
    bench
        .ingest(&part(11))
        .settle(11, [1, 0], 2_000_000_000_000);
    let kinds: Vec<_> = bench.records.iter().map(Record::kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Exec,
            Kind::Connect,
            Kind::Exec,
            Kind::Fork,
            Kind::Exec
        ]
    );

    // A chunk without its exec is a gap.
    bench.ingest(&testing::args(12, 100, 10, b"two\0", true));
    assert!(matches!(&bench.last().fact, Some(Fact::Gap(gap)) if gap.first == 12));
    assert_eq!(bench.pipeline.stats().recorded, 10);
    assert_eq!(bench.pipeline.stats().missing, 1);
}

#[test]
fn a_long_command_line_is_whole_in_its_exec_and_cut_elsewhere() {
    let mut bench = Bench::new();
    let long = [b"x".repeat(5000), vec![0]].concat();
    bench.ingest(&testing::exec(1, b"/bin/echo", b"/", &long, long.len()));
    assert_eq!(bench.command_line().len(), 5000);
    assert!(!bench.lines().concat().contains("truncated"));
    bench.ingest(testing::net(2).as_bytes());
    assert_eq!(bench.command_line().len(), 4096);
    assert!(
        bench
            .lines()
            .concat()
            .contains(r#""cmd_line_truncated":true"#)
    );
}

#[test]
fn seeded_processes_are_found_by_their_exact_keys() {
    let mut bench = Bench::new();
    let seed = |tgid: u32, parent_tgid: u32, path: &[u8]| Seed {
        tgid,
        start_ticks: start_ns(tgid) / TICK_NS,
        parent_tgid,
        parent_start_ticks: start_ns(parent_tgid) / TICK_NS,
        workload: WORKLOAD,
        path: path.to_vec(),
        args: path.to_vec(),
        ..Seed::default()
    };
    let seeds = [
        seed(100, 99, b"/bin/sh"),
        seed(99, 98, b"/bin/agent"),
        seed(50, 1, b"/bin/x"),
    ];
    bench.pipeline.table_mut().seed(seeds);
    bench.ingest(testing::net(1).as_bytes());
    assert_eq!(bench.command_line(), "/bin/sh");
    assert_eq!(bench.ancestry(), ["agent"]);
    assert_eq!(bench.session(), "99-99000000000");
    assert!(
        bench
            .lines()
            .concat()
            .contains(r#""uid":"100-100000000700""#)
    );

    // Pid 100 anew, in another tick: not the seeded process.
    let mut other = testing::net(2);
    other.header.start_ns += 2 * TICK_NS;
    bench.ingest(other.as_bytes());
    assert_eq!(bench.command_line(), "");
    assert!(bench.last().attribution.contains("not seen"));
}

#[test]
fn a_process_that_was_never_seen_is_not_guessed() {
    let mut bench = Bench::new();
    bench.pipeline = Pipeline::new(ProcessTable::new(Limits::default(), start_ns(100) + 1));
    bench.ingest(testing::net(1).as_bytes());
    let line = bench.lines().concat();
    assert!(
        line.contains(r#""actor":{"process":{"pid":100,"uid":"100-100000000700"}},"#),
        "{line}"
    );
    assert!(
        line.contains(r#""attribution":"process not seen: started before Hoop""#),
        "{line}"
    );
}

#[test]
fn a_full_table_evicts_and_says_so() {
    let mut bench = Bench::with(Limits {
        processes: 2,
        ..Limits::default()
    });
    bench.ingest(&python(1));
    bench.ingest(&testing::exec_by(101, 1, 2, b"/bin/sh", b"/", b"sh\0", 3));
    bench.ingest(&testing::exec_by(102, 1, 3, b"/bin/sh", b"/", b"sh\0", 3));
    assert_eq!(bench.pipeline.stats().evicted, 1);
    bench.ingest(testing::net(4).as_bytes());
    let why = "process not seen: evicted from the full process table";
    assert_eq!(bench.last().attribution, why);
}

#[test]
fn long_texts_are_bounded_too() {
    let mut bench = Bench::with(Limits {
        bytes: 100_000,
        ..Limits::default()
    });
    let path = b"/x".repeat(1000);
    for tgid in 100..1000 {
        let sequence = u64::from(tgid) - 99;
        bench.ingest(&testing::exec_by(
            tgid, 1, sequence, &path, b"/", b"sh\0", 3,
        ));
    }
    assert!(
        (2..50).contains(&bench.pipeline.table.len()),
        "{}",
        bench.pipeline.table.len()
    );
    assert!(bench.pipeline.table.get(key(999)).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever arrives and whatever is lost: recorded + missing is what was numbered.
    #[test]
    fn every_event_is_recorded_or_missing(
        events in prop::collection::vec((0u8..9, 100u32..104, any::<bool>(), 0u8..10), 1..120),
    ) {
        let mut bench = Bench::with(Limits { processes: 3, ..Limits::default() });
        let (mut numbered, mut lost) = (0, 0);
        let mut args_events = 0;
        for (kind, tgid, last, fate) in events {
            numbered += 1;
            if fate < 3 {
                lost += 1;
                continue;
            }
            let mut bytes = match kind {
                0 => testing::fork(numbered, tgid + 1, tgid),
                1 => testing::exec_by(tgid, 1, numbered, b"/a", b"/", b"a\0", 2),
                2 | 3 => testing::exec_by(tgid, 1, numbered, b"/a", b"/", b"a\0", 9),
                4 | 5 => testing::args(numbered, tgid, 2 + usize::from(kind - 4) * 2, b"b\0", last),
                6 => testing::exit(numbered, tgid, 0),
                7 => testing::moved(numbered, tgid, 1, last),
                _ => testing::net(numbered).as_bytes().to_vec(),
            };
            args_events += u64::from(kind == 4 || kind == 5);
            if fate == 3 {
                bytes.pop();
            }
            bench.ingest(&bytes);
            if fate == 9 {
                bench.settle(numbered, [lost, 0], 1_000_000_000_000 + numbered);
            }
        }
        let context = Context { directory: &bench.names, offset: ClockOffset(OFFSET) };
        let counters = [CpuCounters { cpu: 0, numbered, lost: [lost, 0] }];
        let sink = &mut |record| bench.records.push(record);
        bench.pipeline.finish(&counters, 0, &context, sink);
        let stats = bench.pipeline.stats();
        prop_assert_eq!(stats.recorded + stats.missing, numbered);
        prop_assert_eq!(stats.late, 0);
        let gaps: u64 = bench.records.iter().map(|record| match &record.fact {
            Some(Fact::Gap(gap)) => gap.count,
            _ => 0,
        }).sum();
        prop_assert_eq!(gaps, stats.missing);
        let facts = bench.records.iter().filter(|r| r.origin.is_some()).count() as u64;
        prop_assert!(facts <= stats.recorded && stats.recorded <= facts + args_events);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Bench::new().ingest(&bytes);
    }
}

#[test]
fn a_clock_that_is_set_back_changes_the_wall_time_alone() {
    const HOUR_NS: i64 = 3_600_000_000_000;
    let mut bench = Bench::new();
    bench.ingest(&testing::exec(1, b"/bin/sh", b"/", b"sh\0", 3));
    let session = bench.session().to_owned();
    let mut times = Vec::new();
    for sequence in [2, 3] {
        bench.ingest(testing::net(sequence).as_bytes());
        assert_eq!((bench.command_line(), bench.session()), ("sh", &*session));
        times.push(bench.last().time_dt);
        bench.offset -= HOUR_NS;
    }
    // The events are a nanosecond apart.
    assert_eq!(times[0] - times[1], HOUR_NS - 1);
    bench.settle(3, [0; 2], 2_000_000_000_000);
    assert_eq!(bench.pipeline.stats().recorded, 3);
    assert_eq!(bench.pipeline.stats().missing, 0);
}
