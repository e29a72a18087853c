//! 6002 Application Lifecycle: Hoop, its policies and its workloads.

use hoop_records::{Kind, Lifecycle, Record};
use serde_json::json;

use crate::Node;
use crate::event::{Event, LIFECYCLE, OTHER, Severity, product};
use crate::object::{Object, id};

/// Something about Hoop itself.
pub(crate) fn event(record: &Record, node: &Node, fact: &Lifecycle) -> Event {
    let activity = match fact.activity.as_str() {
        "started" => (3, "Start"),
        "stopped" => (4, "Stop"),
        "tagged" | "attached" => (6, "Enable"),
        "untagged" | "released" => (7, "Disable"),
        "loaded" => (8, "Update"),
        other => (OTHER, id(other)),
    };
    let mut event = Event::new(record, node, LIFECYCLE, activity);
    let bad = matches!(fact.activity.as_str(), "refused" | "degraded");
    event.status(!bad);
    if bad {
        event.severity(Severity::Medium);
    }
    let app = match (record.kind(), &record.workload) {
        (Kind::Workload, Some(workload)) => {
            let mut app = Object::default();
            app.set("name", id(&workload.policy));
            app.set_text("uid", &workload.identity);
            app.set_text("path", &workload.cgroup);
            app.into_value()
        }
        (Kind::Workload | Kind::Policy, _) if !fact.subject.is_empty() => {
            json!({ "name": fact.subject })
        }
        _ => product(node),
    };
    event.attributes.set("app", app);
    event.attributes.set_text("message", &fact.detail);
    event.unmapped.set_json("lifecycle", fact);
    event
}
