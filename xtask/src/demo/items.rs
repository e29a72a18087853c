//! What is told: the agent's events and Hoop's records, both JSON objects with a boot time.

use serde_json::Value;

/// One fact.
#[derive(Clone, Debug)]
pub(crate) struct Item(pub(crate) Value);

/// All facts so far, each list in the order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// What Hoop recorded.
    pub(crate) records: Vec<Item>,
    /// What the agent said.
    pub(crate) events: Vec<Item>,
}

impl Item {
    /// The text at a JSON pointer; empty where there is none.
    pub(crate) fn text(&self, path: &str) -> &str {
        let value = self.0.pointer(path);
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The number at a JSON pointer.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        self.0.pointer(path).and_then(Value::as_u64)
    }

    /// An attribute of what was said, as JSON; empty where there is none.
    pub(crate) fn attribute(&self, key: &str) -> String {
        let value = self
            .0
            .pointer("/api/attributes")
            .and_then(|all| all.get(key));
        value.map(Value::to_string).unwrap_or_default()
    }

    /// What a model was told last, or answered: text, and the tools that it calls.
    pub(crate) fn said(&self, key: &str) -> String {
        let messages = self
            .0
            .pointer("/api/attributes")
            .and_then(|all| all.get(key));
        let messages = messages.and_then(Value::as_array);
        let parts = messages.and_then(|all| all.last()?.get("parts")?.as_array());
        let parts = parts.into_iter().flatten().map(|part| {
            let text = |key: &str| part.get(key).map(ToString::to_string).unwrap_or_default();
            match part["type"].as_str() {
                Some("tool_call") => format!("{}({})", text("name"), text("arguments")),
                Some("tool_call_response") => text("response"),
                _ => text("content"),
            }
        });
        parts.collect::<Vec<_>>().join(" ")
    }

    /// Nanoseconds since boot.
    pub(crate) fn time(&self) -> u64 {
        self.number("/boot_time_ns").unwrap_or(0)
    }

    /// A record's kind.
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// `allow`, `deny`, `shadow`, or empty.
    pub(crate) fn result(&self) -> &str {
        self.text("/verdict/result")
    }

    /// Whether this is a record about Hoop itself, of that kind and activity.
    pub(crate) fn is(&self, kind: &str, activity: &str) -> bool {
        self.kind() == kind && self.text("/lifecycle/activity") == activity
    }

    /// A destination as `tcp/192.0.2.1:443`.
    pub(crate) fn destination(&self) -> String {
        let protocol = self.text("/network/connection_info/protocol_name");
        let ip = self.text("/network/dst_endpoint/ip");
        match self.number("/network/dst_endpoint/port") {
            Some(port) => format!("{protocol}/{ip}:{port}"),
            None => format!("{protocol}/{ip}"),
        }
    }

    /// How many processes above it inside the workload are known.
    pub(crate) fn ancestors(&self) -> usize {
        let ancestry = self.0.pointer("/actor/ancestry");
        ancestry.and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// The process and those above it inside the workload: `python3 > sh > id[42]`.
    pub(crate) fn lineage(&self) -> String {
        let ancestors = self.0.pointer("/actor/ancestry").and_then(Value::as_array);
        let ancestors = ancestors.into_iter().flatten().rev();
        let mut line = String::new();
        for name in ancestors.filter_map(|ancestor| ancestor["name"].as_str()) {
            line.push_str(name);
            line.push_str(" > ");
        }
        line.push_str(self.text("/actor/process/name"));
        if let Some(pid) = self.number("/actor/process/pid") {
            line.push_str(&format!("[{pid}]"));
        }
        line
    }
}

impl Seen {
    /// The agent's events of one sort.
    pub(crate) fn agent<'s>(&'s self, event: &'s str) -> impl Iterator<Item = &'s Item> {
        self.events
            .iter()
            .filter(move |item| item.text("/event") == event)
    }
}
