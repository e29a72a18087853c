//! Which sessions there are, and the one that a name means.

use std::collections::{BTreeSet, HashMap};

use hoop_records::{Fact, Record, Result as Verdict};
use serde::Serialize;
use thiserror::Error;

use super::build::session_of;
use super::{Session, Time};
use crate::messages;

/// Names that an error lists.
const MAX_NAMES: usize = 8;

/// A session, in a line.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// The process key of its first process.
    pub uid: String,
    /// SPIFFE ID.
    pub identity: String,
    /// Whom it acts for.
    pub on_behalf_of: String,
    /// Name of the policy.
    pub policy: String,
    /// Its first process, by name, as far as it was seen.
    pub agent: String,
    /// First and last record.
    pub start: Time,
    /// See `start`.
    pub end: Time,
    /// Requests to models.
    pub turns: u64,
    /// Programs that were started.
    pub execs: u64,
    /// Destinations that were judged.
    pub connections: u64,
    /// Things that were refused, without what only would have been.
    pub denied: u64,
    /// Records of it.
    pub records: u64,
}

/// There is no session of that name, or more than one.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FindError {
    /// No session is called so.
    #[error("no session is called {0:?}: `session list` has their names")]
    None(String),
    /// More than one begins so.
    #[error("more than one session begins with {name:?}: {}", .among.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Some of them.
        among: Vec<String>,
    },
}

/// The sessions of some records, the earliest first. Memory is that of the rows.
pub fn list(records: impl IntoIterator<Item = Record>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for record in records {
        let Some(uid) = session_of(&record) else {
            continue;
        };
        let place = places.get(uid).copied().unwrap_or_else(|| {
            rows.push(Row {
                uid: uid.to_owned(),
                start: Time(record.time_dt),
                end: Time(record.time_dt),
                ..Row::default()
            });
            places.insert(uid.to_owned(), rows.len() - 1);
            rows.len() - 1
        });
        rows[place].take(&record);
    }
    rows.sort_by(|a, b| (a.start, &a.uid).cmp(&(b.start, &b.uid)));
    rows
}

impl Session {
    /// The session that `name` means: its uid, or the front of one and no other.
    ///
    /// # Errors
    ///
    /// No session is called so, or more than one.
    pub fn find(records: impl IntoIterator<Item = Record>, name: &str) -> Result<Self, FindError> {
        let mut kept: Vec<Record> = Vec::new();
        let mut among: BTreeSet<String> = BTreeSet::new();
        for record in records {
            let Some(uid) = session_of(&record) else {
                kept.extend(surrounds(&record).then_some(record));
                continue;
            };
            if !uid.starts_with(name) {
                continue;
            }
            let is_new = !among.contains(uid);
            if is_new && among.len() <= MAX_NAMES {
                among.insert(uid.to_owned());
            }
            // With more than one, only the whole name can still be meant.
            if among.len() == 1 || uid == name {
                kept.push(record);
            } else if is_new && among.len() == 2 {
                kept.retain(|kept| session_of(kept).is_none_or(|uid| uid == name));
            }
        }
        let exact = kept.iter().any(|record| session_of(record) == Some(name));
        match among.first() {
            None => Err(FindError::None(name.to_owned())),
            Some(_) if exact => Ok(Self::build(name, kept)),
            Some(uid) if among.len() == 1 => Ok(Self::build(uid, kept)),
            Some(_) => Err(FindError::Ambiguous {
                name: name.to_owned(),
                among: among.into_iter().take(MAX_NAMES).collect(),
            }),
        }
    }
}

/// Whether a record of no session may tell something of one.
fn surrounds(record: &Record) -> bool {
    matches!(
        record.fact,
        Some(Fact::Gap(_) | Fact::Lifecycle(_) | Fact::Network(_))
    )
}

impl Row {
    fn take(&mut self, record: &Record) {
        let time = Time(record.time_dt);
        self.records += 1;
        self.start = self.start.min(time);
        self.end = self.end.max(time);
        if let Some(workload) = record.workload.as_ref().filter(|_| self.policy.is_empty()) {
            self.identity.clone_from(&workload.identity);
            self.on_behalf_of.clone_from(&workload.on_behalf_of);
            self.policy.clone_from(&workload.policy);
        }
        let process = record
            .actor
            .as_ref()
            .and_then(|actor| actor.process.as_ref());
        if let Some(process) = process.filter(|process| process.uid == self.uid) {
            self.agent.clone_from(&process.name);
        }
        match &record.fact {
            Some(Fact::Api(api)) => {
                self.end = self.end.max(Time(
                    record.time_dt.saturating_add_unsigned(api.duration_ns),
                ));
                self.turns += u64::from(messages::is_model(api));
            }
            Some(Fact::Network(_)) => self.connections += 1,
            Some(Fact::Process(_)) if record.kind() == hoop_records::Kind::Exec => self.execs += 1,
            _ => {}
        }
        let denied = record
            .verdict
            .as_ref()
            .is_some_and(|verdict| verdict.result() == Verdict::Deny);
        self.denied += u64::from(denied);
    }
}
