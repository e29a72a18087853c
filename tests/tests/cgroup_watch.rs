//! The daemon sees the cgroup tree as the kernel has it. Needs root.

use std::fs;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use hoop_agent::workload::cgroup::{CgroupError, CgroupRoot};
use hoop_agent::workload::path::CgroupPath;
use hoop_agent::workload::procfs::ProcessSnapshot;
use hoop_agent::workload::selector::Selector;
use hoop_agent::workload::watch::{CgroupChange, CgroupWatch};
use nix::poll::{PollFd, PollFlags, poll};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

/// A cgroup of this test alone, removed with everything in it when dropped.
struct Scratch {
    root: CgroupRoot,
    path: CgroupPath,
}

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = CgroupRoot::find()?;
        let path = CgroupPath::parse(&format!("/hoop-test-watch-{}-{number}", std::process::id()))?;
        root.create(&path)?;
        Ok(Self { root, path })
    }

    fn below(&self, name: &str) -> anyhow::Result<CgroupPath> {
        Ok(CgroupPath::parse(&format!("{}/{name}", self.path))?)
    }

    /// Starts a program that waits, inside a cgroup.
    fn start_in(&self, path: &CgroupPath) -> anyhow::Result<Waiting> {
        let procs = self.root.full_path(path).join("cgroup.procs");
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null());
        let procs = fs::OpenOptions::new().write(true).open(procs)?;
        // SAFETY: writes to an open file, nothing else; `0` stands for the writer.
        unsafe {
            command.pre_exec(move || {
                loop {
                    match nix::unistd::write(&procs, b"0") {
                        Err(nix::Error::EINTR) => {}
                        done => return done.map(drop).map_err(io::Error::from),
                    }
                }
            });
        }
        Ok(Waiting(command.spawn()?))
    }

    /// Waits until no process is left in the cgroup: the kernel says so by `cgroup.events`.
    fn wait_until_empty(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut events = fs::File::open(self.root.full_path(&self.path).join("cgroup.events"))?;
        loop {
            // Reading arms the poll.
            let mut content = String::new();
            events.rewind()?;
            events.read_to_string(&mut content)?;
            if content.contains("populated 0") {
                return Ok(());
            }
            anyhow::ensure!(start.elapsed() < DEADLINE, "{} stays populated", self.path);
            let mut polled = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut polled, 1000_u16) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let emptied = self.wait_until_empty();
        let removed = self.root.remove(&self.path);
        if emptied.is_err() || removed.is_err() {
            eprintln!("cannot clean up: {emptied:?} {removed:?}");
        }
    }
}

struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_not_found<T>(result: &Result<T, CgroupError>) -> bool {
    matches!(result, Err(CgroupError::NotFound { .. }))
}

#[test]
fn paths_and_ids_translate_both_ways() -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let nested = scratch.below("a/b (deleted)")?;
    let id = scratch.root.create(&nested)?;
    assert_eq!(scratch.root.id(&nested)?, id);
    assert_eq!(scratch.root.path_of(id)?, Some(nested.clone()));
    assert_eq!(nested.level(), 3);
    assert_eq!(scratch.root.subtree_ids(&scratch.path)?.len(), 3);
    assert!(scratch.root.create(&nested).is_err(), "it is there already");

    scratch.root.remove(&scratch.below("a")?)?;
    assert_eq!(scratch.root.path_of(id)?, None);
    assert!(is_not_found(&scratch.root.id(&nested)));
    scratch.root.remove(&nested)?;
    Ok(())
}

#[test]
fn processes_of_nested_cgroups_are_the_workloads() -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let nested = scratch.below("a/b")?;
    scratch.root.create(&nested)?;
    assert!(!scratch.root.populated(&scratch.path)?);
    assert!(scratch.root.processes(&scratch.path)?.is_empty());

    let (outer, inner) = (scratch.start_in(&scratch.path)?, scratch.start_in(&nested)?);
    let mut started = [outer.0.id(), inner.0.id()];
    started.sort_unstable();
    assert_eq!(scratch.root.processes(&scratch.path)?, started);
    assert_eq!(scratch.root.processes(&nested)?, [inner.0.id()]);
    assert!(scratch.root.populated(&scratch.path)?);
    let busy = scratch.root.remove(&scratch.path);
    assert!(matches!(busy, Err(CgroupError::Busy { .. })), "{busy:?}");

    // `spawn` returns before the kernel has set up the new program's arguments.
    let start = Instant::now();
    let seen = loop {
        let seen = ProcessSnapshot::read(inner.0.id()).context("the process is there")?;
        if seen.arguments.starts_with(b"sleep") || start.elapsed() > DEADLINE {
            break seen;
        }
        thread::yield_now();
    };
    assert_eq!(seen.cgroup.as_deref(), Some(nested.as_str().as_ref()));
    assert_eq!(seen.parent, std::process::id());
    assert_eq!(seen.arguments, b"sleep\x00600\0");

    drop((outer, inner));
    scratch.wait_until_empty()?;
    assert!(!scratch.root.populated(&scratch.path)?);
    Ok(())
}

#[test]
fn threaded_cgroups_give_their_processes() -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let threaded = scratch.below("threads")?;
    scratch.root.create(&threaded)?;
    fs::write(
        scratch.root.full_path(&threaded).join("cgroup.type"),
        "threaded",
    )?;
    let process = scratch.start_in(&scratch.path)?;
    fs::write(
        scratch.root.full_path(&threaded).join("cgroup.threads"),
        process.0.id().to_string(),
    )?;
    assert_eq!(scratch.root.processes(&threaded)?, [process.0.id()]);
    Ok(())
}

#[test]
fn the_watch_follows_cgroups() -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let early = scratch.below("copilot-early")?;
    let early_id = scratch.root.create(&early)?;
    scratch.root.create(&scratch.below("other/copilot-not")?)?;

    let prefix = format!("{}/copilot-", scratch.path);
    let pattern = format!("{prefix}*");
    let selector = Selector::new([pattern.as_str()], move |path| {
        path.strip_prefix(&prefix)
            .is_some_and(|name| !name.contains('/'))
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut watch, found) = CgroupWatch::start(scratch.root.clone(), selector)?;
        let early_found = CgroupChange::Found {
            path: early.clone(),
            id: early_id,
        };
        assert_eq!(found, [early_found]);

        let path = scratch.below("copilot-late")?;
        let id = scratch.root.create(&path)?;
        scratch
            .root
            .create(&scratch.below("copilot-late/nested")?)?;
        let changes = timeout(DEADLINE, watch.next()).await??;
        let path_of_late = path.clone();
        assert_eq!(changes, [CgroupChange::Found { path, id }]);

        // Removed and made again before anyone looks: another cgroup.
        scratch.root.remove(&path_of_late)?;
        let id_again = scratch.root.create(&path_of_late)?;
        let mut changes = Vec::new();
        while changes.len() < 2 {
            changes.extend(timeout(DEADLINE, watch.next()).await??);
        }
        let path = path_of_late.clone();
        let gone = CgroupChange::Gone { path, id };
        let path = path_of_late.clone();
        let id = id_again;
        assert_eq!(changes, [gone, CgroupChange::Found { path, id }]);

        scratch.root.remove(&path_of_late)?;
        let changes = timeout(DEADLINE, watch.next()).await??;
        let path = path_of_late;
        assert_eq!(changes, [CgroupChange::Gone { path, id }]);
        Ok(())
    })
}

#[test]
fn a_burst_beyond_the_queue_is_found_whole() -> anyhow::Result<()> {
    // Two events for every round, none of them read: more than the kernel keeps.
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?
        .trim()
        .parse()?;
    anyhow::ensure!(queue <= 100_000, "the queue is too long to fill: {queue}");
    let scratch = Scratch::new()?;
    let prefix = format!("{}/", scratch.path);
    let pattern = format!("{prefix}*");
    let selector = Selector::new([pattern.as_str()], move |path| path.starts_with(&prefix));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut watch, found) = CgroupWatch::start(scratch.root.clone(), selector)?;
        assert!(found.is_empty());
        let (a, b) = (scratch.below("a")?, scratch.below("b")?);
        for _ in 0..=queue / 2 {
            fs::create_dir(scratch.root.full_path(&a))?;
            fs::remove_dir(scratch.root.full_path(&a))?;
        }
        let id = scratch.root.create(&b)?;
        let changes = timeout(DEADLINE, watch.next()).await??;
        assert_eq!(changes, [CgroupChange::Found { path: b, id }]);
        Ok(())
    })
}

#[test]
fn depth_costs_neither_stack_nor_time() -> anyhow::Result<()> {
    const DEPTH: usize = 1500;
    // Long enough that the deepest path exceeds PATH_MAX.
    let scratch = Scratch::new()?;
    let deep = scratch.below(&vec!["deep"; DEPTH].join("/"))?;
    scratch.root.create(&deep)?;
    assert!(deep.as_str().len() > 4096);
    assert_eq!(scratch.root.subtree_ids(&scratch.path)?.len(), DEPTH + 1);
    assert!(scratch.root.processes(&scratch.path)?.is_empty());
    scratch.root.remove(&scratch.below("deep")?)?;
    assert!(is_not_found(&scratch.root.id(&deep)));
    Ok(())
}
