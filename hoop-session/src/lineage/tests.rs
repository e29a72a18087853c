//! What is joined, and what is not.

#![expect(clippy::unwrap_used, reason = "tests")]

use hoop_records::Link;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Maker, calls, demo, placed, result, said};

const AGENT: u32 = 100;

fn maker() -> Maker {
    Maker::new(AGENT, "python3 agent.py")
}

fn asks(maker: &mut Maker, at_ms: u64, calls_of: &[(&str, &str, Value)]) {
    let reply = calls("", calls_of);
    maker.model(
        at_ms,
        100,
        AGENT,
        &json!([said("user", "do it")]),
        &json!([reply]),
    );
}

fn answers(maker: &mut Maker, at_ms: u64, id: &str) {
    let input = json!([calls("", &[]), result(id, "done")]);
    maker.model(at_ms, 100, AGENT, &input, &json!([said("assistant", "ok")]));
}

fn run(command: &str) -> Value {
    json!({"command": command})
}

fn links(records: &[Record]) -> Vec<Link> {
    let links = records.iter().filter_map(|record| match &record.fact {
        Some(Fact::Link(link)) => Some(link.clone()),
        _ => None,
    });
    links.collect()
}

/// Call id, process, how and how sure.
fn told(records: Vec<Record>) -> Vec<(String, String, String, f64)> {
    let links = links(&placed(records)).into_iter();
    let mut told: Vec<_> = links
        .map(|link| (link.call_id, link.process, link.joined_by, link.confidence))
        .collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    told
}

fn expect(call: &str, pid: u32, joined_by: &str, confidence: f64) -> (String, String, String, f64) {
    (call.into(), Maker::uid(pid), joined_by.into(), confidence)
}

#[test]
fn the_demonstration_is_joined() {
    let records = demo();
    let links = links(&records);
    let told: Vec<_> = links
        .iter()
        .map(|link| {
            (
                link.call_id.as_str(),
                link.process.clone(),
                link.joined_by.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("call-0", Maker::uid(4250), "command"),
            ("call-3", Maker::uid(4260), "command"),
            ("call-4", Maker::uid(4270), "command"),
        ]
    );
}

#[test]
fn a_trace_says_what_came_of_what() {
    let records = demo();
    let of = |pid: u32, kind: Kind| {
        let found = records.iter().find(|record| {
            let process = record
                .actor
                .as_ref()
                .and_then(|actor| actor.process.as_ref());
            record.kind() == kind && process.is_some_and(|process| process.pid == pid)
        });
        found.unwrap().trace.clone().unwrap()
    };
    let (agent, shell, id) = (
        of(4242, Kind::Exec),
        of(4250, Kind::Exec),
        of(4252, Kind::Exec),
    );
    assert_eq!(agent.trace_id.len(), 16);
    assert!(agent.parent_span_id.is_empty());
    assert_eq!(shell.parent_span_id, agent.span_id);
    assert_eq!(id.parent_span_id, shell.span_id);
    assert_eq!(of(4250, Kind::Exit), shell);
    let api = of(4242, Kind::Api);
    assert_eq!(api.parent_span_id, agent.span_id);
    assert_ne!(api.span_id, agent.span_id);
    let link = of(4250, Kind::Link);
    assert_eq!(link.parent_span_id, api.span_id);
    assert_eq!(links(&records)[0].span_id, shell.span_id);
    assert_eq!(links(&records)[0].call_span_id, api.span_id);
    let mut requests: Vec<_> = records
        .iter()
        .filter(|record| record.kind() == Kind::Api)
        .map(|record| record.trace.clone().unwrap().span_id)
        .collect();
    requests.sort();
    requests.dedup();
    assert_eq!(requests.len(), 6);
    // Records about Hoop are of no session.
    let gap = records
        .iter()
        .find(|record| record.kind() == Kind::Gap)
        .unwrap();
    assert_eq!(gap.trace, None);
}

#[test]
fn an_exec_that_comes_before_the_record_of_the_reply_is_joined() {
    let mut maker = maker();
    maker.exec(105, 200, AGENT, "sh -c 'ls | wc'");
    asks(&mut maker, 0, &[("a", "bash", run("ls | wc"))]);
    answers(&mut maker, 300, "a");
    assert_eq!(told(maker.records()), [expect("a", 200, "command", 0.95)]);
}

#[test]
fn what_ran_before_the_request_or_behind_the_result_is_not_joined() {
    let mut maker = maker();
    maker.exec(10, 200, AGENT, "sh -c 'ls | wc'");
    asks(&mut maker, 20, &[("a", "bash", run("ls | wc"))]);
    // The request that has the result begins at 300, and its record comes at 450.
    maker.exec(310, 201, AGENT, "sh -c 'ls | wc'");
    answers(&mut maker, 300, "a");
    assert_eq!(told(maker.records()), []);
}

#[test]
fn a_command_of_a_later_call_is_not_taken_by_an_earlier_one() {
    let mut maker = maker();
    asks(&mut maker, 0, &[("a", "bash", run("make"))]);
    // Not carried out; asked for again by the reply to its result, whose record comes behind the exec.
    maker.exec(450, 200, AGENT, "sh -c make");
    let input = json!([calls("", &[]), result("a", "not allowed by the user")]);
    let again = calls("", &[("b", "bash", run("make"))]);
    maker.model(300, 100, AGENT, &input, &json!([again]));
    answers(&mut maker, 600, "b");
    assert_eq!(told(maker.records()), [expect("b", 200, "command", 0.95)]);
}

#[test]
fn the_root_of_the_tree_carries_the_call_out() {
    let mut maker = maker();
    asks(&mut maker, 0, &[("a", "bash", run("ls | wc"))]);
    maker.exec(110, 200, AGENT, "timeout 30 bash -c 'ls | wc'");
    maker.exec(111, 201, 200, "bash -c 'ls | wc'");
    maker.exec(112, 202, 201, "ls");
    answers(&mut maker, 300, "a");
    assert_eq!(told(maker.records()), [expect("a", 200, "command", 0.95)]);
}

#[test]
fn the_same_command_twice_is_two_processes_and_less_sure() {
    let mut maker = maker();
    let call = |id| (id, "bash", run("ls | wc"));
    asks(&mut maker, 0, &[call("a"), call("b")]);
    maker.exec(110, 200, AGENT, "sh -c 'ls | wc'");
    maker.exec(111, 201, 200, "sh -c 'ls | wc'");
    maker.exec(115, 210, AGENT, "sh -c 'ls | wc'");
    answers(&mut maker, 300, "a");
    answers(&mut maker, 500, "b");
    assert_eq!(
        told(maker.records()),
        [
            expect("a", 200, "command", 0.7),
            expect("b", 210, "command", 0.7)
        ]
    );
}

#[test]
fn a_program_that_is_named_is_joined_for_less() {
    let mut maker = maker();
    asks(
        &mut maker,
        0,
        &[("a", "terminal", run("cd /srv && git status"))],
    );
    maker.exec(110, 200, AGENT, "/usr/bin/git status");
    answers(&mut maker, 300, "a");
    assert_eq!(told(maker.records()), [expect("a", 200, "program", 0.7)]);
}

#[test]
fn order_alone_is_little_and_less_with_each_rival() {
    let mut maker = maker();
    asks(&mut maker, 0, &[("a", "weather", json!({"city": "Paris"}))]);
    maker.exec(110, 200, AGENT, "node helper.js");
    maker.exec(111, 201, 200, "uname");
    answers(&mut maker, 300, "a");
    asks(
        &mut maker,
        500,
        &[("b", "weather", json!({"city": "Rome"}))],
    );
    maker.exec(610, 210, AGENT, "node helper.js");
    maker.exec(611, 211, AGENT, "cron-job");
    maker.exec(612, 212, AGENT, "third");
    answers(&mut maker, 700, "b");
    // One that began with the request, before the reply, is not even that.
    asks(
        &mut maker,
        900,
        &[("c", "weather", json!({"city": "Rome"}))],
    );
    maker.exec(950, 220, AGENT, "node helper.js");
    answers(&mut maker, 1100, "c");
    assert_eq!(
        told(maker.records()),
        [
            expect("a", 200, "time", 0.3),
            expect("b", 210, "time", 0.3 / 3.0)
        ]
    );
}

#[test]
fn what_fits_one_call_is_no_rival_of_another() {
    let mut maker = maker();
    asks(
        &mut maker,
        0,
        &[
            ("a", "weather", json!({"city": "Paris"})),
            ("b", "bash", run("ls | wc")),
        ],
    );
    maker.exec(110, 200, AGENT, "sh -c 'ls | wc'");
    maker.exec(111, 201, 200, "wc");
    answers(&mut maker, 300, "a");
    answers(&mut maker, 500, "b");
    assert_eq!(told(maker.records()), [expect("b", 200, "command", 0.95)]);
}

#[test]
fn a_request_of_mcp_carries_a_call_out() {
    let mut maker = maker();
    let arguments = json!({"query": "x", "limit": 3});
    asks(
        &mut maker,
        0,
        &[
            ("a", "mcp__github__search", arguments.clone()),
            ("b", "search", json!({})),
        ],
    );
    maker.mcp(
        130,
        AGENT,
        "search",
        &json!({"limit": 3, "query": "x"}),
        &json!({"content": []}),
    );
    answers(&mut maker, 300, "a");
    answers(&mut maker, 500, "b");
    let records = placed(maker.records());
    let links = links(&records);
    let mcp = records.iter().find(|record| match &record.fact {
        Some(Fact::Api(api)) => api.protocol == "mcp",
        _ => false,
    });
    assert_eq!(links.len(), 1);
    assert_eq!(
        (links[0].call_id.as_str(), links[0].joined_by.as_str()),
        ("a", "mcp")
    );
    assert!(
        (links[0].confidence - 0.85).abs() < 1e-9,
        "{}",
        links[0].confidence
    );
    assert_eq!(
        links[0].span_id,
        mcp.unwrap().trace.as_ref().unwrap().span_id
    );
}

#[test]
fn calls_without_ids_end_in_their_order() {
    let mut maker = maker();
    let call = json!({"role": "assistant", "parts": [
        {"type": "tool_call", "id": null, "name": "bash", "arguments": run("ls | wc")}]});
    maker.model(0, 100, AGENT, &json!([said("user", "x")]), &json!([call]));
    maker.exec(110, 200, AGENT, "sh -c 'ls | wc'");
    let answer = json!({"role": "tool", "parts": [
        {"type": "tool_call_response", "id": null, "name": "bash", "response": "1"}]});
    maker.model(300, 100, AGENT, &json!([call, answer]), &json!([]));
    assert_eq!(told(maker.records()), [expect("", 200, "command", 0.95)]);
}

#[test]
fn a_sure_join_is_told_before_the_result() {
    let mut maker = maker();
    asks(&mut maker, 0, &[("a", "bash", run("sleep 60; ls"))]);
    maker.exec(110, 200, AGENT, "sh -c 'sleep 60; ls'");
    maker.fork(3200, 201, AGENT);
    let mut lineage = Lineage::new([1; 16]);
    let mut links = 0;
    for mut record in maker.records() {
        lineage.observe(&mut record, &mut |_| links += 1);
    }
    assert_eq!(links, 1);
}

#[test]
fn memory_is_bounded_under_a_flood() {
    let mut lineage = Lineage::new([1; 16]);
    let script = "echo y; ".repeat(800);
    for session in 0..300_u32 {
        let agent = 1000 + session * 100;
        let mut maker = Maker::new(agent, "agent");
        for n in 0..12 {
            let call = calls("", &[(&*format!("{session}-{n}"), "bash", run(&script))]);
            maker.model(n, 1, agent, &json!([]), &json!([call]));
            maker.exec(
                n,
                agent + 1 + n as u32,
                agent,
                &format!("sh -c '{script}{n}'"),
            );
        }
        for mut record in maker.records() {
            lineage.observe(&mut record, &mut |_| {});
        }
        assert!(lineage.runs.len() <= MAX_SESSIONS);
        assert!(lineage.bytes <= MAX_BYTES, "{}", lineage.bytes);
    }
    let counted: usize = lineage.runs.values().map(Run::bytes).sum();
    assert_eq!(lineage.bytes, counted);
}

#[test]
fn sessions_are_bounded_and_the_quietest_goes() {
    let mut lineage = Lineage::new([1; 16]);
    for session in 0..MAX_SESSIONS as u32 + 50 {
        for pid in [1, 10 + session] {
            let mut record = Maker::new(pid, "agent").records().remove(0);
            record.boot_time_ns += u64::from(session) * 1_000_000;
            lineage.observe(&mut record, &mut |_| {});
        }
        assert!(lineage.runs.len() <= MAX_SESSIONS);
    }
    assert!(lineage.runs.contains_key(&Maker::uid(1)));
    assert!(!lineage.runs.contains_key(&Maker::uid(10)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_link_leaves_its_session(order in proptest::collection::vec((0..3_u32, 0..4_u8, 0..500_u64), 1..120)) {
        let mut lineage = Lineage::new([1; 16]);
        let (mut records, mut links) = (Vec::new(), Vec::new());
        for (n, (session, what, at_ms)) in (0..).zip(order) {
            let agent = 1000 * (session + 1);
            let mut maker = Maker::new(agent, "agent");
            match what {
                0 => drop(maker.exec(at_ms, agent + 1 + n, agent, "sh -c 'ls | wc'")),
                1 => drop(maker.exec(at_ms, agent + 1 + n, agent, "true")),
                2 => {
                    let call = calls("", &[("a", "bash", run("ls | wc")), ("b", "other", run("x"))]);
                    maker.model(at_ms, 5, agent, &json!([]), &json!([call]));
                }
                _ => {
                    let input = json!([result("a", "x"), result("b", "x")]);
                    maker.model(at_ms, 5, agent, &input, &json!([]));
                }
            }
            let mut made = maker.records();
            let mut record = made.pop().unwrap();
            lineage.observe(&mut record, &mut |link| links.push(link));
            records.push(record);
        }
        lineage.finish(&mut |link| links.push(link));
        let mut calls_joined = std::collections::HashSet::new();
        for link in links {
            let session = link.actor.as_ref().unwrap().session.clone().unwrap().uid;
            let Some(Fact::Link(fact)) = &link.fact else { panic!("a link") };
            let ran = records.iter().find(|record| {
                record.actor.as_ref().unwrap().process.as_ref().unwrap().uid == fact.process
            });
            let ran_in = ran.unwrap().actor.as_ref().unwrap().session.clone().unwrap().uid;
            prop_assert_eq!(&ran_in, &session);
            prop_assert_eq!(&ran.unwrap().trace.as_ref().unwrap().trace_id, &link.trace.as_ref().unwrap().trace_id);
            prop_assert!(fact.joined_by != "time" || fact.confidence <= 0.3);
            // One process for a call.
            prop_assert!(calls_joined.insert(link.trace.unwrap().span_id));
        }
    }
}
