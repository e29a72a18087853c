//! rustls, where symbols name its functions.
//!
//! What is probed are methods of `CommonState`, one for each way, which all interfaces (`Stream`,
//! `Reader` and `Writer`, tokio) come through. They are not generic, so that a program has each once
//! for every version of rustls in it. Names are matched as they are mangled, in both schemes: to
//! demangle a name of a hostile file can take work out of all proportion to it.
//!
//! What the optimiser leaves of them, with rustc 1.95: of 0.23.46, all in `debug` and `release`, and
//! with `lto = "fat"` one for each way; of 0.21.12 and 0.22.4 in `release`, writes only.

use crate::elf::Elf;
use crate::named::{MAX_TIMES, Named, Names};
use crate::{Function, Kind, Library, Located, Options, Reason, Refusal, strings};

const FUNCTIONS: &[Function] = &[
    Function::RustlsSendAppdataEncrypt,
    Function::RustlsBufferPlaintext,
    Function::RustlsSendSomePlaintext,
    Function::RustlsSendEarlyPlaintext,
    Function::RustlsTakeReceivedPlaintext,
];

/// Each calls the first of [`FUNCTIONS`], if that was not inlined.
const OUTER_WRITES: &[Function] = &[
    Function::RustlsBufferPlaintext,
    Function::RustlsSendSomePlaintext,
    Function::RustlsSendEarlyPlaintext,
];

const READS: &[Function] = &[Function::RustlsTakeReceivedPlaintext];

/// From the paths of its source files, which panics name: `.../rustls-0.23.46/src/...`.
const PATH: &[u8] = b"/rustls-";

pub(crate) fn locate(elf: &Elf<'_>, names: &Names<'_>, options: Options, located: &mut Located) {
    let kind = Kind::Rustls;
    let mut refuse = |reason| located.refusals.push(Refusal { kind, reason });
    let found = names.find(elf, FUNCTIONS, options);
    let versions: Vec<_> = strings::versions(elf, PATH).collect();
    let version = versions.first().cloned();
    let Some(mut named) = found else {
        if version.is_some() {
            refuse(Reason::Stripped);
        }
        return;
    };
    if let Some(version) = versions.iter().find(|version| !is_known(version)) {
        return refuse(Reason::Version {
            version: version.clone(),
        });
    }
    // Its name says nothing of its arguments, which are others before 0.23.
    let inner = version.is_some() && versions.iter().all(|version| version.starts_with(NEWEST));
    if inner && named.has(&[Function::RustlsSendAppdataEncrypt]) {
        named
            .probes
            .retain(|probe| !OUTER_WRITES.contains(&probe.function));
    } else {
        named
            .probes
            .retain(|probe| probe.function != Function::RustlsSendAppdataEncrypt);
    }
    let writes = named.has(&FUNCTIONS[..3]);
    if !writes {
        refuse(Reason::Absent {
            function: Function::RustlsSendAppdataEncrypt,
        });
    }
    if !named.has(READS) {
        refuse(Reason::Absent {
            function: Function::RustlsTakeReceivedPlaintext,
        });
    }
    if let Some(function) = named.too_many {
        refuse(Reason::TooMany {
            function,
            limit: MAX_TIMES,
        });
    }
    if writes || named.has(READS) {
        let Named { how, probes, .. } = named;
        located.libraries.push(Library {
            kind,
            version,
            how,
            probes,
        });
    }
}

/// The newest version of which the layout of arguments is known.
const NEWEST: &str = "0.23.";

fn is_known(version: &str) -> bool {
    ["0.20.", "0.21.", "0.22.", NEWEST]
        .iter()
        .any(|known| version.starts_with(known))
}

/// The function that a mangled name stands for.
pub(crate) fn function(name: &[u8]) -> Option<Function> {
    let method = legacy(name).or_else(|| v0(name))?;
    FUNCTIONS.iter().copied().find(|function| {
        let name = function.name().as_bytes();
        name.strip_suffix(method)
            .is_some_and(|path| path.ends_with(b"::"))
    })
}

/// The method's name in `_ZN6rustls12common_state11CommonState16buffer_plaintext17h<16 digits>E`.
fn legacy(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(b"_ZN6rustls12common_state11CommonState")?;
    let (method, rest) = identifier(rest)?;
    let hash = rest.strip_prefix(b"17h")?;
    (hash.get(16) == Some(&b'E')).then_some(method)
}

/// The method's name in
/// `_RNvM<impl>NtCs<hash>_6rustls12common_stateNtB<n>_11CommonState16buffer_plaintext`.
fn v0(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_prefix(b"_RNvM")?;
    let path = b"_6rustls12common_stateNtB";
    let rest = &rest[memchr::memmem::find(rest, path)? + path.len()..];
    let rest = &rest[memchr::memchr(b'_', rest)? + 1..];
    let (method, rest) = identifier(rest.strip_prefix(b"11CommonState")?)?;
    // What a compiler adds begins with a dot.
    matches!(rest, [] | [b'.', ..]).then_some(method)
}

/// A name behind its length in decimal.
fn identifier(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = name
        .iter()
        .take(3)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (length, rest) = name.split_at(digits);
    rest.split_at_checked(std::str::from_utf8(length).ok()?.parse().ok()?)
}
