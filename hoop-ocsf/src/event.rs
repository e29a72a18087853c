//! What every event has.

use hoop_records::{Record, Result as Verdict, Rfc3339};
use serde_json::{Map, Value, json};

use crate::object::{Object, actor, hex, id};
use crate::{Node, VERSION, record_uid};

/// A class, as far as an event has it in itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub uid: u64,
    pub name: &'static str,
    pub category: (u64, &'static str),
}

pub(crate) const BASE: Class = Class {
    uid: 0,
    name: "Base Event",
    category: (0, "Uncategorized"),
};
pub(crate) const PROCESS: Class = Class {
    uid: 1007,
    name: "Process Activity",
    category: (1, "System Activity"),
};
pub(crate) const EVENT_LOG: Class = Class {
    uid: 1008,
    name: "Event Log Activity",
    category: (1, "System Activity"),
};
pub(crate) const FINDING: Class = Class {
    uid: 2004,
    name: "Detection Finding",
    category: (2, "Findings"),
};
pub(crate) const NETWORK: Class = Class {
    uid: 4001,
    name: "Network Activity",
    category: (4, "Network Activity"),
};
pub(crate) const LIFECYCLE: Class = Class {
    uid: 6002,
    name: "Application Lifecycle",
    category: (6, "Application Activity"),
};
pub(crate) const API: Class = Class {
    uid: 6003,
    name: "API Activity",
    category: (6, "Application Activity"),
};

/// An activity within a class, and its name.
pub(crate) type Activity<'a> = (u64, &'a str);

/// The activity that is in no dictionary, under a name of ours.
pub(crate) const OTHER: u64 = 99;

/// `severity_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
}

/// An event that is being made.
pub(crate) struct Event {
    pub attributes: Object,
    /// What has no attribute.
    pub unmapped: Object,
    profiles: Vec<&'static str>,
    metadata: Object,
}

impl Event {
    /// What every event has: class, time, where from, who, and what the policy said.
    pub(crate) fn new(record: &Record, node: &Node, class: Class, activity: Activity<'_>) -> Self {
        let mut attributes = Object::default();
        attributes.set("class_uid", class.uid);
        attributes.set("class_name", class.name);
        attributes.set("category_uid", class.category.0);
        attributes.set("category_name", class.category.1);
        attributes.set("activity_id", activity.0);
        attributes.set("activity_name", activity.1);
        attributes.set("type_uid", class.uid * 100 + activity.0);
        attributes.set("type_name", format!("{}: {}", class.name, activity.1));
        attributes.set("time", milliseconds(record.time_dt));
        attributes.set("time_dt", Rfc3339(record.time_dt).to_string());
        attributes.set("device", device(node));

        let mut metadata = Object::default();
        metadata.set("version", VERSION);
        metadata.set("product", product(node));
        metadata.set("uid", record_uid(node, record.number));
        metadata.set("sequence", record.number);
        metadata.set("log_name", node.log.as_str());
        metadata.set("event_code", record.kind().word());
        if let Some(trace) = &record.trace {
            metadata.set_text("correlation_uid", &hex(&trace.trace_id));
        }

        let mut event = Self {
            attributes,
            unmapped: Object::default(),
            // The last for a process's group and effective ids.
            profiles: vec!["datetime", "host", "linux/linux_users"],
            metadata,
        };
        if let Some(actor) = actor(record) {
            event.attributes.set("actor", actor);
        }
        event.unmapped(record);
        event.severity(Severity::Informational);
        event.verdict(record);
        event
    }

    /// An event of no class, for a record that says nothing.
    pub(crate) fn base(record: &Record, node: &Node) -> Self {
        Self::new(record, node, BASE, (OTHER, record.kind().word()))
    }

    pub(crate) fn severity(&mut self, severity: Severity) {
        self.attributes.set("severity_id", severity as u64);
        self.attributes.set("severity", format!("{severity:?}"));
    }

    /// `status_id`: whether what was tried was done.
    pub(crate) fn status(&mut self, success: bool) {
        let (id, name) = if success {
            (1, "Success")
        } else {
            (2, "Failure")
        };
        self.attributes.set("status_id", id);
        self.attributes.set("status", name);
    }

    /// Says that attributes of that profile may be there.
    pub(crate) fn profile(&mut self, profile: &'static str) {
        self.profiles.push(profile);
    }

    /// The actor, where the class demands one and nobody could say who it was.
    pub(crate) fn require_actor(&mut self) {
        if self.attributes.0.contains_key("actor") {
            return;
        }
        self.attributes
            .set("actor", json!({ "app_name": "unknown" }));
    }

    pub(crate) fn finish(mut self) -> Value {
        self.profiles.sort_unstable();
        self.metadata.set("profiles", self.profiles);
        self.attributes.set("metadata", self.metadata.into_value());
        if !self.unmapped.0.is_empty() {
            self.attributes.set("unmapped", self.unmapped.into_value());
        }
        self.attributes.into_value()
    }

    /// What the policy said: the profile `security_control`.
    fn verdict(&mut self, record: &Record) {
        let Some(verdict) = &record.verdict else {
            return;
        };
        let (action, disposition, status) = match verdict.result() {
            Verdict::Unspecified => return,
            Verdict::Allow => ((1, "Allowed"), (1, "Allowed"), Some(true)),
            Verdict::Shadow => ((3, "Observed"), (15, "Detected"), None),
            Verdict::Deny => match verdict.enforcement.as_str() {
                // It was to be stopped, and nothing could.
                "failed" => ((3, "Observed"), (27, "Error"), Some(true)),
                "dropped" => ((2, "Denied"), (6, "Dropped"), Some(false)),
                "reset" => ((2, "Denied"), (21, "Reset"), Some(false)),
                _ => ((2, "Denied"), (2, "Blocked"), Some(false)),
            },
        };
        self.profile("security_control");
        self.attributes.set("action_id", action.0);
        self.attributes.set("action", action.1);
        self.attributes.set("disposition_id", disposition.0);
        self.attributes.set("disposition", disposition.1);
        if let Some(success) = status {
            self.status(success);
        }
        if verdict.result() == Verdict::Shadow {
            self.severity(Severity::Low);
        }
        let mut rule = Object::default();
        rule.set_text("name", &verdict.rule);
        rule.set_text("desc", &verdict.because);
        rule.set_text("type", &verdict.hook);
        if rule.0.contains_key("name") {
            self.attributes.set("firewall_rule", rule.into_value());
        }
        if let Some(workload) = record.workload.as_ref().filter(|of| !of.policy.is_empty()) {
            let policy = json!({
                "name": workload.policy,
                "version": verdict.epoch.to_string(),
                "is_applied": verdict.mode == "enforce",
            });
            self.attributes.set("policy", policy);
        }
        let mut unmapped = Object::default();
        unmapped.set_text("result", verdict.result().word());
        unmapped.set_text("mode", &verdict.mode);
        unmapped.set_text("enforcement", &verdict.enforcement);
        self.unmapped.set("verdict", unmapped.into_value());
    }

    fn unmapped(&mut self, record: &Record) {
        self.unmapped.set("boot_time_ns", record.boot_time_ns);
        self.unmapped.set_text("attribution", &record.attribution);
        if let Some(origin) = &record.origin {
            self.unmapped.set_json("origin", origin);
        }
        if let Some(workload) = &record.workload {
            self.unmapped.set_json("workload", workload);
        }
        if let Some(trace) = &record.trace {
            self.unmapped.set_json("trace", trace);
        }
        let namespaces = record.actor.as_ref().and_then(|actor| {
            let process = actor.process.as_ref()?;
            process.namespaces.as_ref()
        });
        if let Some(namespaces) = namespaces {
            self.unmapped.set_json("namespaces", namespaces);
        }
    }
}

/// Hoop, as the product that reports or that something happens to.
pub(crate) fn product(node: &Node) -> Value {
    json!({ "name": "Hoop", "vendor_name": "Hoop", "uid": "hoop", "version": node.version })
}

fn device(node: &Node) -> Value {
    let mut device = Map::new();
    device.insert("hostname".into(), id(&node.hostname).into());
    device.insert("type_id".into(), 1.into());
    device.insert("type".into(), "Server".into());
    Value::Object(device)
}

/// `timestamp_t`: milliseconds since 1970.
pub(crate) fn milliseconds(nanoseconds: i64) -> i64 {
    nanoseconds.div_euclid(1_000_000)
}
