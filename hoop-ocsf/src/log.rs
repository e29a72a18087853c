//! 1008 Event Log Activity: the audit log itself, and what is missing in it.

use hoop_records::{Gap, LogChange, Record};

use crate::Node;
use crate::event::{EVENT_LOG, Event, OTHER, Severity};
use crate::object::id;

/// Events were lost before they were written.
pub(crate) fn gap(record: &Record, node: &Node, fact: &Gap) -> Event {
    let mut event = of_log(record, node, (OTHER, "Lost"));
    event.severity(Severity::Medium);
    event.status(false);
    event.attributes.set(
        "message",
        format!(
            "{} events of CPU {} were lost: {}",
            fact.count, fact.cpu, fact.cause
        ),
    );
    event.unmapped.set_json("gap", fact);
    event
}

/// The log was opened, repaired, closed, or records were removed.
pub(crate) fn change(record: &Record, node: &Node, fact: &LogChange) -> Event {
    let (activity, severity) = match fact.activity.as_str() {
        "opened" => ((6, "Start"), Severity::Informational),
        "removed" => ((2, "Delete"), Severity::Informational),
        "closed" => ((5, "Rotate"), Severity::Informational),
        "repaired" => ((OTHER, "Repair"), Severity::Medium),
        "damaged" => ((OTHER, "Damage"), Severity::Critical),
        other => ((OTHER, id(other)), Severity::Medium),
    };
    let mut event = of_log(record, node, activity);
    event.severity(severity);
    event.attributes.set_text("message", &fact.detail);
    event.unmapped.set_json("log", fact);
    event
}

fn of_log(record: &Record, node: &Node, activity: (u64, &str)) -> Event {
    let mut event = Event::new(record, node, EVENT_LOG, activity);
    event.attributes.set("log_name", id(&node.log));
    event.attributes.set("log_provider", "hoop-agent");
    event.attributes.set("log_type_id", 2);
    event.attributes.set("log_type", "Application");
    event
}
