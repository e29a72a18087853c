//! A root file system in memory: programs of this machine with the libraries that they load, at the
//! paths that they have here. Format: `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::run;

const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;
const MODE_SYMLINK: u32 = 0o120_000;

/// Links in a path that lead nowhere else are followed no further than this.
const MAX_LINKS: u32 = 40;

/// Files by absolute path, parents before what is in them.
#[derive(Debug, Default)]
pub(crate) struct Initramfs {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug)]
enum Entry {
    Directory,
    Symlink(PathBuf),
    File { mode: u32, data: Vec<u8> },
}

impl Initramfs {
    /// Adds an empty directory, and those that it is in.
    pub(crate) fn directory(&mut self, path: &Path) {
        for above in path.ancestors().filter(|it| it.parent().is_some()) {
            self.entries
                .entry(above.to_owned())
                .or_insert(Entry::Directory);
        }
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &Path, mode: u32, data: Vec<u8>) {
        if let Some(above) = path.parent() {
            self.directory(above);
        }
        self.entries
            .insert(path.to_owned(), Entry::File { mode, data });
    }

    /// Adds a link.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) {
        self.entries
            .insert(path.to_owned(), Entry::Symlink(target.to_owned()));
    }

    /// Adds a file of this machine, with the links on the way to it.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(crate) fn copy(&mut self, path: &Path) -> Result<()> {
        let path = self.links(path, MAX_LINKS)?;
        if self.entries.contains_key(&path) {
            return Ok(());
        }
        let mode = path.metadata()?.mode() & 0o7777;
        let data = fs::read(&path).with_context(|| path.display().to_string())?;
        self.file(&path, mode, data);
        Ok(())
    }

    /// Adds a program of this machine and the libraries that it loads.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub(crate) fn program(&mut self, path: &Path) -> Result<()> {
        self.copy(path)?;
        self.libraries_of(path)
    }

    /// Adds a large program without the part that only debuggers read, and its libraries.
    ///
    /// # Errors
    ///
    /// As [`Initramfs::program`], or it cannot be stripped.
    pub(crate) fn stripped_program(&mut self, path: &Path) -> Result<()> {
        self.copy_stripped(path)?;
        self.libraries_of(path)
    }

    /// Writes the archive.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn write(&self, to: &Path) -> Result<()> {
        let file = fs::File::create(to).with_context(|| to.display().to_string())?;
        let mut out = BufWriter::new(file);
        self.write_to(&mut out)?;
        out.flush()?;
        Ok(())
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        for (number, (path, entry)) in self.entries.iter().enumerate() {
            let (mode, data) = match entry {
                Entry::Directory => (MODE_DIRECTORY | 0o755, &[][..]),
                Entry::Symlink(target) => {
                    (MODE_SYMLINK | 0o777, target.as_os_str().as_encoded_bytes())
                }
                Entry::File { mode, data } => (MODE_FILE | mode, &data[..]),
            };
            let name = path.strip_prefix("/").unwrap_or(path);
            let name = name.as_os_str().as_encoded_bytes();
            write_entry(out, number as u32 + 1, mode, name, data)?;
        }
        write_entry(out, 0, 0, b"TRAILER!!!", &[])
    }

    fn copy_stripped(&mut self, path: &Path) -> Result<()> {
        let stripped = std::env::temp_dir().join(format!("hoop-stripped-{}", std::process::id()));
        let result = run::capture(
            Command::new("strip")
                .args(["--strip-debug", "-o"])
                .args([&stripped, path]),
        )
        .and_then(|_| Ok(fs::read(&stripped)?));
        fs::remove_file(&stripped).ok();
        self.file(path, 0o755, result?);
        Ok(())
    }

    fn libraries_of(&mut self, path: &Path) -> Result<()> {
        let output = Command::new("ldd").arg(path).output().context("ldd")?;
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines() {
            ensure!(!line.ends_with("not found"), "{}: {line}", path.display());
            if let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) {
                self.copy(Path::new(library))?;
            }
        }
        Ok(())
    }

    /// Adds every link on the way to `path`, and returns where it leads.
    fn links(&mut self, path: &Path, left: u32) -> Result<PathBuf> {
        ensure!(left > 0, "{}: too many links", path.display());
        let mut real = PathBuf::new();
        let mut rest = path.components();
        while let Some(component) = rest.next() {
            if component == Component::ParentDir {
                real.pop();
                continue;
            }
            real.push(component);
            let meta = real
                .symlink_metadata()
                .with_context(|| real.display().to_string())?;
            if meta.is_symlink() {
                let target = fs::read_link(&real)?;
                let above = real.parent().unwrap_or(Path::new("/")).to_owned();
                let next = above.join(&target).join(rest.as_path());
                self.directory(&above);
                self.entries.insert(real, Entry::Symlink(target));
                return self.links(&next, left - 1);
            }
        }
        Ok(real)
    }
}

fn write_entry(
    out: &mut impl Write,
    inode: u32,
    mode: u32,
    name: &[u8],
    data: &[u8],
) -> io::Result<()> {
    let (links, zero) = (1, 0);
    out.write_all(b"070701")?;
    for field in [
        inode,
        mode,
        zero, // user
        zero, // group
        links,
        zero, // time
        data.len() as u32,
        zero,
        zero,
        zero,
        zero, // devices
        name.len() as u32 + 1,
        zero, // checksum
    ] {
        write!(out, "{field:08x}")?;
    }
    out.write_all(name)?;
    // The header is 110 bytes; name and data each end at a multiple of four.
    out.write_all(&[0; 4][..1 + (4 - (110 + name.len() + 1) % 4) % 4])?;
    out.write_all(data)?;
    out.write_all(&[0; 3][..(4 - data.len() % 4) % 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_what_cpio_reads() -> Result<()> {
        let mut root = Initramfs::default();
        root.file(Path::new("/a/b"), 0o644, b"hello".to_vec());
        let mut bytes = Vec::new();
        root.write_to(&mut bytes)?;
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let names: Vec<usize> = ["a\0", "a/b\0", "hello", "TRAILER!!!\0"]
            .iter()
            .filter_map(|it| text.find(it))
            .collect();
        assert_eq!(names.len(), 4);
        assert!(names.is_sorted());
        assert_eq!(names[0], 110);
        assert_eq!(names[1], 112 + 110, "the name `a` is padded to 112");
        assert_eq!(names[2] % 4, 0);
        Ok(())
    }

    #[test]
    fn links_on_the_way_are_kept() -> Result<()> {
        let directory = std::env::temp_dir().join(format!("hoop-links-{}", std::process::id()));
        fs::create_dir_all(directory.join("usr/bin"))?;
        fs::write(directory.join("usr/bin/dash"), "")?;
        std::os::unix::fs::symlink("usr/bin", directory.join("bin"))?;
        std::os::unix::fs::symlink("dash", directory.join("usr/bin/sh"))?;
        let mut root = Initramfs::default();
        let copied = root.copy(&directory.join("bin/sh"));
        fs::remove_dir_all(&directory)?;
        copied?;
        let entry = |path: &str| &root.entries[&directory.join(path)];
        assert!(matches!(entry("bin"), Entry::Symlink(to) if to == Path::new("usr/bin")));
        assert!(matches!(entry("usr/bin/sh"), Entry::Symlink(to) if to == Path::new("dash")));
        assert!(matches!(entry("usr/bin/dash"), Entry::File { .. }));
        Ok(())
    }
}
