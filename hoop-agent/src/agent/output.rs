//! Where the recorder puts records: each gets its place in a session, is counted, and goes to the log.

use std::{fs, io, path::Path};

use hoop_records::{Record, Result as VerdictResult};
use hoop_session::lineage::Lineage;
use sha2::{Digest as _, Sha256};

use super::{counters::Counters, recorder::Verdicts};
use crate::audit::log::Log;

/// Names this boot of this machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The last stage.
pub struct Output {
    /// The log.
    pub log: Log,
    lineage: Lineage,
    counters: Counters,
    verdicts: Verdicts,
}

impl Output {
    /// Into that log.
    ///
    /// # Errors
    ///
    /// When the kernel does not say which boot this is.
    pub fn new(log: Log, counters: Counters) -> io::Result<Self> {
        Ok(Self {
            log,
            lineage: Lineage::new(seed(Path::new(BOOT_ID))?),
            counters,
            verdicts: Verdicts::default(),
        })
    }

    /// Takes a record.
    pub fn write(&mut self, mut record: Record) {
        let Self {
            log,
            lineage,
            counters,
            verdicts,
        } = self;
        let mut links = Vec::new();
        lineage.observe(&mut record, &mut |link| links.push(link));
        for record in std::iter::once(record).chain(links) {
            counters.count(&record);
            if let Some(verdict) = &record.verdict {
                match verdict.result() {
                    VerdictResult::Allow => verdicts.allow += 1,
                    VerdictResult::Shadow => verdicts.shadow += 1,
                    VerdictResult::Deny => verdicts.deny += 1,
                    VerdictResult::Unspecified => {}
                }
            }
            log.append(record);
        }
    }

    /// Takes what the lineage still has to say, and writes all.
    pub fn finish(&mut self) {
        let Self {
            log,
            lineage,
            counters,
            ..
        } = self;
        lineage.finish(&mut |link| {
            counters.count(&link);
            log.append(link);
        });
        log.flush();
    }

    /// Verdicts so far.
    pub fn verdicts(&self) -> Verdicts {
        self.verdicts
    }
}

/// What makes ids of this boot differ from those of any other: sessions are named by process and boot time.
fn seed(boot_id: &Path) -> io::Result<[u8; 16]> {
    let hash = Sha256::digest(fs::read(boot_id)?);
    let mut seed = [0; 16];
    seed.copy_from_slice(&hash[..16]);
    Ok(seed)
}
