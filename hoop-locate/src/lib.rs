//! Where the functions of a TLS library are in an ELF file.
//!
//! Hoop reads plaintext with uprobes, which are attached by inode and file offset. [`locate`] takes
//! the bytes of one file and says which implementations of TLS are in it and at which offsets their
//! functions begin. It reads nothing else, runs nothing, and knows nothing of BPF.
//!
//! The file is a workload's and may be hostile: work is linear in its size, memory is bounded by the
//! `MAX_` constants of the modules, and nothing in it makes this crate panic. A file can of course
//! lie about where its functions are; it gets probes at places of its own code, and harms its own
//! record only.
//!
//! What the kernel side must know of each function, which argument is the connection, where the bytes
//! are and what the return value means, is said at [`Function`].

#![forbid(unsafe_code)]

mod boringssl;
mod elf;
mod function;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gnutls;
mod go;
mod named;
mod openssl;
mod pclntab;
mod returns;
mod rustls;
mod shape;
mod strings;

pub use function::Function;

use elf::Elf;
use named::Names;
use std::fmt;

/// What one file holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Located {
    /// The implementations that can be probed. Empty, with no refusals, when there is no TLS in it.
    pub libraries: Vec<Library>,
    /// The implementations that are there and cannot be probed, in whole or in part.
    pub refusals: Vec<Refusal>,
}

/// One implementation of TLS and where to probe it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Library {
    /// Which implementation.
    pub kind: Kind,
    /// Its version as the file states it, for a record; `None` where the file does not say.
    pub version: Option<String>,
    /// How the functions were found.
    pub how: How,
    /// At least one probe. A function that the file holds several times (a generic one) is here once
    /// for each.
    pub probes: Vec<Probe>,
}

/// One function to probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    /// Which function.
    pub function: Function,
    /// Offset in the file of its first instruction, in bytes.
    pub entry: u64,
    /// Offsets in the file of every `RET` in it, ascending. Filled for Go, where return probes break
    /// the stack, and for all with [`Options::returns`]. Empty where it was not asked for, and where
    /// the `RET`s are not all the ways out: the function also leaves by a jump to another function, or
    /// could not be decoded to its end. An entry of Go never comes with an empty list.
    pub returns: Vec<u64>,
}

/// A TLS implementation that is in the file and cannot be probed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Which implementation.
    pub kind: Kind,
    /// Why, for a coverage record.
    pub reason: Reason,
}

/// An implementation of TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// OpenSSL 1.1 and 3, and `LibreSSL`, whose functions are the same.
    OpenSsl,
    /// `GnuTLS`.
    GnuTls,
    /// Go's `crypto/tls`.
    Go,
    /// rustls.
    Rustls,
    /// `BoringSSL` and AWS-LC.
    BoringSsl,
}

/// How functions were found.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum How {
    /// In `.dynsym`, by name.
    DynamicSymbols,
    /// In `.symtab`, by name.
    Symbols,
    /// In Go's table of functions, by name; it survives stripping.
    Pclntab,
    /// By the shape of their code, which matched exactly once.
    Signature,
}

/// Why an implementation cannot be probed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Its strings are in the file, its functions are not named and no signature is known for it.
    #[error("stripped: no symbol names its functions")]
    Stripped,
    /// A signature that has to match once did not.
    #[error("stripped, and the signature of {function} matches {matches} times")]
    Signature {
        /// The function that was looked for.
        function: Function,
        /// How often the signature matched.
        matches: usize,
    },
    /// The Go program passes arguments on the stack, as before Go 1.17 (`x86_64`) and 1.18 (`aarch64`).
    #[error("Go before 1.17 passes arguments on the stack")]
    StackAbi,
    /// The function's code could not be decoded to its end, so its `RET`s are not known.
    #[error("the code of {function} could not be decoded")]
    Undecodable {
        /// The function that was looked for.
        function: Function,
    },
    /// Where its functions have their arguments is not known for this version.
    #[error("version {version} is not known")]
    Version {
        /// The version, as the file states it.
        version: String,
    },
    /// A function without which nothing is seen in one direction is not in the file.
    #[error("{function} is not in it")]
    Absent {
        /// The function that was looked for.
        function: Function,
    },
    /// The file holds the function more often than can be probed.
    #[error("{function} is in it more than {limit} times")]
    TooMany {
        /// The function that was looked for.
        function: Function,
        /// How many are probed.
        limit: usize,
    },
}

/// What to look for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// Fill [`Probe::returns`] for every function, not only for Go's.
    pub returns: bool,
}

/// Why a file was not looked at. None of them means that there is TLS in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not an ELF file, or one that is cut short in its headers.
    #[error("not an ELF file: {0}")]
    NotElf(String),
    /// It is for another kind of machine than `x86_64` or `aarch64`, little endian, 64 bits.
    #[error("an ELF file for a machine that is not supported")]
    Machine,
}

/// Says which TLS implementations are in `file`, the whole content of an ELF file.
///
/// # Errors
///
/// See [`Error`]. A file whose tables are damaged is no error: what can be read of it counts.
pub fn locate(file: &[u8], options: Options) -> Result<Located, Error> {
    let elf = Elf::parse(file)?;
    let mut located = Located::default();
    let names = Names::read(&elf);
    openssl::locate(&elf, &names, options, &mut located);
    if located
        .libraries
        .iter()
        .all(|library| library.kind != Kind::BoringSsl)
    {
        boringssl::locate(&elf, &mut located);
    }
    gnutls::locate(&elf, &names, options, &mut located);
    go::locate(&elf, &names, &mut located);
    rustls::locate(&elf, &names, options, &mut located);
    Ok(located)
}

impl Located {
    fn refuse(&mut self, kind: Kind, reason: Reason) {
        self.refusals.push(Refusal { kind, reason });
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenSsl => "OpenSSL",
            Self::GnuTls => "GnuTLS",
            Self::Go => "Go crypto/tls",
            Self::Rustls => "rustls",
            Self::BoringSsl => "BoringSSL",
        })
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DynamicSymbols => "dynamic symbols",
            Self::Symbols => "symbols",
            Self::Pclntab => "Go function table",
            Self::Signature => "signature",
        })
    }
}
