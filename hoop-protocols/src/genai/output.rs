//! A response as it grows: parts by their place, within a budget.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Choice, Error, Issue, Message, Part, Response, Usage};
use super::json::{Json, Notes};
use super::parts;

/// Where a part stands: choice, item of it, part of that.
pub(super) type Place = (u64, u64, u64);

/// What a part costs of the budget beside its text.
const PART: usize = 128;

/// A response as it grows.
#[derive(Debug)]
pub(super) struct Output {
    /// What is known apart from the choices.
    pub response: Response,
    pub issues: BTreeSet<Issue>,
    /// Something of the interface's shape was there.
    pub shaped: bool,
    /// It said itself that all of it was told.
    pub finished: bool,
    choices: BTreeMap<u64, Choice>,
    parts: BTreeMap<Place, Part>,
    left: usize,
}

impl Output {
    /// Keeps up to `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            response: Response::default(),
            issues: BTreeSet::new(),
            shaped: false,
            finished: false,
            choices: BTreeMap::new(),
            parts: BTreeMap::new(),
            left: budget,
        }
    }

    /// The response, its parts in their places.
    pub(super) fn into_response(self) -> (Response, BTreeSet<Issue>) {
        let Self {
            mut response,
            issues,
            mut choices,
            parts,
            ..
        } = self;
        for ((choice, _, _), part) in parts {
            choices.entry(choice).or_default().message.parts.push(part);
        }
        response.choices = choices.into_values().collect();
        for Choice {
            message: Message { role, .. },
            finish_reason,
        } in &mut response.choices
        {
            if role.is_empty() {
                "assistant".clone_into(role);
            }
            // Begun, and then there was no room for it.
            finish_reason.take_if(|reason| reason.is_empty());
        }
        (response, issues)
    }

    pub(super) fn set_id(&mut self, json: &Json) {
        set(&mut self.response.id, json);
    }

    pub(super) fn set_model(&mut self, json: &Json) {
        set(&mut self.response.model, json);
    }

    /// The role of a choice, if it is told.
    pub(super) fn set_role(&mut self, choice: u64, json: &Json) {
        self.set_label(choice, json, |choice| &mut choice.message.role);
    }

    /// Why a choice ended, if it is told.
    pub(super) fn set_finish(&mut self, choice: u64, json: &Json) {
        self.set_label(choice, json, |choice| {
            choice.finish_reason.get_or_insert_default()
        });
    }

    /// An `error` member: an object with a message and a type, code or status, or just a text.
    pub(super) fn set_error(&mut self, json: &Json) {
        if json.is_null() {
            return;
        }
        self.finished = true;
        let kind = ["type", "status", "code"]
            .iter()
            .find_map(|key| parts::name(json.get(key)));
        let message = match json.get("message") {
            Json::Null if json.is_object() => Some(parts::text_without_data(json)),
            Json::Null => json.text(),
            message => message.text(),
        };
        let text = |text: Option<String>| text.map(|text| cut(&text, self.left).to_owned());
        self.response.error = Some(Error {
            kind: text(kind),
            message: text(message),
        });
    }

    /// Takes over the counts that are told.
    pub(super) fn set_usage(&mut self, told: Usage) {
        let usage = &mut self.response.usage;
        usage.input = told.input.or(usage.input);
        usage.output = told.output.or(usage.output);
        usage.cache_read = told.cache_read.or(usage.cache_read);
        usage.cache_creation = told.cache_creation.or(usage.cache_creation);
        usage.reasoning = told.reasoning.or(usage.reasoning);
    }

    /// A whole part; what stood there is replaced.
    pub(super) fn put(&mut self, place: Place, mut part: Part) {
        self.remove(place);
        if self.choice(place.0).is_none() || !self.charge(PART + part.labels()) {
            return;
        }
        if let Some(text) = part.text_mut() {
            let kept = cut(text, self.left).len();
            if kept < text.len() {
                text.truncate(kept);
                self.issues.insert(Issue::ResponseTruncated);
            }
            self.left -= kept;
        }
        self.parts.insert(place, part);
    }

    /// Whole parts of an item; what stood there is replaced.
    pub(super) fn put_item(&mut self, choice: u64, item: u64, parts: Vec<Part>) {
        let old: Vec<_> = self
            .parts
            .range((choice, item, 0)..=(choice, item, u64::MAX))
            .map(|(p, _)| *p)
            .collect();
        for place in old {
            self.remove(place);
        }
        for (i, part) in (0..).zip(parts) {
            self.put((choice, item, i), part);
        }
    }

    /// Removes all parts.
    pub(super) fn clear(&mut self) {
        while let Some((place, _)) = self.parts.first_key_value() {
            let place = *place;
            self.remove(place);
        }
    }

    /// More text of a part, which is begun if it is not there.
    pub(super) fn append(&mut self, place: Place, text: &str, begin: impl FnOnce() -> Part) {
        if text.is_empty() {
            return;
        }
        if !self.parts.contains_key(&place) {
            self.put(place, begin());
        }
        let kept = cut(text, self.left);
        let part = self.parts.get_mut(&place);
        let whole = part.and_then(|part| match part {
            Part::Blob { transcript, .. } => Some(transcript.get_or_insert_default()),
            part => part.text_mut(),
        });
        if let Some(whole) = whole {
            whole.push_str(kept);
            self.left -= kept.len();
            if kept.len() < text.len() {
                self.issues.insert(Issue::ResponseTruncated);
            }
        }
    }

    /// The part that stands there.
    pub(super) fn part(&mut self, place: Place) -> Option<&mut Part> {
        self.parts.get_mut(&place)
    }

    /// The last part of a choice.
    pub(super) fn last(&self, choice: u64) -> Option<(Place, &Part)> {
        let all = (choice, 0, 0)..=(choice, u64::MAX, u64::MAX);
        self.parts
            .range(all)
            .next_back()
            .map(|(place, part)| (*place, part))
    }

    /// Whether all of it was told: it said so, or every choice has a reason to have ended.
    pub(super) fn is_finished(&self) -> bool {
        let mut choices = self.choices.values();
        let ended = |choice: &Choice| {
            choice
                .finish_reason
                .as_deref()
                .is_some_and(|r| !r.is_empty())
        };
        self.finished || (!self.choices.is_empty() && choices.all(ended))
    }

    /// What was wrong with a document of the response.
    pub(super) fn note(&mut self, notes: Notes) {
        note(&mut self.issues, notes, Issue::ResponseMalformed);
    }

    fn choice(&mut self, index: u64) -> Option<&mut Choice> {
        if !self.choices.contains_key(&index) && !self.charge(PART) {
            return None;
        }
        Some(self.choices.entry(index).or_default())
    }

    fn remove(&mut self, place: Place) {
        if let Some(mut part) = self.parts.remove(&place) {
            let text = part.text_mut().map_or(0, |text| text.len());
            self.left += PART + part.labels() + text;
        }
    }

    fn set_label(&mut self, index: u64, json: &Json, field: fn(&mut Choice) -> &mut String) {
        let Some(label) = parts::name(json) else {
            return;
        };
        // Told with every chunk, it costs once.
        let told = self
            .choices
            .get_mut(&index)
            .is_some_and(|choice| *field(choice) == label);
        if !told
            && self.charge(label.len())
            && let Some(choice) = self.choice(index)
        {
            *field(choice) = label;
        }
    }

    /// Takes bytes of the budget; false if it has not so many.
    pub(super) fn charge(&mut self, bytes: usize) -> bool {
        if self.left < bytes {
            self.issues.insert(Issue::ResponseTruncated);
            return false;
        }
        self.left -= bytes;
        true
    }
}

impl Part {
    /// Bytes of its names and identifiers, that do not grow.
    fn labels(&self) -> usize {
        let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        match self {
            Self::Text(_) | Self::Reasoning(_) | Self::Refusal(_) => 0,
            Self::ToolCall(call) => len(&call.id) + call.name.len(),
            Self::ServerToolCall { kind, call } => kind.len() + len(&call.id) + call.name.len(),
            Self::ToolResult(result) => len(&result.id) + len(&result.name),
            Self::ServerToolResult { kind, result } => {
                kind.len() + len(&result.id) + len(&result.name)
            }
            Self::Blob { mime_type, .. } | Self::Uri { mime_type, .. } => len(mime_type),
            Self::File { mime_type, id, .. } => len(mime_type) + id.len(),
            Self::Other { kind, .. } => kind.len(),
        }
    }

    /// The text of it that grows.
    pub(super) fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Refusal(text) => Some(text),
            Self::ToolCall(call) | Self::ServerToolCall { call, .. } => Some(&mut call.arguments),
            Self::ToolResult(result) | Self::ServerToolResult { result, .. } => {
                Some(&mut result.content)
            }
            Self::Blob { transcript, .. } => transcript.as_mut(),
            Self::Uri { uri, .. } => Some(uri),
            Self::Other { content, .. } => Some(content),
            Self::File { .. } => None,
        }
    }
}

/// Issues of the notes of a document; `malformed` is the one for what cannot be read.
pub(crate) fn note(issues: &mut BTreeSet<Issue>, notes: Notes, malformed: Issue) {
    let found = [
        (notes.cut || notes.malformed, malformed),
        (notes.skipped, Issue::Skipped),
        (notes.repeated_key, Issue::RepeatedKey),
        (notes.replaced, Issue::TextReplaced),
    ];
    issues.extend(
        found
            .into_iter()
            .filter(|(there, _)| *there)
            .map(|(_, issue)| issue),
    );
}

/// The longest start of a text that is not longer than `bytes`.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn set(field: &mut Option<String>, json: &Json) {
    // Azure's first chunk has an empty model and an empty identifier.
    if let Some(text) = parts::name(json) {
        *field = Some(text);
    }
}
