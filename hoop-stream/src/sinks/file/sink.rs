use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use hoop_ocsf::Node;

use super::Config;
use crate::render;
use crate::runner::{Failure, Sink};
use crate::source::Entry;

/// The sink. The file is opened with the first record.
pub(crate) fn sink(config: &Config, node: &Arc<Node>) -> impl Sink + use<> {
    FileSink {
        config: config.clone(),
        node: Arc::clone(node),
        open: None,
    }
}

struct FileSink {
    config: Config,
    node: Arc<Node>,
    open: Option<Lines>,
}

impl Sink for FileSink {
    async fn deliver(&mut self, records: &[Entry]) -> Result<(), Failure> {
        let (records, rest) = render::decode(records);
        let mut lines = Vec::new();
        for record in &records {
            render::json(record, self.config.format, &self.node, &mut lines);
            lines.push(b'\n');
        }
        if !lines.is_empty() {
            self.append(lines).await?;
        }
        rest
    }
}

impl FileSink {
    /// Appends on a thread of its own: a disk that hangs holds nobody else.
    async fn append(&mut self, lines: Vec<u8>) -> Result<(), Failure> {
        let config = self.config.clone();
        let open = self.open.take();
        let appended = tokio::task::spawn_blocking(move || {
            let mut open = match open {
                Some(open) => open,
                None => Lines::open(&config)?,
            };
            open.append(&config, &lines)?;
            io::Result::Ok(open)
        });
        let appended = appended.await.map_err(io::Error::other).flatten();
        self.open = Some(appended.map_err(Failure::retry)?);
        Ok(())
    }
}

/// A file that ends with a whole line.
struct Lines {
    file: File,
    length: u64,
}

impl Lines {
    /// Opens or makes the file, and cuts off the line that a crash left without its end.
    fn open(config: &Config) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&config.path)?;
        let mut length = file.metadata()?.len();
        let whole = whole_lines(&mut file, length)?;
        if whole < length {
            file.set_len(whole)?;
            length = whole;
        }
        Ok(Self { file, length })
    }

    /// Appends whole lines, and returns when they are on the disk.
    fn append(&mut self, config: &Config, lines: &[u8]) -> io::Result<()> {
        let grown = self.length + lines.len() as u64;
        if grown > config.rotate.bytes && self.length > 0 {
            rotate(config)?;
            *self = Self::open(config)?;
        }
        let written = self.file.write_all(lines);
        if let Err(error) = written {
            // A full disk: what was written of it is taken back, or cut when the file is opened again.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += lines.len() as u64;
        self.file.sync_data()
    }
}

/// Where the last whole line of the file ends.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let mut block = [0; 8192];
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        #[expect(clippy::cast_possible_truncation, reason = "at most a block")]
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(newline) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Renames `PATH` to `PATH.1`, that to `PATH.2` and so on; the last is replaced.
fn rotate(config: &Config) -> io::Result<()> {
    let name = |at: u32| {
        let mut name = config.path.clone().into_os_string();
        if at > 0 {
            name.push(format!(".{at}"));
        }
        PathBuf::from(name)
    };
    for at in (0..config.rotate.keep).rev() {
        match fs::rename(name(at), name(at + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
