//! Reports cgroups that appear and vanish.
//!
//! inotify only says where to look: every event makes the watch compare what is there with what it
//! reported, by cgroup id. So an event that is stale, doubled or lost to a full queue (then
//! everything is compared) cannot make it report something that is not so.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup::{CgroupRoot, inode};
use super::path::CgroupPath;
use super::selector::Selector;
use super::walk::{Step, Walk};

/// Room for a few hundred events; each is at most 16 + `NAME_MAX` + 1 bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// A change among the cgroups that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupChange {
    /// The cgroup is there.
    Found {
        /// Its path.
        path: CgroupPath,
        /// Its id.
        id: u64,
    },
    /// The cgroup was removed, or is not asked for any more.
    Gone {
        /// Its path, where another cgroup may be by now.
        path: CgroupPath,
        /// Its id.
        id: u64,
    },
}

/// Why the tree cannot be watched.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The limit on inotify instances.
    #[error("no inotify instance left: raise it with `sysctl fs.inotify.max_user_instances=1024`")]
    Instances(#[source] io::Error),
    /// The limit on inotify watches.
    #[error(
        "no inotify watch left after {used} cgroups: raise the limit with \
         `sysctl fs.inotify.max_user_watches=1048576`, or use narrower patterns"
    )]
    Watches {
        /// How many watches this one holds.
        used: usize,
    },
    /// The cgroup tree cannot be read.
    #[error("cannot watch the cgroup tree at {}", path.display())]
    Io {
        /// The mount, or a path below it.
        path: std::path::PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Watches the directories where a cgroup that is asked for can appear.
#[derive(Debug)]
pub struct CgroupWatch {
    root: CgroupRoot,
    selector: Selector,
    inotify: AsyncFd<Inotify>,
    /// Cgroups that were reported or are watched, by path; the root's path is empty.
    nodes: BTreeMap<String, Node>,
    watched: HashMap<WatchDescriptor, String>,
    changes: Vec<CgroupChange>,
    /// Marks the nodes that a scan of the whole tree saw.
    scan: u64,
    scan_due: bool,
}

#[derive(Debug)]
struct Node {
    id: u64,
    reported: bool,
    watch: Option<WatchDescriptor>,
    scan: u64,
}

struct Notice {
    watch: WatchDescriptor,
    mask: EventMask,
    name: Option<OsString>,
}

impl CgroupWatch {
    /// Starts to watch. Returns with it everything that is there already, parents first.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn start(
        root: CgroupRoot,
        selector: Selector,
    ) -> Result<(Self, Vec<CgroupChange>), WatchError> {
        let inotify = Inotify::init().map_err(WatchError::Instances)?;
        // SAFETY: the `Inotify` owns its descriptor, never changes it, and is owned by the `AsyncFd`.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) }
            .map_err(|error| WatchError::Io {
                path: root.mount().to_path_buf(),
                source: error.into(),
            })?;
        let mut watch = Self {
            root,
            selector,
            inotify,
            nodes: BTreeMap::new(),
            watched: HashMap::new(),
            changes: Vec::new(),
            scan: 0,
            scan_due: true,
        };
        watch.scan_if_due()?;
        let found = mem::take(&mut watch.changes);
        Ok((watch, found))
    }

    /// Watches for other cgroups from now on, and returns what changes by it.
    ///
    /// # Errors
    /// See [`WatchError`]; what was found until then is reported by the next call.
    pub fn select(&mut self, selector: Selector) -> Result<Vec<CgroupChange>, WatchError> {
        self.selector = selector;
        self.scan_due = true;
        self.scan_if_due()?;
        Ok(mem::take(&mut self.changes))
    }

    /// Waits for changes, at least one. Losing the future loses nothing.
    ///
    /// # Errors
    /// See [`WatchError`]. The next call scans the tree again.
    pub async fn next(&mut self) -> Result<Vec<CgroupChange>, WatchError> {
        loop {
            self.scan_if_due()?;
            if !self.changes.is_empty() {
                return Ok(mem::take(&mut self.changes));
            }
            for notice in self.read().await? {
                // On an error the rest of the notices is lost, so everything is looked at again.
                self.scan_due = true;
                self.follow(&notice)?;
                self.scan_due = notice.mask.contains(EventMask::Q_OVERFLOW);
                if self.scan_due {
                    break;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Notice>, WatchError> {
        let failed = |source| WatchError::Io {
            path: self.root.mount().to_path_buf(),
            source,
        };
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let mut ready = self.inotify.readable_mut().await.map_err(failed)?;
            let read = ready.try_io(|inotify| {
                let events = inotify.get_mut().read_events(&mut buffer)?;
                Ok(events
                    .map(|event| Notice {
                        watch: event.wd,
                        mask: event.mask,
                        name: event.name.map(OsString::from),
                    })
                    .collect())
            });
            match read {
                Ok(Ok(notices)) => return Ok(notices),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(failed(error)),
                // Not ready after all.
                Err(_) => {}
            }
        }
    }

    /// Looks where an event points.
    fn follow(&mut self, notice: &Notice) -> Result<(), WatchError> {
        let Some(parent) = self.watched.get(&notice.watch) else {
            return Ok(());
        };
        if notice.mask.contains(EventMask::IGNORED) {
            // The watched cgroup is gone; another one may be in its place.
            let path = parent.clone();
            self.watched.remove(&notice.watch);
            if let Some(node) = self.nodes.get_mut(&path) {
                node.watch = None;
            }
            return self.visit(&path);
        }
        let Some(name) = notice.name.as_deref() else {
            return Ok(());
        };
        if !notice.mask.contains(EventMask::ISDIR) {
            return Ok(());
        }
        match name.to_str() {
            Some(name) => {
                let path = format!("{parent}/{name}");
                self.visit(&path)
            }
            None => {
                not_utf8(&format!("{parent}/{}", name.display()));
                Ok(())
            }
        }
    }

    fn scan_if_due(&mut self) -> Result<(), WatchError> {
        if !self.scan_due {
            return Ok(());
        }
        self.scan += 1;
        self.visit("")?;
        let unseen: Vec<String> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.scan != self.scan)
            .map(|(path, _)| path.clone())
            .collect();
        for path in unseen {
            self.forget(&path);
        }
        self.scan_due = false;
        Ok(())
    }

    /// Compares the cgroup at `path`, and what is new below it, with what was reported.
    fn visit(&mut self, path: &str) -> Result<(), WatchError> {
        let failed = |root: &CgroupRoot, source| WatchError::Io {
            path: root.mount().join(path.trim_start_matches('/')),
            source,
        };
        let walk = self.root.walk(path);
        let Some(mut walk) = walk.map_err(|errno| failed(&self.root, errno.into()))? else {
            self.forget(path);
            return Ok(());
        };
        let mut entered = true;
        loop {
            let descend = entered && self.compare(&walk)?;
            match walk.advance(descend) {
                Ok(Some(step)) => entered = matches!(step, Step::Entered),
                Ok(None) => return Ok(()),
                Err(error) => return Err(failed(&self.root, error)),
            }
        }
    }

    /// Compares one cgroup. Returns whether to look below it.
    fn compare(&mut self, walk: &Walk) -> Result<bool, WatchError> {
        let Ok(path) = std::str::from_utf8(walk.path()) else {
            not_utf8(&String::from_utf8_lossy(walk.path()));
            return Ok(false);
        };
        let matches = self.selector.matches(path);
        let can_hold = self.selector.can_hold(path);
        if !matches && !can_hold {
            self.forget(path);
            return Ok(false);
        }
        let id = inode(walk.dir()).map_err(|errno| WatchError::Io {
            path: self.root.mount().join(path.trim_start_matches('/')),
            source: errno.into(),
        })?;
        if self.nodes.get(path).is_some_and(|node| node.id != id) {
            self.forget(path);
        }
        let node = self.nodes.entry(path.to_owned()).or_insert(Node {
            id,
            reported: false,
            watch: None,
            scan: 0,
        });
        let scanning = self.scan_due && node.scan != self.scan;
        node.scan = self.scan;
        if node.reported != matches
            && let Ok(path) = CgroupPath::parse(path)
        {
            node.reported = matches;
            self.changes.push(if matches {
                CgroupChange::Found { path, id }
            } else {
                CgroupChange::Gone { path, id }
            });
        }
        match (can_hold, node.watch.is_some()) {
            (true, true) => Ok(scanning),
            (true, false) => {
                // Listed only after this, so nothing falls between the two.
                let watch = add_watch(self.inotify.get_ref(), walk.dir()).map_err(|source| {
                    if source.raw_os_error() == Some(libc::ENOSPC) {
                        WatchError::Watches {
                            used: self.watched.len(),
                        }
                    } else {
                        WatchError::Io {
                            path: self.root.mount().join(path.trim_start_matches('/')),
                            source,
                        }
                    }
                })?;
                node.watch = Some(watch.clone());
                self.watched.insert(watch, path.to_owned());
                Ok(true)
            }
            (false, true) => {
                if let Some(watch) = node.watch.take() {
                    self.unwatch(&watch);
                }
                Ok(false)
            }
            (false, false) => Ok(false),
        }
    }

    /// Takes back what was reported of `path` and everything below it.
    fn forget(&mut self, path: &str) {
        self.forget_below(path);
        if let Some(node) = self.nodes.remove(path) {
            self.drop_node(path, node);
        }
    }

    fn forget_below(&mut self, path: &str) {
        // '0' follows '/', so this range is exactly what starts with `path/`.
        let (first, end) = (format!("{path}/"), format!("{path}0"));
        let below: Vec<String> = self
            .nodes
            .range(first..end)
            .map(|(path, _)| path.clone())
            .collect();
        for path in below.into_iter().rev() {
            if let Some(node) = self.nodes.remove(&path) {
                self.drop_node(&path, node);
            }
        }
    }

    fn drop_node(&mut self, path: &str, node: Node) {
        if let Some(watch) = node.watch {
            self.unwatch(&watch);
        }
        if node.reported
            && let Ok(path) = CgroupPath::parse(path)
        {
            self.changes.push(CgroupChange::Gone { path, id: node.id });
        }
    }

    fn unwatch(&mut self, watch: &WatchDescriptor) {
        self.watched.remove(watch);
        // Fails if the cgroup is gone and the kernel dropped the watch itself: just as well.
        let _ = self.inotify.get_ref().watches().remove(watch.clone());
    }
}

/// Watches the directory behind `dir`, whatever is at its path by now.
fn add_watch(inotify: &Inotify, dir: BorrowedFd<'_>) -> io::Result<WatchDescriptor> {
    let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::ONLYDIR;
    loop {
        match inotify
            .watches()
            .add(format!("/proc/self/fd/{}", dir.as_raw_fd()), mask)
        {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn not_utf8(path: &str) {
    tracing::warn!(
        path,
        "the name of a cgroup is not UTF-8, so no pattern can match it"
    );
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::runtime::{Builder, Runtime};
    use tokio::time::timeout;

    use super::{CgroupChange, CgroupRoot, CgroupWatch, Selector};

    /// A plain directory tree behaves as cgroupfs does towards inotify, but may give the id of a
    /// directory that is gone to the next one.
    struct Tree {
        runtime: Runtime,
        dir: TempDir,
    }

    impl Tree {
        fn new() -> anyhow::Result<Self> {
            Ok(Self {
                runtime: Builder::new_current_thread().enable_all().build()?,
                dir: tempfile::tempdir()?,
            })
        }

        fn make(&self, path: &str) -> anyhow::Result<()> {
            Ok(fs::create_dir_all(self.at(path))?)
        }

        fn remove(&self, path: &str) -> anyhow::Result<()> {
            Ok(fs::remove_dir(self.at(path))?)
        }

        fn at(&self, path: &str) -> std::path::PathBuf {
            self.dir
                .path()
                .join(Path::new(path.trim_start_matches('/')))
        }

        fn watch(&self, selector: Selector) -> anyhow::Result<(CgroupWatch, Vec<String>)> {
            let root = CgroupRoot::open_dir(self.dir.path().to_path_buf())?;
            let _context = self.runtime.enter();
            let (watch, found) = CgroupWatch::start(root, selector)?;
            Ok((watch, words(&found)))
        }

        fn next(&self, watch: &mut CgroupWatch) -> anyhow::Result<Vec<String>> {
            let next = async { timeout(Duration::from_secs(20), watch.next()).await };
            Ok(words(&self.runtime.block_on(next)??))
        }
    }

    fn words(changes: &[CgroupChange]) -> Vec<String> {
        changes
            .iter()
            .map(|change| match change {
                CgroupChange::Found { path, .. } => format!("+{path}"),
                CgroupChange::Gone { path, .. } => format!("-{path}"),
            })
            .collect()
    }

    fn copilots() -> Selector {
        Selector::new(["/hoop/copilot-*"], |path| {
            path.strip_prefix("/hoop/copilot-")
                .is_some_and(|name| !name.contains('/'))
        })
    }

    #[test]
    fn reports_what_is_there_what_comes_and_what_goes() -> anyhow::Result<()> {
        let tree = Tree::new()?;
        tree.make("/hoop/copilot-1/nested")?;
        tree.make("/hoop/other")?;
        let (mut watch, found) = tree.watch(copilots())?;
        assert_eq!(found, ["+/hoop/copilot-1"]);
        // The root and /hoop: nothing else can hold a match.
        assert_eq!(watch.watched.len(), 2);
        tree.make("/other/copilot-1")?;
        tree.make("/hoop/copilot-2")?;
        assert_eq!(tree.next(&mut watch)?, ["+/hoop/copilot-2"]);
        tree.remove("/hoop/copilot-2")?;
        assert_eq!(tree.next(&mut watch)?, ["-/hoop/copilot-2"]);
        Ok(())
    }

    #[test]
    fn sees_matches_below_parents_that_come_later() -> anyhow::Result<()> {
        let tree = Tree::new()?;
        let (mut watch, found) = tree.watch(copilots())?;
        assert!(found.is_empty());
        tree.make("/hoop/copilot-1")?;
        assert_eq!(tree.next(&mut watch)?, ["+/hoop/copilot-1"]);
        tree.remove("/hoop/copilot-1")?;
        tree.remove("/hoop")?;
        assert_eq!(tree.next(&mut watch)?, ["-/hoop/copilot-1"]);
        tree.make("/hoop/copilot-1")?;
        assert_eq!(tree.next(&mut watch)?, ["+/hoop/copilot-1"]);
        assert_eq!((watch.watched.len(), watch.nodes.len()), (2, 3));
        Ok(())
    }

    #[test]
    fn stale_events_take_nothing_back() -> anyhow::Result<()> {
        let tree = Tree::new()?;
        tree.make("/hoop")?;
        let (mut watch, _) = tree.watch(copilots())?;
        // The scan of `select` sees the second directory before its events are read.
        tree.make("/hoop/copilot-1")?;
        tree.remove("/hoop/copilot-1")?;
        tree.make("/hoop/copilot-1")?;
        assert_eq!(words(&watch.select(copilots())?), ["+/hoop/copilot-1"]);
        tree.make("/hoop/copilot-2")?;
        assert_eq!(tree.next(&mut watch)?, ["+/hoop/copilot-2"]);
        Ok(())
    }

    #[test]
    fn a_new_selector_takes_back_and_adds() -> anyhow::Result<()> {
        let tree = Tree::new()?;
        tree.make("/hoop/copilot-1")?;
        tree.make("/lab/a/b")?;
        let (mut watch, _) = tree.watch(copilots())?;
        let lab = || Selector::new(["/lab/**"], |path| path.starts_with("/lab/"));
        let mut changes = words(&watch.select(lab())?);
        changes.sort();
        assert_eq!(changes, ["+/lab/a", "+/lab/a/b", "-/hoop/copilot-1"]);
        tree.make("/lab/a/b/c")?;
        assert_eq!(tree.next(&mut watch)?, ["+/lab/a/b/c"]);
        // Back to where only the root is watched, and /hoop.
        let mut changes = words(&watch.select(copilots())?);
        changes.sort();
        let gone = ["+/hoop/copilot-1", "-/lab/a", "-/lab/a/b", "-/lab/a/b/c"];
        assert_eq!(changes, gone);
        assert_eq!((watch.watched.len(), watch.nodes.len()), (2, 3));
        Ok(())
    }

    #[test]
    fn names_that_are_not_utf8_stop_nothing() -> anyhow::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let tree = Tree::new()?;
        let odd = std::ffi::OsStr::from_bytes(b"copilot-\xff");
        tree.make("/hoop/copilot-1")?;
        fs::create_dir(tree.at("/hoop").join(odd))?;
        let (mut watch, found) = tree.watch(copilots())?;
        assert_eq!(found, ["+/hoop/copilot-1"]);
        fs::remove_dir(tree.at("/hoop").join(odd))?;
        fs::create_dir(tree.at("/hoop").join(odd))?;
        tree.make("/hoop/copilot-2")?;
        assert_eq!(tree.next(&mut watch)?, ["+/hoop/copilot-2"]);
        Ok(())
    }

    #[test]
    fn links_are_not_followed() -> anyhow::Result<()> {
        let tree = Tree::new()?;
        tree.make("/real/copilot-1")?;
        std::os::unix::fs::symlink(tree.at("/real"), tree.at("/hoop"))?;
        tree.make("/real/copilot-2")?;
        let any = Selector::new(["**"], |path| path.contains("copilot"));
        let (_watch, mut found) = tree.watch(any)?;
        found.sort();
        assert_eq!(found, ["+/real/copilot-1", "+/real/copilot-2"]);
        Ok(())
    }
}
