//! Compilers, and what binutils says of their files.

use hoop_locate::{Function, Kind, Library, Located, Options, Probe};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A directory for the files of one test.
pub(crate) struct Workshop(TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// What `gcc` makes of one source file; its suffix says the language.
    pub(crate) fn gcc(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let source = self.write(name, source);
        let made = self.path("made");
        run(Command::new("gcc")
            .args(flags)
            .arg("-o")
            .arg(&made)
            .arg(source));
        made
    }

    pub(crate) fn stripped(&self, file: &Path) -> PathBuf {
        let made = self.path("stripped");
        run(Command::new("strip")
            .arg("-s")
            .arg("-o")
            .arg(&made)
            .arg(file));
        made
    }
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn locate(file: &Path) -> Located {
    hoop_locate::locate(&std::fs::read(file).unwrap(), Options { returns: true }).unwrap()
}

/// The one library of that kind.
pub(crate) fn library(located: &Located, kind: Kind) -> &Library {
    let mut of_kind = located
        .libraries
        .iter()
        .filter(|library| library.kind == kind);
    let library = of_kind
        .next()
        .unwrap_or_else(|| panic!("no {kind} in {located:?}"));
    assert_eq!(of_kind.next(), None);
    library
}

/// The one probe of that function.
pub(crate) fn probe(library: &Library, function: Function) -> &Probe {
    let mut of_function = library
        .probes
        .iter()
        .filter(|probe| probe.function == function);
    let probe = of_function
        .next()
        .unwrap_or_else(|| panic!("no {function} in {library:?}"));
    assert_eq!(of_function.next(), None);
    probe
}

/// The offset in the file of a symbol, by `nm` and `objdump`.
pub(crate) fn offset_of(file: &Path, symbol: &str) -> u64 {
    let names = [vec!["-D"], vec![]].map(|flags| run(Command::new("nm").args(flags).arg(file)));
    let address = names
        .iter()
        .flat_map(|names| names.lines())
        .find_map(|line| {
            let (address, name) = line.split_once(" T ").or_else(|| line.split_once(" t "))?;
            let name = name.split('@').next()?;
            (name == symbol).then(|| u64::from_str_radix(address, 16).unwrap())
        });
    let address = address.unwrap_or_else(|| panic!("no {symbol} in {}", file.display()));
    let sections = run(Command::new("objdump")
        .args(["-h", "-j", ".text"])
        .arg(file));
    let text = sections
        .lines()
        .find(|line| line.contains(" .text "))
        .unwrap();
    let column = |index: usize| {
        u64::from_str_radix(text.split_whitespace().nth(index).unwrap(), 16).unwrap()
    };
    address - column(3) + column(5)
}
