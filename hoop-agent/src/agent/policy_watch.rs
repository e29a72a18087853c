//! Notices that the policy file or directory changed.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use inotify::{Inotify, WatchMask};
use tokio::io::unix::AsyncFd;

/// How long files must be quiet before they are read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(20);

/// See the module.
pub struct PolicyWatch {
    inotify: AsyncFd<Inotify>,
    /// The file's name if a file is watched. Its directory is what is watched, since editors and
    /// Kubernetes replace files.
    name: Option<std::ffi::OsString>,
    /// Whether something changed that nobody was told of yet.
    changed: bool,
}

impl PolicyWatch {
    /// Watches a policy file or directory.
    ///
    /// # Errors
    ///
    /// When inotify(7) refuses.
    pub fn start(policy: &Path) -> io::Result<Self> {
        let (dir, name) = if policy.is_dir() {
            (policy.to_owned(), None)
        } else {
            let parent = policy
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let dir = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
            (dir, policy.file_name().map(ToOwned::to_owned))
        };
        let inotify = Inotify::init()?;
        inotify.watches().add(
            dir,
            WatchMask::CLOSE_WRITE | WatchMask::MOVE | WatchMask::DELETE | WatchMask::CREATE,
        )?;
        // SAFETY: `Inotify` owns its descriptor for as long as it lives.
        let inotify = unsafe { AsyncFd::register(inotify) }?;
        Ok(Self {
            inotify,
            name,
            changed: false,
        })
    }

    /// Waits for a change, and until files are quiet. Nothing is lost if the wait is given up.
    pub async fn changed(&mut self) {
        loop {
            let next = self.inotify.readable_mut();
            let mut guard = if self.changed {
                match tokio::time::timeout(QUIET, next).await {
                    Ok(Ok(guard)) => guard,
                    Ok(Err(_)) => return std::future::pending().await,
                    Err(_quiet) => {
                        self.changed = false;
                        return;
                    }
                }
            } else {
                match next.await {
                    Ok(guard) => guard,
                    Err(_) => return std::future::pending().await,
                }
            };
            let relevant = guard.get_inner_mut().read_all(self.name.as_deref());
            guard.clear_ready();
            drop(guard);
            self.changed |= relevant;
        }
    }
}

trait ReadAll {
    /// Reads every waiting event; says whether one is about `name`, or about anything if there is
    /// no name.
    fn read_all(&mut self, name: Option<&std::ffi::OsStr>) -> bool;
}

impl ReadAll for Inotify {
    fn read_all(&mut self, name: Option<&std::ffi::OsStr>) -> bool {
        let mut buffer = [0; 4096];
        let mut relevant = false;
        loop {
            match self.read_events(&mut buffer) {
                Ok(events) => {
                    for event in events {
                        let about_link = event
                            .name
                            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"..data"));
                        relevant |= name.is_none() || event.name == name || about_link;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return relevant,
            }
        }
    }
}
