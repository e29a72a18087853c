//! Every kind of record is a valid event of its class, by the classes as they are published.
#![expect(clippy::unwrap_used, reason = "tests")]

mod kinds;

use std::io::Write as _;
use std::process::{Command, Stdio};

use hoop_ocsf::{Node, to_ocsf};
use hoop_records::{Kind, Record};
use serde_json::{Value, json};

fn node() -> Node {
    Node {
        hostname: "node-1".into(),
        log: "node-1-7f3a".into(),
        version: "0.1.0".into(),
    }
}

/// What the validator says of each event: its class, and `ok` or what is wrong.
fn validate<'a>(events: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let python = std::env::var("HOOP_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validate.py");
    let mut child = Command::new(&python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = events.map(|event| format!("{event}\n")).collect();
    let mut input = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        // Fails if the validator ends early: then its status says why.
        let _ = input.write_all(lines.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(
        output.status.success(),
        "{python} (HOOP_PYTHON) needs the packages jsonschema, ocsf-json-schema and py-ocsf-models"
    );
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

#[test]
fn every_kind_is_valid_and_what_is_not_is_refused() {
    let records = kinds::all();
    for number in 0..=18 {
        let kind = Kind::try_from(number).unwrap();
        assert!(
            records.iter().any(|record| record.kind() == kind),
            "{kind:?}"
        );
    }
    let mut events: Vec<_> = records
        .iter()
        .map(|record| to_ocsf(record, &node()))
        .collect();
    let valid = events.len();

    // That the validator can refuse.
    let of_class = |uid: u64| {
        events
            .iter()
            .find(|event| event["class_uid"] == uid)
            .unwrap()
            .clone()
    };
    let broken = |mut event: Value, change: &dyn Fn(&mut Value)| {
        change(&mut event);
        event
    };
    let refused = [
        broken(of_class(4001), &|event| event["severity_id"] = json!(7)),
        broken(of_class(4001), &|event| event["time"] = json!("now")),
        broken(of_class(4001), &|event| event["connections"] = json!(1)),
        broken(of_class(1007), &|event| event["type_uid"] = json!(100_708)),
        broken(of_class(1007), &|event| {
            event["actor"]["process"]["pid"] = json!("1");
        }),
        broken(of_class(1007), &|event| {
            event.as_object_mut().unwrap().remove("process");
        }),
        broken(of_class(2004), &|event| {
            event["finding_info"].as_object_mut().unwrap().remove("uid");
        }),
        broken(of_class(2004), &|event| event["evidences"] = json!([{}])),
        broken(of_class(6003), &|event| {
            event["api"]["operation"] = Value::Null;
        }),
        broken(of_class(6003), &|event| {
            event["http_request"]["http_method"] = json!("GRAB");
        }),
    ];
    events.extend(refused);

    let said = validate(events.iter());
    assert_eq!(said.len(), events.len());
    let wrong: Vec<_> = (said.iter().enumerate())
        .filter(|(at, said)| said.ends_with(" ok") != (*at < valid))
        .map(|(at, said)| format!("{at}: {said}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_kind_has_its_class() {
    for (kind, deny, class) in [
        (Kind::Fork, false, 1007),
        (Kind::Exec, false, 1007),
        (Kind::Exec, true, 2004),
        (Kind::Exit, false, 1007),
        (Kind::Connect, false, 4001),
        (Kind::Connect, true, 2004),
        (Kind::Packet, false, 4001),
        (Kind::Reset, false, 2004),
        (Kind::Socket, false, 1007),
        (Kind::Gap, false, 1008),
        (Kind::Log, false, 1008),
        (Kind::Workload, false, 6002),
        (Kind::Policy, false, 6002),
        (Kind::Agent, false, 6002),
        (Kind::Tamper, false, 2004),
        (Kind::Api, false, 6003),
        (Kind::Plaintext, false, 4001),
        (Kind::Coverage, false, 2004),
        (Kind::Link, false, 1007),
        (Kind::Unspecified, false, 0),
    ] {
        let record = kinds::all().into_iter().find(|record| {
            let denied = record
                .verdict
                .as_ref()
                .is_some_and(|verdict| verdict.result == 2);
            record.kind() == kind && denied == deny && record.number > 0
        });
        let event = to_ocsf(&record.unwrap(), &node());
        assert_eq!(event["class_uid"], class, "{kind:?}, denied: {deny}");
    }
}

#[test]
fn a_record_has_one_name_and_its_session_another() {
    let record = kinds::full(Kind::Connect);
    let event = to_ocsf(&record, &node());
    let metadata = &event["metadata"];
    assert_eq!(metadata["uid"], "node-1-7f3a/42");
    assert_eq!(
        metadata["correlation_uid"],
        "0102030405060708090a0b0c0d0e0f10"
    );
    assert_eq!(event["time"], 1_795_597_886_123_i64);
    assert_eq!(
        event["actor"]["app_uid"],
        "spiffe://example.org/agents/copilot"
    );
    assert_eq!(event["actor"]["user"]["name"], "user:alice@example.org");
}

#[test]
fn a_verdict_says_what_was_done_and_how_bad_it_is() {
    for (result, enforcement, action, disposition, severity) in [
        (1, "", 1, 1, 1),
        (2, "refused", 2, 2, 3),
        (2, "killed", 2, 2, 3),
        (2, "dropped", 2, 6, 3),
        (2, "reset", 2, 21, 3),
        // It was to be stopped, and was not.
        (2, "failed", 3, 27, 5),
        // Never told as a denial.
        (3, "", 3, 15, 2),
    ] {
        let event = to_ocsf(&kinds::judged(result, enforcement), &node());
        let told = ["action_id", "disposition_id", "severity_id"].map(|name| event[name].as_u64());
        assert_eq!(
            told,
            [action, disposition, severity].map(Some),
            "{result} {enforcement}"
        );
        assert_eq!(event["class_uid"] == 2004, result == 2);
        assert_eq!(event["firewall_rule"]["name"], "metadata");
    }
}

#[test]
fn a_call_of_a_model_says_which_and_how_much() {
    let event = to_ocsf(&kinds::full(Kind::Api), &node());
    assert_eq!(
        event["ai_model"],
        json!({ "name": "m-large-2", "ai_provider": "openai" })
    );
    let context = &event["message_context"];
    assert_eq!(context["total_tokens"], 130);
    assert_eq!(event["api"]["operation"], "chat");
    assert_eq!(
        event["trace"]["span"]["end_time"],
        1_795_597_886_123_i64 + 1500
    );
    assert_eq!(event["http_request"]["url"]["query_string"], "v=1");
}

#[test]
fn a_record_of_nothing_is_an_event_as_well() {
    let event = to_ocsf(&Record::default(), &node());
    assert_eq!(event["class_uid"], 0);
}
