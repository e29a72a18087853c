//! A thread that seals segments that are full.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::layout::{self, Segment};
use crate::sealed;

/// Seals segments as they become full, when the processor has nothing better to do.
#[derive(Debug)]
pub(crate) struct Sealer {
    wake: Option<SyncSender<()>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Held while files come and go.
    files: Mutex<()>,
    stop: AtomicBool,
}

impl Sealer {
    /// Starts the thread for the logs in a directory.
    pub(crate) fn start(dir: PathBuf, begin: fn()) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let builder = thread::Builder::new().name("log-sealer".to_owned());
        let thread = builder.spawn(move || {
            begin();
            run(&dir, &woken, &theirs);
        })?;
        let sealer = Self {
            wake: Some(wake),
            shared,
            thread: Some(thread),
        };
        sealer.wake();
        Ok(sealer)
    }

    /// Lets it look for segments that are full.
    pub(crate) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // If it is full, the thread will look in any case.
            let _ = wake.try_send(());
        }
    }

    /// Keeps it from adding and removing files.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.shared.hold()
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say; what it was at is done again at the next start.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn hold(&self) -> MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(dir: &Path, woken: &Receiver<()>, shared: &Shared) {
    // On Linux, of this thread alone. Where it is not allowed, it is as nice as the others.
    let _ = rustix::process::setpriority_process(None, 19);
    // Damaged ones stay as they are: `verify` shall find them.
    let mut damaged = HashSet::new();
    while woken.recv().is_ok() {
        let full = {
            let _files = shared.hold();
            full(dir).unwrap_or_default()
        };
        for segment in full {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            if damaged.contains(&segment.path()) {
                continue;
            }
            let sealed = sealed::seal(&segment, &shared.stop, |replace| {
                let _files = shared.hold();
                replace()
            });
            if sealed.is_err_and(|err| err.kind() == io::ErrorKind::InvalidData) {
                damaged.insert(segment.path());
            }
        }
    }
}

/// Segments that are followed by others and not sealed.
fn full(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for log in layout::logs(dir)? {
        segments.extend(log.segments()?);
    }
    segments.pop();
    segments.retain(|segment| !segment.sealed);
    Ok(segments)
}
