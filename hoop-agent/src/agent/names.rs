//! The names behind the numbers in events, shared with the thread that writes records.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use hoop_mask::Masker;

use crate::{
    pipeline::{
        attribute::{Directory, Rule},
        masking,
        payload::Settings,
    },
    policy::book::RuleBook,
    workload::cgroup::CgroupRoot,
};
use hoop_records::{Shared, Workload};

/// What the daemon knows at one time.
#[derive(Clone, Default)]
pub struct Names {
    /// Workloads by the id of their cgroup.
    pub workloads: HashMap<u64, Shared<Workload>>,
    /// Rules by number.
    pub rules: Arc<RuleBook>,
    /// What policies mask, by the policy's name.
    pub masks: Arc<Masks>,
}

/// What policies mask, by the policy's name.
pub type Masks = HashMap<String, Masking>;

/// What a policy masks.
#[derive(Clone)]
pub struct Masking {
    /// In command lines.
    pub commands: Arc<Masker>,
    /// In captured plaintext; `None`: nothing is captured.
    pub capture: Option<Arc<Settings>>,
}

/// Where the daemon puts names, before events with their numbers can arrive.
#[derive(Clone, Default)]
pub struct Publisher(Arc<Published>);

#[derive(Default)]
struct Published {
    version: AtomicU64,
    names: RwLock<Arc<Names>>,
}

/// The reading end.
pub struct Reader {
    published: Arc<Published>,
    version: u64,
    names: Arc<Names>,
    cgroups: CgroupRoot,
}

impl Publisher {
    /// Replaces the names.
    pub fn publish(&self, names: Names) {
        *self.0.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// A reading end. Paths of cgroups that are no workloads are looked up in `cgroups`.
    #[must_use]
    pub fn reader(&self, cgroups: CgroupRoot) -> Reader {
        Reader {
            published: Arc::clone(&self.0),
            version: 0,
            names: Arc::default(),
            cgroups,
        }
    }
}

impl Reader {
    /// Takes over what was published since. To be called before every event: names are published
    /// before the kernel can use their numbers.
    pub fn refresh(&mut self) {
        let version = self.published.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            let names = self
                .published
                .names
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            self.names = Arc::clone(&names);
        }
    }
}

impl Reader {
    /// The workload of a tagged cgroup, and what its policy captures. `None`: nothing is captured there.
    #[must_use]
    pub fn captured(&self, cgroup_id: u64) -> Option<(Shared<Workload>, Arc<Settings>)> {
        let workload = self.names.workloads.get(&cgroup_id)?;
        let masking = self.names.masks.get(&workload.policy)?;
        Some((workload.clone(), masking.capture.clone()?))
    }
}

impl Directory for Reader {
    fn workload(&self, cgroup_id: u64) -> Option<Shared<Workload>> {
        self.names.workloads.get(&cgroup_id).cloned()
    }

    fn rule(&self, number: u32) -> Option<Rule<'_>> {
        let info = self.names.rules.get(number)?;
        Some(Rule {
            name: &info.rule,
            because: &info.because,
        })
    }

    fn masker(&self, cgroup_id: u64) -> Arc<Masker> {
        let workload = self.names.workloads.get(&cgroup_id);
        let masking = workload.and_then(|workload| self.names.masks.get(&workload.policy));
        masking.map_or_else(masking::of_no_policy, |masking| {
            Arc::clone(&masking.commands)
        })
    }

    fn cgroup(&self, cgroup_id: u64) -> Option<Arc<str>> {
        let path = self.cgroups.path_of(cgroup_id).ok()??;
        Some(path.as_str().into())
    }
}
