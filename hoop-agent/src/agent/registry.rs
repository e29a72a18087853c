//! What must outlive the daemon besides the kernel's own state: the numbers of rules, and which
//! cgroups were tagged by hand.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::{RawValue, to_raw_value};

use super::{control_calls::EXEC_PARENT, enforcer::Origin, names::Names};
use crate::{
    policy::book::RuleBook,
    workload::{cgroup::CgroupRoot, path::CgroupPath},
};
use hoop_records::{Shared, Workload};

/// The registry's contents.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Registry {
    /// Rule numbers.
    pub rules: Rules,
    /// Workloads.
    pub workloads: Vec<Entry>,
}

/// A rule book, and its JSON: both are needed for every tag, and change only with the policies.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The book.
    pub book: Arc<RuleBook>,
    json: Option<Arc<RawValue>>,
}

impl Rules {
    /// Takes over another book.
    ///
    /// # Errors
    ///
    /// When it cannot be JSON, which no book is known to be the reason for.
    pub fn replace(&mut self, book: RuleBook) -> serde_json::Result<()> {
        if *self.book != book || self.json.is_none() {
            self.json = Some(to_raw_value(&book)?.into());
            self.book = Arc::new(book);
        }
        Ok(())
    }
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.json {
            Some(json) => json.serialize(serializer),
            None => self.book.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let book = RuleBook::deserialize(deserializer)?;
        let mut rules = Self::default();
        rules.replace(book).map_err(D::Error::custom)?;
        Ok(rules)
    }
}

/// A workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Id of its cgroup.
    pub id: u64,
    /// Path of its cgroup.
    pub cgroup: String,
    /// Name of its policy.
    pub policy: String,
    /// How it was tagged.
    pub origin: Origin,
    /// SPIFFE ID.
    pub identity: String,
    /// The human or service that it acts for.
    pub on_behalf_of: String,
}

impl Registry {
    /// The names that an earlier daemon's events use.
    #[must_use]
    pub fn names(&self) -> Names {
        let message = |entry: &Entry| {
            Shared::new(Workload {
                cgroup_id: entry.id,
                cgroup: entry.cgroup.clone(),
                policy: entry.policy.clone(),
                identity: entry.identity.clone(),
                on_behalf_of: entry.on_behalf_of.clone(),
            })
        };
        Names {
            workloads: self
                .workloads
                .iter()
                .map(|entry| (entry.id, message(entry)))
                .collect(),
            rules: Arc::clone(&self.rules.book),
            masks: Arc::default(),
        }
    }
}

/// Where the registry is kept.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

impl Store {
    /// The store in a state directory.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("registry.json"))
    }

    /// Reads the registry; an empty one if there is none, or if it cannot be read as one.
    #[must_use]
    pub fn read(&self) -> Registry {
        let Ok(text) = fs::read(&self.0) else {
            return Registry::default();
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %self.0.display(), "the registry is started anew");
            Registry::default()
        })
    }

    /// Removes the registry, and the cgroups that `exec` made and that are empty.
    ///
    /// # Errors
    ///
    /// When the file cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        if let Ok(cgroups) = CgroupRoot::find() {
            for entry in self.read().workloads {
                if entry.origin == Origin::Exec
                    && let Ok(path) = CgroupPath::parse(&entry.cgroup)
                {
                    // One that is in use stays: its command goes on, ungoverned.
                    let _ = cgroups.remove(&path);
                }
            }
            if let Ok(parent) = CgroupPath::parse(EXEC_PARENT) {
                let _ = fs::remove_dir(cgroups.full_path(&parent));
            }
        }
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the registry, in one step.
    ///
    /// # Errors
    ///
    /// When the state directory cannot be written to.
    pub fn write(&self, registry: &Registry) -> io::Result<()> {
        let new = self.0.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        // In one piece: half a registry, as on a full disk, is an error and takes nobody's place.
        file.write_all(&serde_json::to_vec(registry)?)?;
        fs::rename(&new, &self.0)
    }
}
