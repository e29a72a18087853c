//! Writes a log.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::chain::Chain;
use crate::error::Error;
use crate::key::{SigningKey, VerifierKey};
use crate::layout::{self, KEY, LOCK, LogDir, Segment, UNFINISHED};
use crate::note::Checkpoint;
use crate::recover::{self, Found, Reason, Sound};
use crate::retention::Retention;
use crate::sealer::Sealer;
use crate::segment::{self, MAX_BODY};
use crate::tail::Tail;

/// Most bytes that are committed at once, but for one record more.
const MAX_BATCH: usize = 32 << 20;

/// How a log is written.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory that the logs are in. Created if it is missing, for its owner alone.
    pub dir: PathBuf,
    /// From how many bytes on a segment is full.
    pub segment_bytes: u64,
    /// When what was written is made to outlive a crash of the machine.
    pub fsync: Fsync,
    /// What is kept.
    pub retention: Retention,
    /// What the thread that compresses calls first, to give up what it does not need.
    pub thread_begins: fn(),
}

/// When what was written is made to outlive a crash of the machine. It outlives a crash of the process
/// in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// When the kernel sees fit.
    Never,
    /// With the first commit after so much time.
    Every(Duration),
    /// With each commit, before any reader sees it.
    EachCommit,
}

/// Appends records to the last of the logs in a directory.
///
/// There is one writer at a time. It neither reads nor changes what was committed.
#[derive(Debug)]
pub struct Writer {
    config: Config,
    key: SigningKey,
    log: LogDir,
    origin: String,
    file: File,
    segment: Segment,
    /// Up to where the segment is committed, in bytes.
    length: u64,
    /// Whether there may be something behind that.
    torn: bool,
    note: String,
    committed: Chain,
    /// `committed`, and what is in the batch.
    pending: Chain,
    batch: Vec<u8>,
    synced: Instant,
    unsynced: bool,
    last: watch::Sender<u64>,
    sealer: Sealer,
    /// Locked as long as it is open.
    _lock: File,
}

/// A writer, and what it found.
#[derive(Debug)]
pub struct Opened {
    /// The writer.
    pub writer: Writer,
    /// What a crash had left behind the last checkpoint and was cut off: nobody has seen it.
    pub repaired: Option<Repaired>,
    /// The log before, if this one was begun just now.
    pub followed: Option<Followed>,
}

/// What was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// How much, in bytes.
    pub bytes: u64,
}

/// A log that was not gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Why.
    pub reason: Reason,
    /// Its last checkpoint, a signed note. Empty if there is none.
    pub checkpoint: String,
}

impl Config {
    /// For that directory: segments of 64 MiB, synchronised every second, all kept.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            fsync: Fsync::Every(Duration::from_secs(1)),
            retention: Retention::default(),
            thread_begins: || {},
        }
    }
}

impl Writer {
    /// Goes on with the last log in the directory, or begins the next if that is damaged or signed by another
    /// key. The caller writes a record about what was found.
    ///
    /// # Errors
    ///
    /// Another writer has the directory, or a file could not be read or written.
    pub fn open(config: Config, key: SigningKey) -> Result<Opened, Error> {
        let dir = config.dir.clone();
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let lock = lock(&dir)?;
        remove_unfinished(&dir)?;
        let logs = layout::logs(&dir)?;
        let Some(log) = logs.last() else {
            let place = Place::create(&dir, 1, 1, &key)?;
            let writer = Self::new(config, key, lock, place)?;
            return Ok(Opened {
                writer,
                repaired: None,
                followed: None,
            });
        };

        let counter = log.counter + 1;
        let (place, repaired, followed) = match recover::find(log)? {
            Found::Sound(sound) => {
                let repaired = (sound.torn > 0).then_some(Repaired { bytes: sound.torn });
                if sound.fresh {
                    end_previous(&logs)?;
                }
                if sound.key == *key.verifier() {
                    (
                        Place::resume(&dir, log.clone(), *sound, &key)?,
                        repaired,
                        None,
                    )
                } else {
                    let (first, note) = (sound.chain.next(), sound.note);
                    // In this order: a log that is closed is followed by another.
                    let place = Place::create(&dir, counter, first, &key)?;
                    recover::end(&sound.segment, sound.length, true)?;
                    let reason = Reason::KeyChanged;
                    (
                        place,
                        repaired,
                        Some(Followed {
                            reason,
                            checkpoint: note,
                        }),
                    )
                }
            }
            Found::Damaged { note, next } => {
                let place = Place::create(&dir, counter, next.max(1), &key)?;
                let reason = Reason::Damaged;
                (
                    place,
                    None,
                    Some(Followed {
                        reason,
                        checkpoint: note,
                    }),
                )
            }
        };
        let writer = Self::new(config, key, lock, place)?;
        Ok(Opened {
            writer,
            repaired,
            followed,
        })
    }

    /// Appends a record, to be committed with the next commit, and gives its number. `body` is a `hoop.v1.Record`
    /// without the fields `number` and `previous`.
    ///
    /// # Errors
    ///
    /// It is too large, or there is more to be committed than a commit takes.
    pub fn append(&mut self, body: &[u8]) -> Result<u64, Error> {
        if body.len() > MAX_BODY {
            return Err(Error::TooLarge);
        }
        if self.batch.len() >= MAX_BATCH {
            return Err(Error::BatchFull);
        }
        let number = self.pending.next();
        let start = segment::put_record(number, self.pending.previous(), body, &mut self.batch);
        self.pending.append(&self.batch[start..]);
        Ok(number)
    }

    /// Commits what was appended: writes it with a signed checkpoint behind it. Readers see it from then on.
    ///
    /// # Errors
    ///
    /// It could not be written. The log is as it was before, and the batch is forgotten: its numbers are given
    /// again to what is appended next.
    pub fn commit(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let result = self.write();
        if result.is_err() {
            self.batch.clear();
            self.pending = self.committed.clone();
            self.torn = self.file.set_len(self.length).is_err();
        }
        result
    }

    /// Makes all that was committed outlive a crash of the machine.
    ///
    /// # Errors
    ///
    /// The kernel could not.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            self.file.sync_data()?;
            self.unsynced = false;
        }
        self.synced = Instant::now();
        Ok(())
    }

    /// Number of the last committed record; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.committed.next() - 1
    }

    /// The last checkpoint, a signed note. Empty if nothing was committed to this log.
    pub fn checkpoint(&self) -> &str {
        &self.note
    }

    /// The end of the log, for readers in this process.
    pub fn tail(&self) -> Tail {
        Tail::new(self.last.subscribe())
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The segment that is written to.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    fn new(config: Config, key: SigningKey, lock: File, place: Place) -> io::Result<Self> {
        let last = place.chain.next() - 1;
        let sealer = Sealer::start(config.dir.clone(), config.thread_begins)?;
        Ok(Self {
            config,
            key,
            log: place.log,
            origin: place.origin,
            file: place.file,
            segment: place.segment,
            length: place.length,
            torn: false,
            note: place.note,
            committed: place.chain.clone(),
            pending: place.chain,
            batch: Vec::new(),
            synced: Instant::now(),
            unsynced: false,
            last: watch::Sender::new(last),
            sealer,
            _lock: lock,
        })
    }

    fn write(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        if self.length >= self.config.segment_bytes {
            self.roll()?;
        }
        let note = Checkpoint::of(&self.origin, self.pending.tree()).sign(&self.key);
        segment::put_checkpoint(note.clone(), &mut self.batch);
        self.file.write_all_at(&self.batch, self.length)?;
        self.unsynced = true;
        let sync = match self.config.fsync {
            Fsync::Never => false,
            Fsync::Every(time) => self.synced.elapsed() >= time,
            Fsync::EachCommit => true,
        };
        if sync {
            self.sync()?;
        }
        self.length += self.batch.len() as u64;
        self.batch.clear();
        self.note = note;
        self.committed.clone_from(&self.pending);
        self.last.send_replace(self.last());
        Ok(())
    }

    /// Goes on in the next segment.
    fn roll(&mut self) -> io::Result<()> {
        let _files = self.sealer.hold();
        let start = self.committed.start(self.note.clone());
        let (file, segment, length) = create_segment(&self.log, start)?;
        // In this order: a segment that has an end is followed by another.
        let ended = (|| {
            self.file.sync_data()?;
            recover::end(&self.segment, self.length, false)
        })();
        if let Err(err) = ended {
            self.torn = true;
            fs::remove_file(segment.path())?;
            return Err(err);
        }
        self.file = file;
        self.segment = segment;
        self.length = length;
        self.unsynced = false;
        self.sealer.wake();
        Ok(())
    }
}

/// Where a writer writes.
struct Place {
    log: LogDir,
    origin: String,
    file: File,
    segment: Segment,
    length: u64,
    chain: Chain,
    note: String,
}

impl Place {
    /// The end of a log.
    fn resume(dir: &Path, log: LogDir, sound: Sound, key: &SigningKey) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(sound.segment.path())?;
        if sound.torn > 0 {
            file.set_len(sound.length)?;
            file.sync_data()?;
        }
        let origin = match Checkpoint::read(&sound.note) {
            Ok(checkpoint) => checkpoint.origin,
            Err(_) => origin(dir, log.counter, key.verifier())?,
        };
        Ok(Self {
            log,
            origin,
            file,
            segment: sound.segment,
            length: sound.length,
            chain: sound.chain,
            note: sound.note,
        })
    }

    /// A log without records, of which the first will have that number.
    fn create(dir: &Path, counter: u64, first: u64, key: &SigningKey) -> io::Result<Self> {
        let log = layout::log_dir(dir, counter);
        let unfinished = LogDir {
            counter,
            path: dir.join(format!("{counter:010}{UNFINISHED}")),
        };
        DirBuilder::new().mode(0o700).create(&unfinished.path)?;
        let mut file = new_file(&unfinished.path.join(KEY))?;
        writeln!(file, "{}", key.verifier())?;
        file.sync_all()?;
        let chain = Chain::new(first);
        let (file, mut segment, length) = create_segment(&unfinished, chain.start(String::new()))?;
        fs::rename(&unfinished.path, &log.path)?;
        layout::sync_dir(dir)?;
        segment.log.clone_from(&log.path);
        Ok(Self {
            origin: origin(dir, counter, key.verifier())?,
            log,
            file,
            segment,
            length,
            chain,
            note: String::new(),
        })
    }
}

/// The name of a log in its checkpoints: the key's name; if the key signed a log before this one, with this one's
/// place in the order behind it, since a log signs nothing that is not consistent with what it signed before.
fn origin(dir: &Path, counter: u64, key: &VerifierKey) -> io::Result<String> {
    let before = layout::logs(dir)?
        .into_iter()
        .filter(|log| log.counter < counter);
    let again = before
        .map(|log| log.key())
        .any(|other| other.is_ok_and(|other| other == *key));
    Ok(if again {
        format!("{}/{counter:010}", key.name())
    } else {
        key.name().to_owned()
    })
}

/// A segment that has nothing but its start.
fn create_segment(log: &LogDir, start: segment::SegmentStart) -> io::Result<(File, Segment, u64)> {
    let first = start.first;
    let path = log.plain(first);
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(UNFINISHED);
    let mut bytes = Vec::new();
    segment::put_start(start, &mut bytes);
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, &path)?;
    layout::sync_dir(&log.path)?;
    let segment = Segment {
        first,
        sealed: false,
        log: log.path.clone(),
    };
    Ok((file, segment, bytes.len() as u64))
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// The lock of a directory.
fn lock(dir: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(dir.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked),
        Err(TryLockError::Error(err)) => Err(err.into()),
    }
}

/// Removes what a crash left unfinished.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for log in layout::logs(dir)? {
        for entry in fs::read_dir(&log.path)? {
            let path = entry?.path();
            if is_unfinished(&path) {
                fs::remove_file(path)?;
            }
        }
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if is_unfinished(&path) && path.is_dir() {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

fn is_unfinished(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .ends_with(UNFINISHED.as_bytes())
}

/// Ends what comes before a segment that has no records: a crash may have come between the two.
fn end_previous(logs: &[LogDir]) -> io::Result<()> {
    let [before @ .., log] = logs else {
        return Ok(());
    };
    let segments = log.segments()?;
    if let [.., previous, _] = &segments[..] {
        return recover::end_previous(previous);
    }
    if let Some(log) = before.last()
        && let Found::Sound(sound) = recover::find(log)?
    {
        // Neither damaged nor closed: that is a key that was changed.
        recover::end(&sound.segment, sound.length, true)?;
    }
    Ok(())
}
