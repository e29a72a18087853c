//! Policies in force and tagged cgroups: everything that changes what the kernel enforces.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::ErrorKind,
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use hoop_common::{
    limits::{MAX_TAG_LEVEL, MAX_WORKLOADS},
    policy::{Epoch, Mode, NO_POLICY},
};
use hoop_mask::{Config, Masker};
use serde::{Deserialize, Serialize};

use super::{
    mask_key,
    names::{Masking, Masks, Names, Publisher},
    recorder::Recorder,
    registry::{Entry, Registry, Store},
    sweep::{Rules, Target},
};
use crate::{
    kernel::{hooks::Duty, load::Kernel},
    pipeline::{attribute::lifecycle, masking, payload::Settings, process::Seed},
    policy::{
        compile::{Compiled, compile},
        install::install,
        model::{Policy, mode_name},
    },
    workload::{
        cgroup::CgroupRoot,
        path::CgroupPath,
        procfs::{self, ProcessSnapshot},
        selector::Selector,
        watch::CgroupChange,
    },
};
use hoop_records::{Kind, Namespaces, Shared, User, Workload};

/// How a cgroup became a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A policy's pattern matches it.
    Pattern,
    /// `workload tag`
    Hand,
    /// `exec` made it; it is removed once it is empty.
    Exec,
}

/// A tagged cgroup.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// Path of its cgroup.
    pub path: CgroupPath,
    /// Name of its policy.
    pub policy: String,
    /// How it was tagged.
    pub origin: Origin,
    message: Shared<Workload>,
}

/// See the module.
pub struct Enforcer {
    kernel: Kernel,
    cgroups: CgroupRoot,
    store: Store,
    publisher: Publisher,
    policies: Vec<Policy>,
    compiled: Arc<Compiled>,
    registry: Registry,
    workloads: BTreeMap<u64, Tagged>,
    /// Untagged by hand although a pattern matches. Until the next change of policy.
    exempt: HashSet<u64>,
    /// Where the key for masking is.
    mask_key: PathBuf,
    masks: Arc<Masks>,
}

impl Enforcer {
    /// An enforcer of no policy. What an earlier daemon left in the kernel stays as it is until
    /// [`Enforcer::adopt`] and [`Enforcer::release_rest`].
    #[must_use]
    pub fn new(
        kernel: Kernel,
        cgroups: CgroupRoot,
        store: Store,
        publisher: Publisher,
        mask_key: PathBuf,
    ) -> Self {
        let registry = store.read();
        // Events that an earlier daemon left may be read before there is anything newer.
        publisher.publish(registry.names());
        Self {
            kernel,
            cgroups,
            registry,
            store,
            publisher,
            policies: Vec::new(),
            compiled: Arc::default(),
            workloads: BTreeMap::new(),
            exempt: HashSet::new(),
            mask_key,
            masks: Arc::default(),
        }
    }

    /// What programs are to do for the sake of plaintext.
    fn capturing(&self) -> Vec<Duty> {
        let mut duties = Vec::new();
        for settings in self.masks.values().filter_map(|it| it.capture.as_ref()) {
            duties.push(Duty::Captures);
            if settings.stdio {
                duties.push(Duty::CapturesStdio);
            }
        }
        duties
    }

    /// Whether a policy in force takes plaintext.
    #[must_use]
    pub fn captures(&self) -> bool {
        self.masks.values().any(|masking| masking.capture.is_some())
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The epoch in force.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.kernel.state.epoch()
    }

    /// The processes of workloads, as the kernel programs know them.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        self.kernel.processes.keys().flatten()
    }

    /// The workloads by the id of their cgroup.
    #[must_use]
    pub fn workloads(&self) -> &BTreeMap<u64, Tagged> {
        &self.workloads
    }

    /// The loaded programs.
    pub fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// What the cgroup tree is to be searched for.
    #[must_use]
    pub fn selector(&self) -> Selector {
        let patterns: Vec<_> = self
            .policies
            .iter()
            .flat_map(|policy| policy.cgroups.iter().cloned())
            .collect();
        let texts: Vec<String> = patterns
            .iter()
            .map(|pattern| pattern.text.clone())
            .collect();
        Selector::new(texts.iter().map(String::as_str), move |path| {
            patterns.iter().any(|pattern| pattern.matches(path))
        })
    }

    /// Puts policies in force, all or none. Workloads whose policy is gone are released.
    ///
    /// # Errors
    ///
    /// When the policies do not fit the kernel's maps. The former ones are then still in force.
    pub fn apply(&mut self, policies: Vec<Policy>, recorder: &Recorder) -> Result<()> {
        let mut book = (*self.registry.rules.book).clone();
        let compiled = compile(&policies, &mut book)?;
        self.registry.rules.replace(book)?;
        let index: HashMap<&str, u32> = (0..)
            .zip(&policies)
            .map(|(index, policy)| (policy.name.as_str(), index))
            .collect();
        let keeps = |tagged: &Tagged| {
            let policy = &policies[*index.get(tagged.policy.as_str())? as usize];
            let stays =
                tagged.origin != Origin::Pattern || policy.matches_cgroup(tagged.path.as_str());
            stays.then_some(policy)
        };

        self.masks = Arc::new(self.masks_of(&policies)?);
        // Names first: an event of the new epoch may arrive at once.
        let mut workloads = self.workloads.clone();
        for tagged in workloads.values_mut() {
            if let Some(policy) = keeps(tagged) {
                tagged.message = message(&tagged.path, &self.cgroups, policy);
            }
        }
        self.publish(&workloads);
        self.save(&workloads)?;
        // The kernel may hold workloads of an earlier daemon that this one has yet to adopt.
        let known = self.kernel.workload_ids();
        let before = self.registry.workloads.clone();
        let assignments = known.into_iter().map(|id| {
            let tagged = workloads.get(&id).and_then(|tagged| {
                keeps(tagged).and_then(|policy| index.get(policy.name.as_str()).copied())
            });
            let adopted = || {
                let entry = before.iter().find(|entry| entry.id == id)?;
                index.get(entry.policy.as_str()).copied()
            };
            (id, tagged.or_else(adopted).unwrap_or(NO_POLICY))
        });
        let assignments: Vec<_> = assignments.collect();
        install(&mut self.kernel, &compiled, assignments)?;
        if let Err(error) = self.kernel.set_capturing(&self.capturing()) {
            tracing::warn!(%error, "plaintext may be missed");
            let detail = format!("plaintext may be missed: {error}");
            recorder.record(lifecycle(Kind::Agent, "degraded", String::new(), detail));
        }

        let dropped: Vec<u64> = workloads
            .iter()
            .filter(|(_, tagged)| keeps(tagged).is_none())
            .map(|(id, _)| *id)
            .collect();
        drop(index);
        self.workloads = workloads;
        self.policies = policies;
        self.compiled = Arc::new(compiled);
        self.exempt.clear();
        for id in dropped {
            self.untag(id, "its policy does not name it any more", recorder)?;
        }
        Ok(())
    }

    /// Tags what an earlier daemon had tagged by hand and is still there.
    pub fn adopt(&mut self, recorder: &Recorder) {
        for entry in self.registry.workloads.clone() {
            let Ok(path) = CgroupPath::parse(&entry.cgroup) else {
                continue;
            };
            let same = self.cgroups.id(&path).is_ok_and(|id| id == entry.id);
            if entry.origin == Origin::Pattern || !same {
                continue;
            }
            if let Err(error) = self.govern(&path, &entry.policy, entry.origin, recorder) {
                tracing::warn!(error = %format!("{error:#}"), cgroup = entry.cgroup, "not tagged again");
            }
        }
        self.save_or_say(recorder);
    }

    /// Releases what an earlier daemon enforced and the policies in force do not name.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn release_rest(&mut self) -> Result<()> {
        let mut rest = self.kernel.pins().cgroups();
        rest.extend(self.kernel.workload_ids());
        for id in rest {
            if !self.workloads.contains_key(&id) {
                self.kernel.detach_cgroup(id)?;
                self.kernel.remove_workload(id)?;
            }
        }
        self.set_levels();
        self.save(&self.workloads.clone())
    }

    /// Tags a cgroup. From the return on its processes are governed, and so is every cgroup that
    /// comes below it. Returns its id.
    ///
    /// # Errors
    ///
    /// When there is no such policy or cgroup, when the cgroup is in a workload already or holds
    /// one, and when the kernel refuses. Nothing is governed then.
    pub fn tag(
        &mut self,
        path: &CgroupPath,
        policy: &str,
        origin: Origin,
        recorder: &Recorder,
    ) -> Result<u64> {
        let id = self.govern(path, policy, origin, recorder)?;
        self.save_or_say(recorder);
        Ok(id)
    }

    /// Tags a cgroup without saving it.
    fn govern(
        &mut self,
        path: &CgroupPath,
        policy: &str,
        origin: Origin,
        recorder: &Recorder,
    ) -> Result<u64> {
        let index = self.policy_index(policy)?;
        let cgroup = self.cgroups.open(path)?;
        let id = self.cgroups.id(path)?;
        if let Some(tagged) = self.workloads.get(&id) {
            if tagged.policy == policy {
                return Ok(id);
            }
            bail!(
                "{path} is a workload of the policy {}: untag it first with `hoop-agent workload untag {path}`",
                tagged.policy
            );
        }
        for other in self.workloads.values() {
            if path.is_within(&other.path) {
                bail!(
                    "{path} is inside the workload {}: a workload cannot hold another",
                    other.path
                );
            }
            if other.path.is_within(path) {
                bail!(
                    "{path} holds the workload {}: untag that first with `hoop-agent workload untag {}`",
                    other.path,
                    other.path
                );
            }
        }
        if path.level() > MAX_TAG_LEVEL {
            bail!("{path} is deeper than {MAX_TAG_LEVEL} levels: tag a cgroup above it");
        }
        if self.workloads.len() >= MAX_WORKLOADS as usize {
            bail!(
                "there are {MAX_WORKLOADS} workloads, which is the limit: tag a cgroup above them"
            );
        }

        let policy = &self.policies[index];
        let message = message(path, &self.cgroups, policy);
        let tagged = Tagged {
            path: path.clone(),
            policy: policy.name.clone(),
            origin,
            message,
        };
        self.workloads.insert(id, tagged);
        self.publish(&self.workloads.clone());
        let attached = self
            .kernel
            .add_workload(id, index as u32)
            .map_err(anyhow::Error::from)
            .and_then(|()| {
                self.set_levels();
                Ok(self.kernel.attach_cgroup(id, cgroup.as_fd())?)
            });
        if let Err(error) = attached {
            self.forget(id)?;
            return Err(error).with_context(|| format!("{path} could not be tagged"));
        }
        self.seed(id, path, recorder);
        let policy = &self.policies[index];
        let detail = format!("policy {}, mode {}", policy.name, mode_name(policy.mode));
        recorder.record(self.lifecycle_of(id, "tagged", detail));
        Ok(id)
    }

    /// Takes a tag off: the cgroup is free from the return on.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn untag(&mut self, id: u64, why: &str, recorder: &Recorder) -> Result<()> {
        if self.workloads.contains_key(&id) {
            recorder.record(self.lifecycle_of(id, "untagged", why.to_owned()));
        }
        self.forget(id)
    }

    /// Like [`Enforcer::untag`], and a pattern does not tag it again.
    ///
    /// # Errors
    ///
    /// When the cgroup is no workload, or a pin cannot be removed.
    pub fn untag_by_hand(&mut self, path: &CgroupPath, recorder: &Recorder) -> Result<()> {
        let found = self
            .workloads
            .iter()
            .find(|(_, tagged)| tagged.path == *path);
        let Some((&id, _)) = found else {
            bail!("{path} is no workload: `hoop-agent workload list` shows which there are");
        };
        self.exempt.insert(id);
        self.untag(id, "by hand", recorder)
    }

    /// Follows the cgroup tree. Returns the workloads that are new.
    pub fn follow(&mut self, mut changes: Vec<CgroupChange>, recorder: &Recorder) -> Vec<u64> {
        // What is gone first, then what is outermost: a workload cannot hold another.
        changes.sort_by_key(|change| match change {
            CgroupChange::Gone { .. } => 0,
            CgroupChange::Found { path, .. } => path.level(),
        });
        let mut fresh = Vec::new();
        for change in changes {
            let result = match change {
                CgroupChange::Gone { id, .. } => self.gone(id, recorder),
                CgroupChange::Found { path, id } => self.found(&path, id, recorder).map(|found| {
                    fresh.extend(found);
                }),
            };
            if let Err(error) = result {
                tracing::error!(error = %format!("{error:#}"), "the cgroup tree could not be followed");
                let detail = format!("{error:#}");
                recorder.record(lifecycle(Kind::Workload, "refused", String::new(), detail));
            }
        }
        if !fresh.is_empty() {
            self.save_or_say(recorder);
        }
        fresh
    }

    /// Ends the processes that left a workload whose policy enforces. Most are gone already: where
    /// the kernel can, it ends them itself.
    pub fn end_strays(&self) {
        for (tgid, stray) in self.kernel.strays() {
            let enforced = self
                .workloads
                .get(&stray.workload)
                .and_then(|tagged| self.policy(&tagged.policy).ok())
                .is_some_and(|policy| policy.mode == Mode::Enforce);
            if !enforced {
                continue;
            }
            match procfs::end(tgid, stray.start_ticks) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::error!(%error, tgid, "a process that left its workload lives on");
                }
            }
        }
    }

    /// What a sweep of these workloads needs; of all of them if `ids` is `None`.
    #[must_use]
    pub fn sweep_targets(&self, ids: Option<&[u64]>) -> (Rules, Vec<Target>) {
        let rules = Rules {
            compiled: Arc::clone(&self.compiled),
            epoch: self.epoch().0,
            book: Arc::clone(&self.registry.rules.book),
        };
        let targets = self
            .workloads
            .iter()
            .filter(|(id, _)| ids.is_none_or(|ids| ids.contains(id)))
            .filter_map(|(_, tagged)| {
                let policy = self.policy_index(&tagged.policy).ok()?;
                Some(Target {
                    path: tagged.path.clone(),
                    policy,
                    mode: self.policies[policy].mode,
                    workload: tagged.message.clone(),
                })
            })
            .collect();
        (rules, targets)
    }

    /// The policy of that name.
    ///
    /// # Errors
    ///
    /// When there is none; says which there are.
    pub fn policy(&self, name: &str) -> Result<&Policy> {
        Ok(&self.policies[self.policy_index(name)?])
    }

    fn policy_index(&self, name: &str) -> Result<usize> {
        match self.policies.iter().position(|policy| policy.name == name) {
            Some(index) => Ok(index),
            None => {
                let names: Vec<&str> = self
                    .policies
                    .iter()
                    .map(|policy| policy.name.as_str())
                    .collect();
                bail!("there is no policy {name}; there are: {}", names.join(", "))
            }
        }
    }

    fn gone(&mut self, id: u64, recorder: &Recorder) -> Result<()> {
        self.exempt.remove(&id);
        match self.workloads.get(&id) {
            // A removed cgroup takes every tag with it; otherwise only the pattern's ends.
            Some(tagged) if tagged.origin == Origin::Pattern || !self.exists(id, &tagged.path) => {
                self.untag(id, "the cgroup is gone", recorder)
            }
            _ => Ok(()),
        }
    }

    fn exists(&self, id: u64, path: &CgroupPath) -> bool {
        self.cgroups.id(path).is_ok_and(|found| found == id)
    }

    /// Drops workloads whose cgroup was removed although no pattern watches it.
    pub fn drop_removed(&mut self, recorder: &Recorder) {
        let removed: Vec<u64> = self
            .workloads
            .iter()
            .filter(|(id, tagged)| !self.exists(**id, &tagged.path))
            .map(|(id, _)| *id)
            .collect();
        for id in removed {
            if let Err(error) = self.untag(id, "the cgroup is gone", recorder) {
                tracing::error!(error = %format!("{error:#}"), "a tag could not be taken off");
            }
        }
    }

    fn found(&mut self, path: &CgroupPath, id: u64, recorder: &Recorder) -> Result<Option<u64>> {
        if self.exempt.contains(&id) || self.workloads.contains_key(&id) {
            return Ok(None);
        }
        if self
            .workloads
            .values()
            .any(|other| path.is_within(&other.path))
        {
            // Governed already. A workload must not choose another policy by a cgroup's name.
            return Ok(None);
        }
        let inner: Vec<u64> = self
            .workloads
            .iter()
            .filter(|(_, other)| other.origin == Origin::Pattern && other.path.is_within(path))
            .map(|(id, _)| *id)
            .collect();
        for id in inner {
            self.untag(id, "a cgroup above it is tagged", recorder)?;
        }
        let mut matching = self
            .policies
            .iter()
            .filter(|policy| policy.matches_cgroup(path.as_str()));
        let Some(policy) = matching.next() else {
            return Ok(None);
        };
        if let Some(other) = matching.next() {
            tracing::warn!(cgroup = %path, first = policy.name, other = other.name, "two policies match; the first holds");
        }
        let policy = policy.name.clone();
        match self.govern(path, &policy, Origin::Pattern, recorder) {
            Ok(id) => Ok(Some(id)),
            // It went as fast as it came.
            Err(_) if !self.exists(id, path) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn forget(&mut self, id: u64) -> Result<()> {
        self.kernel.detach_cgroup(id)?;
        self.kernel.remove_workload(id)?;
        self.workloads.remove(&id);
        self.set_levels();
        // The names stay published until the next change: events may be on their way.
        self.save(&self.workloads.clone())
    }

    fn set_levels(&self) {
        let mut levels = self
            .workloads
            .values()
            .fold(0_u64, |levels, tagged| levels | 1 << tagged.path.level());
        // Those of an earlier daemon count until they are adopted or released.
        for entry in &self.registry.workloads {
            if let Ok(path) = CgroupPath::parse(&entry.cgroup)
                && path.level() <= MAX_TAG_LEVEL
            {
                levels |= 1 << path.level();
            }
        }
        self.kernel.state.set_levels(levels);
    }

    /// What each policy masks.
    fn masks_of(&self, policies: &[Policy]) -> Result<Masks> {
        let mut masks = Masks::new();
        // Many policies say the same.
        let mut made: Vec<(&Config, Arc<Masker>, Arc<Masker>)> = Vec::new();
        for policy in policies {
            let config = &policy.masking;
            let known = made.iter().find(|(known, ..)| *known == config);
            let (commands, plaintext) = if let Some((_, commands, plaintext)) = known {
                (Arc::clone(commands), Arc::clone(plaintext))
            } else {
                let key = || mask_key::read_or_make(&self.mask_key);
                let commands = Arc::new(Masker::new(&masking::of_commands(config), key()?)?);
                let plaintext = Arc::new(Masker::new(config, key()?)?);
                made.push((config, Arc::clone(&commands), Arc::clone(&plaintext)));
                (commands, plaintext)
            };
            let capture = policy.capture.map(|capture| {
                Arc::new(Settings {
                    masker: plaintext,
                    stdio: capture.stdio,
                    max_body: capture.max_body_bytes as usize,
                })
            });
            masks.insert(policy.name.clone(), Masking { commands, capture });
        }
        Ok(masks)
    }

    fn publish(&self, workloads: &BTreeMap<u64, Tagged>) {
        self.publisher.publish(Names {
            workloads: workloads
                .iter()
                .map(|(id, tagged)| (*id, tagged.message.clone()))
                .collect(),
            rules: Arc::clone(&self.registry.rules.book),
            masks: Arc::clone(&self.masks),
        });
    }

    /// Saves the workloads. On a full disk they are governed all the same; until something is saved
    /// again, the next daemon would not know the names of the new ones.
    fn save_or_say(&mut self, recorder: &Recorder) {
        if let Err(error) = self.save(&self.workloads.clone()) {
            let detail = format!("workloads are not saved: {error:#}");
            tracing::error!("{detail}");
            recorder.record(lifecycle(Kind::Agent, "degraded", String::new(), detail));
        }
    }

    fn save(&mut self, workloads: &BTreeMap<u64, Tagged>) -> Result<()> {
        let mut entries: Vec<Entry> = workloads
            .iter()
            .map(|(id, tagged)| Entry {
                id: *id,
                cgroup: tagged.path.as_str().to_owned(),
                policy: tagged.policy.clone(),
                origin: tagged.origin,
                identity: tagged.message.identity.clone(),
                on_behalf_of: tagged.message.on_behalf_of.clone(),
            })
            .collect();
        // What an earlier daemon left and the kernel still holds.
        let held: HashSet<u64> = self.kernel.workload_ids().into_iter().collect();
        let inherited = self
            .registry
            .workloads
            .iter()
            .filter(|entry| held.contains(&entry.id) && !workloads.contains_key(&entry.id));
        entries.extend(inherited.cloned());
        self.registry.workloads = entries;
        self.store
            .write(&self.registry)
            .context("the state directory cannot be written to")
    }

    /// Enters the processes that are in the cgroup already.
    fn seed(&mut self, id: u64, path: &CgroupPath, recorder: &Recorder) {
        let processes = match self.cgroups.processes(path) {
            Ok(processes) => processes,
            Err(error) => {
                tracing::warn!(%error, cgroup = %path, "processes that were there first are not known");
                return;
            }
        };
        let snapshots: Vec<ProcessSnapshot> = processes
            .into_iter()
            .filter_map(ProcessSnapshot::read)
            .collect();
        let policy = self.workloads.get(&id).map(|tagged| &tagged.policy);
        let masker = policy
            .and_then(|policy| self.masks.get(policy))
            .map_or_else(masking::of_no_policy, |masking| {
                Arc::clone(&masking.commands)
            });
        let seeds = snapshots
            .iter()
            .map(|snapshot| masked(seed(snapshot, id), &masker))
            .collect();
        for snapshot in &snapshots {
            self.kernel
                .add_process(snapshot.tgid, id, snapshot.start.ticks);
        }
        recorder.seed(seeds);
    }

    fn lifecycle_of(&self, id: u64, activity: &str, detail: String) -> hoop_records::Record {
        let tagged = self.workloads.get(&id);
        let subject = tagged.map_or_else(String::new, |tagged| tagged.path.as_str().to_owned());
        let mut record = lifecycle(Kind::Workload, activity, subject, detail);
        record.workload = tagged.map(|tagged| tagged.message.clone());
        record
    }
}

fn message(path: &CgroupPath, cgroups: &CgroupRoot, policy: &Policy) -> Shared<Workload> {
    Shared::new(Workload {
        cgroup_id: cgroups.id(path).unwrap_or(0),
        cgroup: path.as_str().to_owned(),
        policy: policy.name.clone(),
        identity: policy.identity.clone(),
        on_behalf_of: policy.on_behalf_of.clone().unwrap_or_default(),
    })
}

/// What is kept of a process that was there first is masked before anything else sees it.
fn masked(mut seed: Seed, masker: &Arc<Masker>) -> Seed {
    for text in [&mut seed.path, &mut seed.cwd, &mut seed.args] {
        *text = masking::bytes(masker, text, true);
    }
    seed
}

fn seed(snapshot: &ProcessSnapshot, workload: u64) -> Seed {
    use std::os::unix::ffi::OsStrExt;
    let parent = ProcessSnapshot::read(snapshot.parent);
    let [pid, net, mnt, user, uts, ipc, cgroup] = snapshot.namespaces;
    Seed {
        tgid: snapshot.tgid,
        start_ticks: snapshot.start.ticks,
        parent_tgid: snapshot.parent,
        parent_start_ticks: parent.map_or(0, |parent| parent.start.ticks),
        workload,
        path: snapshot
            .executable
            .as_ref()
            .map_or_else(Vec::new, |program| {
                program.path.as_os_str().as_bytes().to_vec()
            }),
        cwd: snapshot
            .working_directory
            .as_ref()
            .map_or_else(Vec::new, |path| path.as_os_str().as_bytes().to_vec()),
        args: snapshot.arguments.clone(),
        user: Some(User {
            uid: Some(snapshot.credentials.uid),
            gid: Some(snapshot.credentials.gid),
            euid: Some(snapshot.credentials.euid),
            egid: Some(snapshot.credentials.egid),
        }),
        namespaces: Some(Namespaces {
            pid,
            net,
            mnt,
            user,
            uts,
            ipc,
            cgroup,
        }),
    }
}
