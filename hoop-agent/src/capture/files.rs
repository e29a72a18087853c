//! The files that a process runs code from.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Largest file that is looked at, in bytes: larger than every program that was seen to hold a TLS
/// library, with debug information.
const MAX_FILE: u64 = 1 << 30;

/// Files of one process that are looked at.
const MAX_MAPPED: usize = 4096;

/// Where libraries are on this host, and in what of them TLS is.
const LIBRARY_DIRECTORIES: [&str; 6] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
];
const LIBRARY_NAMES: [&str; 2] = ["libssl.so", "libgnutls.so"];

/// Tells one content of a file from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    size: u64,
    changed_ns: i128,
}

/// A file that a process runs code from.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    pub(super) id: FileId,
    /// A path that leads to it as long as the process maps it, whatever its name is now.
    pub(super) path: PathBuf,
    /// Its name, for people.
    pub(super) name: String,
}

/// A file that is held open.
pub(super) struct Opened(File);

impl Mapped {
    /// The file at a path of this host.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub(super) fn at(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            id: identify(&path)?,
            name: path.display().to_string(),
            path,
        })
    }

    /// Opens it, so that it stays there when the process ends.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is another file by now.
    pub(super) fn open(&self) -> io::Result<Opened> {
        let file = File::open(&self.path)?;
        if identity(&file.metadata()?)? != self.id {
            return Err(io::Error::other("another file took its place"));
        }
        Ok(Opened(file))
    }
}

impl Opened {
    /// Reads all of it. A copy, since who may write to the file could cut it while it is mapped.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is larger than is looked at.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let size = self.0.metadata()?.len();
        if size > MAX_FILE {
            return Err(io::Error::other("the file is too large to be looked at"));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        (&self.0).take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A path that leads to it for as long as this lives.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// The files that a process maps to run code from, its program among them.
///
/// # Errors
///
/// When it has ended.
pub(super) fn mapped_by(tgid: u32) -> io::Result<Vec<Mapped>> {
    let process = PathBuf::from(format!("/proc/{tgid}"));
    let maps = fs::read(process.join("maps"))?;
    let maps = String::from_utf8_lossy(&maps);
    let mut found: Vec<Mapped> = Vec::new();
    for (range, name) in maps.lines().filter_map(executable) {
        if found.len() >= MAX_MAPPED {
            break;
        }
        let path = process.join("map_files").join(range);
        if let Ok(id) = identify(&path)
            && found.iter().all(|file| file.id != id)
        {
            found.push(Mapped {
                id,
                path,
                name: name.to_owned(),
            });
        }
    }
    Ok(found)
}

/// The TLS libraries that this host's own programs use.
pub(super) fn of_this_host() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in LIBRARY_DIRECTORIES.map(Path::new) {
        libraries_in(directory, 1, &mut found);
    }
    found
}

/// Looks into the directories of an architecture, too: `/usr/lib/x86_64-linux-gnu`.
fn libraries_in(directory: &Path, deeper: u32, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if LIBRARY_NAMES
            .iter()
            .any(|library| name.starts_with(library))
        {
            found.push(entry.path());
        } else if deeper > 0
            && name.ends_with("-linux-gnu")
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
        {
            libraries_in(&entry.path(), deeper - 1, found);
        }
    }
}

/// The range and the name of a line of `/proc/PID/maps` (proc(5)), if it maps code from a file.
fn executable(line: &str) -> Option<(String, &str)> {
    let mut fields = line.splitn(6, ' ');
    let (from, to) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let inode = fields.nth(2)?;
    let name = fields.next()?.trim_start();
    // `map_files` writes addresses without the zeros that `maps` puts before short ones.
    let range = || {
        let [from, to] = [from, to].map(|address| address.trim_start_matches('0'));
        format!("{from}-{to}")
    };
    (permissions.contains('x') && inode != "0").then(|| (range(), name))
}

fn identify(path: &Path) -> io::Result<FileId> {
    identity(&fs::metadata(path)?)
}

fn identity(meta: &fs::Metadata) -> io::Result<FileId> {
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(FileId {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        changed_ns: i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn only_code_of_files_is_looked_at() {
        let line = "7f10-7f20 r-xp 00001000 fe:00 1234   /usr/lib/lib ssl.so (deleted)";
        assert_eq!(
            executable(line),
            Some(("7f10-7f20".to_owned(), "/usr/lib/lib ssl.so (deleted)"))
        );
        let line = "00400000-00401000 r-xp 00000000 fe:00 99   /bin/go";
        assert_eq!(
            executable(line),
            Some(("400000-401000".to_owned(), "/bin/go"))
        );
        for other in [
            "7f10-7f20 r--p 00001000 fe:00 1234   /usr/lib/libssl.so",
            "7ffd1000-7ffd2000 r-xp 00000000 00:00 0   [vdso]",
            "7f10-7f20 rwxp 00000000 00:00 0 ",
            "",
        ] {
            assert_eq!(executable(other), None, "{other}");
        }
    }
}
