//! Sessions from records, and how they are found and told.

#![expect(clippy::unwrap_used, reason = "tests")]

use hoop_records::{Record, Result};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::show;
use crate::testing::{Maker, calls, demo, placed, result, said};

fn shown(session: &Session) -> String {
    let mut out = Vec::new();
    show(session, &mut out, false).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_tree_answers_who_what_where_and_why_not() {
    let session = Session::build(&Maker::uid(4242), demo());
    let text = shown(&session);
    for wanted in [
        "asked by  user:alice@example.org",
        "identity  spiffe://example.org/agents/release-notes",
        "policy    demo-agent (enforce)",
        "models    demo-1",
        "6 turns, 5 tool calls, 8 processes, 4 connections, 3 denied",
        "user      Summarise the release notes at http://[IP_ADDRESS:5d11e0]/notes.txt and write them up for [EMAIL:95675f].",
        "├─ calls run_command {\"command\":\"uname -sr; id -un\"}  call-0",
        "│  ├─ runs sh -c 'uname -sr; id -un' pid 4250 exit 0 [runs the command, 0.95 sure]",
        "│  │  ├─ runs uname -sr pid 4251 exit 0",
        "│  └─ result Linux 6.1.0",
        "│  ├─ connect tcp 203.0.113.66:443 DENIED by collectors, because: collects stolen data (refused)",
        "│  │  ├─ exec sh -c 'cat ~/.ssh/id_ed25519' DENIED by private-keys, because: keys belong to people (killed)",
        "12 events lost on this node: ring full",
        "plaintext of python3[4242] not read: another TLS library",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
}

#[test]
fn colour_only_if_asked_and_nothing_hostile_drives_the_terminal() {
    let mut maker = Maker::new(9, "sh -c '\x1b]0;x\x07\u{202e}'");
    maker.connect(3, 9, "tcp\x1b[1m", "1\x1b[2J", 4);
    maker.judged(Result::Deny, "r\x1b[0m", "b\u{9b}31m", "refused\x07");
    let reply = calls(
        "\x1b[31m",
        &[("i\x1b", "t\x1b", json!({"a\x1b": "\u{2028}"}))],
    );
    maker.model(
        5,
        1,
        9,
        &json!([said("user\x1b", "\x1b[?1049h")]),
        &json!([reply]),
    );
    let session = Session::build(&Maker::uid(9), placed(maker.records()));
    let text = shown(&session);
    let bad = |c: char| c.is_control() && c != '\n' || c == '\u{202e}' || c == '\u{2028}';
    assert!(!text.contains(bad), "{text:?}");
    let mut out = Vec::new();
    show(&session, &mut out, true).unwrap();
    assert!(out.contains(&0x1b));
}

#[test]
fn a_session_is_named_by_its_uid_or_a_front_of_it_that_no_other_has() {
    let records: Vec<Record> = [12, 123, 7]
        .into_iter()
        .flat_map(|pid| Maker::new(pid, "agent").records())
        .collect();
    let find = |name: &str| Session::find(records.clone(), name).map(|session| session.uid);
    assert_eq!(find("7-"), Ok(Maker::uid(7)));
    assert_eq!(find("123"), Ok(Maker::uid(123)));
    assert_eq!(find(&Maker::uid(12)), Ok(Maker::uid(12)));
    assert_eq!(find("8"), Err(FindError::None("8".into())));
    let ambiguous = find("12").unwrap_err();
    assert_eq!(
        ambiguous.to_string(),
        format!(
            "more than one session begins with \"12\": {}, {}",
            Maker::uid(12),
            Maker::uid(123)
        )
    );
    // The whole name of one may be the front of another's, whichever comes first.
    for uids in [["5", "5-1"], ["5-1", "5"]] {
        let records = uids.map(|uid| {
            let mut record = Maker::new(1, "agent").records().remove(0);
            let mut actor = hoop_records::Actor::clone(record.actor.as_ref().unwrap());
            actor.session.as_mut().unwrap().uid = uid.to_owned();
            record.actor = Some(actor.into());
            record
        });
        assert_eq!(Session::find(records, "5").unwrap().uid, "5");
    }
}

#[test]
fn a_list_counts() {
    let mut records = demo();
    records.extend(Maker::new(99, "other").records());
    let rows = list(records);
    assert_eq!(rows.len(), 2);
    let row = rows.iter().find(|row| row.uid == Maker::uid(4242)).unwrap();
    assert_eq!(
        (row.turns, row.execs, row.connections, row.denied),
        (6, 8, 4, 3)
    );
    assert_eq!(
        (row.agent.as_str(), row.on_behalf_of.as_str()),
        ("python3", "user:alice@example.org")
    );
}

#[test]
fn only_what_is_new_in_a_request_is_told_again() {
    let session = Session::build(&Maker::uid(4242), demo());
    assert_eq!(session.turns[2].history, 4);
    assert_eq!(session.turns[2].input.len(), 1);
    let answered = session
        .turns
        .iter()
        .flat_map(|turn| &turn.calls)
        .filter(|call| call.result.is_some());
    assert_eq!(answered.count(), 5);
}

#[test]
fn a_process_above_itself_ends_the_walk() {
    let mut maker = Maker::new(1, "a");
    maker.exec(1, 2, 3, "b");
    maker.exec(2, 3, 2, "c");
    let session = Session::build(&Maker::uid(1), maker.records());
    assert_eq!(shown(&session).matches("├─ runs").count(), 3);
}

#[test]
fn texts_are_cut_with_the_count() {
    let mut maker = Maker::new(1, "a");
    maker.model(
        1,
        1,
        1,
        &json!([
            said("user", &"x".repeat(5000)),
            result("?", &"l\n".repeat(50))
        ]),
        &json!([]),
    );
    let text = shown(&Session::build(&Maker::uid(1), maker.records()));
    assert!(text.contains("x… (+4840 characters)"), "{text}");
    assert!(text.contains("… (+38 lines)"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_records_say_is_told(
        texts in proptest::collection::vec("(?s).{0,40}", 1..20),
        pids in proptest::collection::vec((1..8_u32, 1..8_u32), 1..20),
    ) {
        let mut maker = Maker::new(1, "agent");
        for (n, (text, (pid, parent))) in (0..).zip(texts.iter().zip(pids)) {
            maker.exec(n, pid, parent, text);
            let reply = json!([{"role": text, "parts": [{"type": text}, 7, {"type": "tool_call", "id": text}]}]);
            maker.model(n, 3, pid, &reply, &json!(text));
            if let Some(hoop_records::Fact::Api(api)) = &mut maker.last().fact {
                api.attributes[0].value.clone_from(text);
            }
            maker.mcp(n, pid, text, &json!(text), &json!({text.clone(): text}));
        }
        let session = Session::build(&Maker::uid(1), placed(maker.records()));
        let text = shown(&session);
        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
        crate::export::json(&session, &mut Vec::new()).unwrap();
        crate::export::otlp(&session, &mut Vec::new()).unwrap();
        crate::export::html(&session, &mut Vec::new()).unwrap();
    }
}
