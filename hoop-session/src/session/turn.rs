//! A request to a model becomes a turn.

use hoop_records::{ApiActivity, Fact, Record};

use super::{Call, Said, Time, Turn, event};
use crate::ids::{Ids, SpanId};
use crate::messages::{self, Part};

/// A result of a call that a request sends: the call's id, the tool, what it says, and whether it is an error.
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) text: String,
    pub(super) is_error: bool,
}

/// The turn, and the results that its request sent.
pub(super) fn of(
    record: &Record,
    api: &ApiActivity,
    span: SpanId,
    process: Option<usize>,
) -> (Turn, Vec<Sent>) {
    let (input, output) = (messages::input(api), messages::output(api));
    let news = messages::news(&input);
    let mut sent = Vec::new();
    let mut turn = Turn {
        number: record.number,
        span,
        process,
        start: Time(record.time_dt),
        end: Time(record.time_dt.saturating_add_unsigned(api.duration_ns)),
        history: input.len() - news.len(),
        input_tokens: messages::number(api, "gen_ai.usage.input_tokens"),
        output_tokens: messages::number(api, "gen_ai.usage.output_tokens"),
        status: api
            .http_response
            .as_ref()
            .map_or(0, |response| response.code),
        incomplete: api.incomplete.clone(),
        masked: api
            .masked
            .iter()
            .map(|masked| (masked.class.clone(), masked.count))
            .collect(),
        destination: destination(api),
        attributes: attributes(api),
        ..Turn::default()
    };
    let word = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| messages::string(api, key))
            .unwrap_or_default()
    };
    turn.provider = word(&["gen_ai.provider.name"]);
    turn.operation = word(&["gen_ai.operation.name"]);
    turn.model = word(&["gen_ai.response.model", "gen_ai.request.model"]);
    turn.error = word(&["error.message", "error.type"]);
    for message in news {
        for part in &message.parts {
            let said = said(&message.role, part);
            if part.is_result() {
                sent.push(Sent {
                    id: said.call.clone(),
                    tool: part.name.clone().unwrap_or_default(),
                    text: said.text.clone(),
                    is_error: part.is_error == Some(true),
                });
            }
            turn.input.push(said);
        }
    }
    for message in &output {
        for part in &message.parts {
            if part.is_call() {
                turn.calls.push(call(span, turn.calls.len(), part));
            } else {
                turn.output.push(said(&message.role, part));
            }
        }
    }
    (turn, sent)
}

/// The attributes of a request, values as JSON.
pub(super) fn attributes(api: &ApiActivity) -> Vec<(String, String)> {
    let all = api.attributes.iter();
    all.map(|attribute| (attribute.key.clone(), attribute.value.clone()))
        .collect()
}

/// What a record of an API says, if it is one.
pub(super) fn api(record: &Record) -> Option<&ApiActivity> {
    match &record.fact {
        Some(Fact::Api(api)) => Some(api),
        _ => None,
    }
}

fn destination(api: &ApiActivity) -> String {
    let url = api
        .http_request
        .as_ref()
        .and_then(|request| request.url.as_ref());
    if let Some(url) = url.filter(|url| !url.hostname.is_empty()) {
        return url.hostname.clone();
    }
    let connection = api.connection.as_ref();
    let endpoint = connection.and_then(|connection| connection.dst_endpoint.as_ref());
    endpoint.map(event::endpoint).unwrap_or_default()
}

fn call(request: SpanId, place: usize, part: &Part<'_>) -> Call {
    let id = part.id.clone().unwrap_or_default();
    Call {
        span: Ids::call(request, &id, place),
        tool: part.name.clone().unwrap_or_default(),
        arguments: part
            .arguments
            .map(|json| messages::plain(json.get()))
            .unwrap_or_default(),
        id,
        ..Call::default()
    }
}

fn said(role: &str, part: &Part<'_>) -> Said {
    let text = part.content.or(part.response);
    Said {
        role: role.to_owned(),
        kind: part.kind.clone(),
        call: part.id.clone().unwrap_or_default(),
        text: text
            .map(|json| messages::plain(json.get()))
            .unwrap_or_default(),
    }
}
