//! OCSF objects that several classes have.

use hoop_records::{Endpoint, File, Hex, ParentProcess, Process, Record};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::event::milliseconds;

/// A JSON object that is being made.
#[derive(Default)]
pub(crate) struct Object(pub Map<String, Value>);

impl Object {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Sets it unless it is empty.
    pub(crate) fn set_text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.set(name, text);
        }
    }

    /// Sets it as the record's own JSON has it, unless that says nothing.
    pub(crate) fn set_json(&mut self, name: &str, value: &impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or_default();
        let nothing = match &value {
            Value::Null => true,
            Value::Object(object) => object.is_empty(),
            Value::Array(array) => array.is_empty(),
            _ => false,
        };
        if !nothing {
            self.set(name, value);
        }
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// A name that must be there.
pub(crate) fn id(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

/// `actor`: the process, its session, the workload's identity and whom it acts for.
pub(crate) fn actor(record: &Record) -> Option<Value> {
    let mut object = Object::default();
    if let Some(actor) = &record.actor {
        if let Some(process) = known_process(record) {
            let mut value = process_object(process, record);
            if !actor.ancestry.is_empty() {
                let ancestry = actor.ancestry.iter().map(|ancestor| {
                    let mut entity = Object::default();
                    entity.set("pid", ancestor.pid);
                    entity.set_text("name", &ancestor.name);
                    entity.into_value()
                });
                value.set("ancestry", ancestry.collect::<Vec<_>>());
            }
            object.set("process", value.into_value());
        }
        if let Some(session) = &actor.session {
            object.set("session", json!({ "uid": id(&session.uid) }));
        }
    }
    if let Some(workload) = &record.workload {
        object.set_text("app_uid", &workload.identity);
        object.set_text("app_name", &workload.policy);
        if !workload.on_behalf_of.is_empty() {
            object.set("user", json!({ "name": workload.on_behalf_of }));
        }
    }
    (!object.0.is_empty()).then(|| object.into_value())
}

/// The record's process, if anything of it is known.
pub(crate) fn known_process(record: &Record) -> Option<&Process> {
    let process = record.actor.as_ref()?.process.as_ref()?;
    (process.pid != 0 || !process.uid.is_empty()).then_some(process)
}

/// `process`.
pub(crate) fn process_object(process: &Process, record: &Record) -> Object {
    let mut object = process_name(process.pid, &process.uid, &process.name, record);
    if let Some(file) = &process.file {
        object.set("file", file_object(file));
    }
    object.set_text("cmd_line", &process.cmd_line);
    object.set_text("working_directory", &process.working_directory);
    if let Some(user) = &process.user {
        if let Some(uid) = user.uid {
            object.set("user", json!({ "uid": uid.to_string() }));
        }
        if let Some(gid) = user.gid {
            object.set("group", json!({ "uid": gid.to_string() }));
        }
        if let Some(euid) = user.euid {
            object.set("euid", euid);
        }
        if let Some(egid) = user.egid {
            object.set("egid", egid);
        }
    }
    if let Some(parent) = &process.parent_process {
        object.set("parent_process", parent_object(parent, record));
    }
    object
}

/// `process`, as far as a parent or a target is known.
pub(crate) fn parent_object(parent: &ParentProcess, record: &Record) -> Value {
    process_name(parent.pid, &parent.uid, &parent.name, record).into_value()
}

/// `process`, of which nothing but its key is known.
pub(crate) fn process_of_key(key: &str, record: &Record) -> Value {
    let pid = key.split('-').next().and_then(|pid| pid.parse().ok());
    process_name(pid.unwrap_or_default(), key, "", record).into_value()
}

fn process_name(pid: u32, key: &str, name: &str, record: &Record) -> Object {
    let mut object = Object::default();
    if pid != 0 {
        object.set("pid", pid);
    }
    object.set("uid", id(key));
    object.set_text("name", name);
    if let Some(created) = created(key, record) {
        object.set("created_time", milliseconds(created));
    }
    object
}

/// When the process of that key was created: nanoseconds since 1970, by the clocks as the record has them.
fn created(key: &str, record: &Record) -> Option<i64> {
    let (_, start) = key.split_once('-')?;
    let start: i64 = start.parse().ok()?;
    let boot = record.time_dt.checked_sub_unsigned(record.boot_time_ns)?;
    (record.boot_time_ns != 0).then(|| boot.checked_add(start))?
}

/// `file`: a program.
pub(crate) fn file_object(file: &File) -> Value {
    let mut object = Object::default();
    let name = file.path.rsplit('/').next().unwrap_or_default();
    object.set("name", id(name));
    object.set_text("path", &file.path);
    object.set("type_id", 8);
    object.set("type", "Executable File");
    object.into_value()
}

/// `network_endpoint`; nothing if there is no address.
pub(crate) fn endpoint(endpoint: Option<&Endpoint>) -> Option<Object> {
    let endpoint = endpoint.filter(|endpoint| !endpoint.ip.is_empty())?;
    let mut object = Object::default();
    object.set("ip", endpoint.ip.as_str());
    if let Some(port) = endpoint.port.filter(|&port| port <= u32::from(u16::MAX)) {
        object.set("port", port);
    }
    Some(object)
}
