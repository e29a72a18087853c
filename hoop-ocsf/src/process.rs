//! 1007 Process Activity.

use hoop_records::{Kind, Link, ProcessActivity, Record, SocketActivity};
use serde_json::{Value, json};

use crate::Node;
use crate::event::{Event, OTHER, PROCESS};
use crate::object::{
    Object, file_object, hex, known_process, parent_object, process_object, process_of_key,
};

/// A process was created, runs a program, ended, or moved.
pub(crate) fn event(record: &Record, node: &Node, fact: Option<&ProcessActivity>) -> Event {
    let activity = match record.kind() {
        Kind::Fork | Kind::Exec => (1, "Launch"),
        Kind::Exit => (2, "Terminate"),
        Kind::Move => (OTHER, "Move"),
        _ => (OTHER, record.kind().word()),
    };
    let mut event = about_actor(record, node, activity);
    let launch = match record.kind() {
        Kind::Fork => Some((2, "Fork")),
        Kind::Exec => Some((3, "Exec")),
        _ => None,
    };
    if let Some((id, name)) = launch {
        event.attributes.set("launch_type_id", id);
        event.attributes.set("launch_type", name);
    }
    if let Some(fact) = fact {
        if let Some(code) = fact.exit_code {
            event.attributes.set("exit_code", code);
        }
        if let Some(moved_by) = &fact.moved_by {
            let mover = json!({ "process": parent_object(moved_by, record) });
            event.attributes.set("actor", mover);
        }
        event.unmapped.set_json("process", &rest(fact));
    }
    event
}

/// A socket was asked for.
pub(crate) fn socket(record: &Record, node: &Node, fact: &SocketActivity) -> Event {
    let mut event = about_actor(record, node, (OTHER, "Socket"));
    event.unmapped.set_json("socket", fact);
    event
}

/// A tool call of a model was carried out.
pub(crate) fn link(record: &Record, node: &Node, fact: &Link) -> Event {
    let mut event = about_actor(record, node, (OTHER, "Tool Call"));
    if !fact.process.is_empty() {
        let process = process_of_key(&fact.process, record);
        event.attributes.set("process", process);
    }
    event.attributes.set(
        "message",
        format!("the tool call {:?} was carried out", fact.tool),
    );
    event.unmapped.set_json("link", fact);
    event
}

/// What is in no attribute of a finding or an activity.
pub(crate) fn rest(fact: &ProcessActivity) -> ProcessActivity {
    ProcessActivity {
        exit_code: None,
        ..fact.clone()
    }
}

/// The process that a finding or an activity is about, with the program that it was not to run.
pub(crate) fn subject(record: &Record) -> Option<Value> {
    let process = known_process(record)?;
    Some(process_object(process, record).into_value())
}

/// The program that was refused.
pub(crate) fn program(fact: &ProcessActivity) -> Option<Value> {
    fact.program.as_ref().map(file_object)
}

fn about_actor(record: &Record, node: &Node, activity: (u64, &str)) -> Event {
    let mut event = Event::new(record, node, PROCESS, activity);
    let process = subject(record).unwrap_or_else(|| {
        let mut unknown = Object::default();
        let span = record.trace.as_ref().map(|trace| hex(&trace.span_id));
        unknown.set(
            "uid",
            span.filter(|span| !span.is_empty())
                .unwrap_or_else(|| "unknown".into()),
        );
        unknown.into_value()
    });
    event.attributes.set("process", process);
    event.require_actor();
    event
}
