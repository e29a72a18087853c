//! A record as one line.

use hoop_records::{Fact, Kind, Record};
use serde::Serialize;

use super::{Process, Time};
use crate::messages;

/// One record of a session.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Event {
    /// The record's number.
    pub number: u64,
    /// When it happened.
    pub time: Time,
    /// How long it took, in nanoseconds: for requests.
    pub duration_ns: u64,
    /// What sort of thing it is.
    pub category: Category,
    /// The kind of record.
    pub kind: &'static str,
    /// What happened.
    pub text: String,
    /// `allow`, `deny`, `shadow`; empty if nothing was judged.
    pub result: &'static str,
    /// Index of the process.
    pub process: Option<usize>,
    /// More: a name and a text each.
    pub details: Vec<(String, String)>,
}

/// What sort of thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A model or a tool was asked.
    Calls,
    /// A process began, ran a program, ended or moved.
    Processes,
    /// A destination, a socket, an API that is no model.
    Network,
    /// Anything else.
    #[default]
    Other,
}

impl Category {
    /// For a person.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Processes => "processes",
            Self::Network => "network",
            Self::Other => "other",
        }
    }
}

/// The line of a record, by which processes are known.
pub(super) fn of(record: &Record, process: Option<(usize, &Process)>) -> Event {
    let (category, text) = told(record, process.map(|(_, process)| process));
    let mut details = Vec::new();
    let mut detail = |name: &str, text: &str| {
        if !text.is_empty() {
            details.push((name.to_owned(), text.to_owned()));
        }
    };
    if let Some(verdict) = &record.verdict {
        detail("rule", &verdict.rule);
        detail("because", &verdict.because);
        detail("enforcement", &verdict.enforcement);
        detail("mode", &verdict.mode);
        detail("hook", &verdict.hook);
    }
    detail("attribution", &record.attribution);
    match &record.fact {
        Some(Fact::Api(api)) => {
            for attribute in &api.attributes {
                detail(&attribute.key, &messages::plain(&attribute.value));
            }
            let bodies = [
                (
                    "request",
                    api.http_request
                        .as_ref()
                        .and_then(|request| request.body.as_ref()),
                ),
                (
                    "response",
                    api.http_response
                        .as_ref()
                        .and_then(|response| response.body.as_ref()),
                ),
                (
                    "message",
                    api.message
                        .as_ref()
                        .and_then(|message| message.body.as_ref()),
                ),
            ];
            for (name, body) in bodies {
                detail(name, body.map_or("", |body| &body.text));
            }
            detail("incomplete", &api.incomplete.join("; "));
        }
        Some(Fact::Plaintext(plain)) => {
            detail("sent", plain.sent.as_ref().map_or("", |body| &body.text));
            detail(
                "received",
                plain.received.as_ref().map_or("", |body| &body.text),
            );
            detail("incomplete", &plain.incomplete.join("; "));
        }
        Some(Fact::Coverage(coverage)) => detail("not read", &coverage.uncovered.join("; ")),
        _ => {}
    }
    if let Some((_, process)) = process {
        detail("command", &process.cmd_line);
        detail("directory", &process.working_directory);
    }
    let duration_ns = match &record.fact {
        Some(Fact::Api(api)) => api.duration_ns,
        _ => 0,
    };
    let verdict = record.verdict.as_ref();
    Event {
        number: record.number,
        time: Time(record.time_dt),
        duration_ns,
        category,
        kind: record.kind().word(),
        text,
        result: verdict.map_or("", |verdict| verdict.result().word()),
        process: process.map(|(index, _)| index),
        details,
    }
}

/// `tcp 192.0.2.1:443`.
pub(super) fn destination(network: &hoop_records::NetworkActivity) -> String {
    let info = network.connection_info.as_ref();
    let protocol = info.map_or("", |info| &info.protocol_name);
    let to = network.dst_endpoint.as_ref().map(endpoint);
    format!("{protocol} {}", to.unwrap_or_default())
        .trim()
        .to_owned()
}

/// `192.0.2.1:443`, `[2001:db8::1]:443`.
pub(super) fn endpoint(endpoint: &hoop_records::Endpoint) -> String {
    match endpoint.port {
        Some(port) if endpoint.ip.contains(':') => format!("[{}]:{port}", endpoint.ip),
        Some(port) => format!("{}:{port}", endpoint.ip),
        None => endpoint.ip.clone(),
    }
}

/// What a request to an API is.
pub(super) fn request(api: &hoop_records::ApiActivity) -> String {
    if let Some(method) = messages::string(api, "mcp.method.name") {
        let what = ["gen_ai.tool.name", "gen_ai.prompt.name", "mcp.resource.uri"];
        let what = what.iter().find_map(|key| messages::string(api, key));
        return format!("mcp {method} {}", what.unwrap_or_default())
            .trim()
            .to_owned();
    }
    if let Some(request) = &api.http_request {
        let url = request.url.clone().unwrap_or_default();
        let scheme = if url.scheme.is_empty() { "" } else { "://" };
        let address = format!("{}{scheme}{}{}", url.scheme, url.hostname, url.path);
        return format!("{} {address}", request.http_method)
            .trim()
            .to_owned();
    }
    let direction = api
        .message
        .as_ref()
        .map_or("", |message| &message.direction);
    format!("{} {direction}", api.protocol).trim().to_owned()
}

fn told(record: &Record, process: Option<&Process>) -> (Category, String) {
    let command = || process.map_or_else(String::new, |process| process.cmd_line.clone());
    match &record.fact {
        Some(Fact::Process(activity)) => {
            let text = match record.kind() {
                Kind::Fork => "created".to_owned(),
                Kind::Exec => activity
                    .program
                    .as_ref()
                    .map_or_else(command, |program| program.path.clone()),
                Kind::Exit => ended(activity),
                Kind::Move if activity.escaped => {
                    format!("left the workload for {}", activity.cgroup)
                }
                Kind::Move => format!("moved to {}", activity.cgroup),
                _ => {
                    let target = activity.target.as_ref();
                    let target =
                        target.map(|target| format!(" of {}[{}]", target.name, target.pid));
                    format!("{}{}", activity.operation, target.unwrap_or_default())
                }
            };
            (Category::Processes, text)
        }
        Some(Fact::Network(network)) => (Category::Network, destination(network)),
        Some(Fact::Socket(socket)) => (Category::Network, format!("{} socket", socket.kind)),
        Some(Fact::Api(api)) if messages::is_model(api) => {
            let model = ["gen_ai.response.model", "gen_ai.request.model"];
            let model = model.iter().find_map(|key| messages::string(api, key));
            let mut text = format!("asks {}", model.as_deref().unwrap_or("a model"));
            let output = messages::output(api);
            for part in output.iter().flat_map(|message| &message.parts) {
                text.push_str(if text.contains(" -> ") { "; " } else { " -> " });
                match (part.is_call(), part.content) {
                    (true, _) => {
                        let arguments = part.arguments.map_or("", |json| json.get());
                        text.push_str(&format!(
                            "{}({arguments})",
                            part.name.as_deref().unwrap_or("?")
                        ));
                    }
                    (false, Some(content)) => text.push_str(&messages::plain(content.get())),
                    (false, None) => text.push_str(&part.kind),
                }
            }
            (Category::Calls, text)
        }
        Some(Fact::Api(api)) => {
            let category = if messages::attribute(api, "mcp.method.name").is_some() {
                Category::Calls
            } else {
                Category::Network
            };
            let code = api
                .http_response
                .as_ref()
                .map_or(0, |response| response.code);
            let status = if code == 0 {
                String::new()
            } else {
                format!(" -> {code}")
            };
            (category, format!("{}{status}", request(api)))
        }
        Some(Fact::Plaintext(plain)) => {
            let size =
                |body: &Option<hoop_records::Body>| body.as_ref().map_or(0, |body| body.size);
            let (sent, received) = (size(&plain.sent), size(&plain.received));
            let text = format!("{}: {sent} bytes sent, {received} received", plain.format);
            (Category::Network, text)
        }
        Some(Fact::Coverage(coverage)) => (Category::Other, coverage.reason.clone()),
        Some(Fact::Link(link)) => {
            let text = format!(
                "{} {} is {} (by {}, {:.2})",
                link.tool, link.call_id, link.process, link.joined_by, link.confidence
            );
            (Category::Calls, text)
        }
        Some(Fact::Gap(gap)) => (
            Category::Other,
            format!("{} events lost: {}", gap.count, gap.cause),
        ),
        Some(Fact::Lifecycle(lifecycle)) => {
            let text = format!(
                "{} {}: {}",
                lifecycle.activity, lifecycle.subject, lifecycle.detail
            );
            (Category::Other, text)
        }
        Some(Fact::Log(log)) => (Category::Other, format!("{} {}", log.activity, log.detail)),
        None => (Category::Other, String::new()),
    }
}

/// How a process ended.
pub(super) fn ended(activity: &hoop_records::ProcessActivity) -> String {
    match (activity.exit_code, activity.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
