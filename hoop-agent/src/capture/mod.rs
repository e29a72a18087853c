//! Probes at TLS libraries: which files the processes of workloads run code from, which of them hold
//! a TLS library, and a thread that attaches probes to those.
//!
//! Probes are attached to a file, for every process that maps it, and stay: the next process that uses
//! the file is covered from its first instruction. The programs there look at once whether the process
//! belongs to a workload whose policy captures.

mod files;
mod probes;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use self::{
    files::{FileId, Mapped},
    probes::{Attached, Prober},
};
use crate::{confine, kernel::load::CapturePrograms, pipeline::payload::coverage::Libraries};

/// Processes that wait to be looked at.
const WAITING: usize = 4096;

/// Files whose content is remembered. Beyond that the thread begins anew, and keeps its probes.
const FILES: usize = 16_384;

/// Processes whose libraries are remembered. Beyond that the thread begins anew.
const PROCESSES: usize = 16_384;

/// Files with probes. Beyond that no further file gets any, and its processes are not covered.
const PROBED: usize = 1024;

/// The thread. It ends, and with it all probes, when this is dropped.
pub struct Capture {
    looks: Looks,
    thread: Option<JoinHandle<()>>,
}

/// A handle to have processes looked at.
#[derive(Clone)]
pub struct Looks {
    asks: SyncSender<Ask>,
    shared: Arc<Mutex<Shared>>,
}

enum Ask {
    /// A process maps files.
    Look(u32),
    /// Files that workloads are likely to use.
    Prepare(Vec<PathBuf>),
    Stop,
}

/// What the thread found out, for who asks.
#[derive(Default)]
struct Shared {
    processes: HashMap<u32, Libraries>,
    /// Looks that were not taken since too many waited.
    missed: u64,
}

struct Thread {
    asks: Receiver<Ask>,
    shared: Arc<Mutex<Shared>>,
    prober: Prober,
    /// What files hold.
    files: HashMap<FileId, Libraries>,
    attached: HashMap<FileId, Attached>,
}

impl Capture {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When this kernel has no uprobes, or the thread cannot be made.
    pub fn start(programs: CapturePrograms) -> io::Result<Self> {
        let (asks, waiting) = sync_channel(WAITING);
        let shared = Arc::<Mutex<Shared>>::default();
        let thread = Thread {
            asks: waiting,
            shared: Arc::clone(&shared),
            prober: Prober::new(programs)?,
            files: HashMap::new(),
            attached: HashMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || {
                if let Err(error) = confine::thread() {
                    tracing::warn!(%error, "the capture keeps all capabilities");
                }
                thread.run();
            })?;
        Ok(Self {
            looks: Looks { asks, shared },
            thread: Some(thread),
        })
    }

    /// A handle to have processes looked at.
    #[must_use]
    pub fn looks(&self) -> Looks {
        self.looks.clone()
    }

    /// Attaches probes to the TLS libraries of this host, so that also a process that lives for some
    /// milliseconds only is covered.
    pub fn prepare(&self) {
        // Fails only after the thread ended.
        let _ = self.looks.asks.send(Ask::Prepare(files::of_this_host()));
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.looks.asks.send(Ask::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Looks {
    /// Has a process looked at, soon. It began to run a program, mapped a file, or was there when its
    /// workload was tagged.
    pub fn look(&self, tgid: u32) {
        if let Err(TrySendError::Full(_)) = self.asks.try_send(Ask::Look(tgid)) {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.missed += 1;
        }
    }

    /// What was found in a process when it was last looked at, also after its end.
    #[must_use]
    pub fn libraries(&self, tgid: u32) -> Libraries {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.processes.get(&tgid).cloned().unwrap_or_default()
    }
}

impl Thread {
    fn run(mut self) {
        while let Ok(ask) = self.asks.recv() {
            match ask {
                Ask::Look(tgid) => self.look(tgid),
                Ask::Prepare(paths) => {
                    for path in paths {
                        if let Ok(file) = Mapped::at(path) {
                            self.consider(&file);
                        }
                    }
                }
                Ask::Stop => return,
            }
        }
    }

    /// Looks at a process. One that is gone maps nothing, and what was known of it stays.
    fn look(&mut self, tgid: u32) {
        let Ok(mapped) = files::mapped_by(tgid) else {
            return;
        };
        let mut libraries = Libraries::default();
        for file in mapped {
            self.consider(&file);
            if let Some(found) = self.files.get(&file.id) {
                libraries.covered.extend(found.covered.iter().cloned());
                libraries.uncovered.extend(found.uncovered.iter().cloned());
            }
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.processes.len() >= PROCESSES {
            shared.processes.clear();
        }
        shared.processes.insert(tgid, libraries);
    }

    /// Attaches what there is to attach to a file that was not seen before.
    fn consider(&mut self, file: &Mapped) {
        if self.files.contains_key(&file.id) {
            return;
        }
        let mut found = Libraries::default();
        if !self.attached.contains_key(&file.id) {
            let full = self.attached.len() >= PROBED;
            match self.prober.probe(file, full, &mut found) {
                Ok(attached) if attached.is_empty() => {}
                Ok(attached) => {
                    self.attached.insert(file.id, attached);
                }
                Err(error) => {
                    tracing::debug!(path = %file.path.display(), %error, "not looked at");
                    // Perhaps another time: the process may have ended meanwhile.
                    return;
                }
            }
        }
        if self.files.len() >= FILES {
            self.files.retain(|id, _| self.attached.contains_key(id));
        }
        self.files.insert(file.id, found);
    }
}
