//! Records name the right process, or say that they cannot (bypass 23).

use std::collections::HashMap;
use std::time::Duration;

use hoop_tests::daemon::{Daemon, Record};
use hoop_tests::lab::Lab;
use hoop_tests::probe::Act;
use hoop_tests::wait;

const OPEN: &str = "mode: enforce\negress: { default: allow }";
const PROGRAM: &str = "/bin/true";
const PROCESSES: u32 = 4;

#[test]
fn five_thousand_short_lived_commands_have_their_parents() {
    short_lived_commands(5_000);
}

/// As the one above. Long.
#[test]
#[ignore = "takes minutes: cargo xtask test --long"]
fn a_hundred_thousand_short_lived_commands_have_their_parents() {
    short_lived_commands(100_000);
}

/// Every command has its parent's pid as its argument, so each record tells twice who started it.
fn short_lived_commands(count: u32) {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let mut agent = workload.probe();
    agent.order(&Act::Execs {
        program: PROGRAM.into(),
        processes: PROCESSES,
        each: count / PROCESSES,
    });
    let ran = agent.answer_within(Duration::from_secs(600));
    assert_eq!(ran.expect("they run").value, i64::from(count));

    let lost = settle(&daemon);
    let records = daemon.kept();
    let commands: Vec<&Record> = records
        .iter()
        .filter(|record| record.is("exec") && command_line(record).is_some())
        .collect();
    for record in &commands {
        let parent = record.number("actor.process.parent_process.pid");
        assert_eq!(command_line(record), Some(parent), "{record:?}");
        assert_eq!(record.text("attribution"), "", "{record:?}");
    }
    let found = commands.len() as u64;
    assert!(
        found <= u64::from(count) && found + lost >= u64::from(count),
        "{found} of {count} recorded, {lost} events lost"
    );

    // A process is one that started, ran its command, and ended: no record is about another.
    let mut kinds: HashMap<&str, Vec<&str>> = HashMap::new();
    for record in &records {
        if ["fork", "exec", "exit"].iter().any(|kind| record.is(kind)) {
            let process = kinds.entry(record.text("actor.process.uid")).or_default();
            process.push(record.text("kind"));
        }
    }
    if lost == 0 {
        let whole = kinds
            .values()
            .filter(|kinds| **kinds == ["fork", "exec", "exit"]);
        assert_eq!(whole.count() as u64, found, "one life each");
    }
}

#[test]
fn who_was_not_seen_to_start_is_said_not_to_be() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let outsider = lab.outsider();
    workload.cgroup.adopt(outsider.pid());
    let entered = daemon.wait_for("the entry", |record| {
        record.is("move") && record.pid() == outsider.pid()
    });
    assert_eq!(
        entered.text("attribution"),
        "program not seen: started before Hoop or outside the workload"
    );
    let process = entered.at("actor.process");
    for guess in ["name", "cmd_line", "file", "parent_process"] {
        assert!(process[guess].is_null(), "{guess} of {process:?}");
    }
}

/// Waits until every event is in a record or counted as lost; returns how many were lost.
fn settle(daemon: &Daemon<'_>) -> u64 {
    let settled = wait::within(Duration::from_secs(120), || {
        let status = daemon.status();
        let count = |name: &str| status["events"][name].as_u64();
        let lost = count("lost")?;
        (count("recorded")? + lost >= count("numbered")?).then_some(lost)
    });
    settled.expect("the records catch up")
}

/// The argument of the command, if the record is about one of them.
fn command_line(record: &Record) -> Option<u64> {
    let line = record.text("actor.process.cmd_line");
    line.strip_prefix(PROGRAM)?.trim().parse().ok()
}
