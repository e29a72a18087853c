//! OpenSSL and what is made from it, where symbols name its functions: as a shared library, within an
//! executable that exports it (Node), or within one that was not stripped.

use crate::elf::Elf;
use crate::named::{MAX_TIMES, Names};
use crate::{Function, Kind, Library, Located, Options, Reason, strings};

/// What is probed, `BoringSSL`'s too.
pub(crate) const FUNCTIONS: &[Function] = &[
    Function::SslRead,
    Function::SslReadEx,
    Function::SslWrite,
    Function::SslWriteEx,
    Function::SslWriteEx2,
    Function::SslReadEarlyData,
    Function::SslWriteEarlyData,
    Function::SslSendfile,
    Function::SslFree,
    Function::SslSetFd,
    Function::SslSetRfd,
    Function::SslSetWfd,
];

const READS: &[Function] = &[Function::SslRead, Function::SslReadEx];
const WRITES: &[Function] = &[
    Function::SslWrite,
    Function::SslWriteEx,
    Function::SslWriteEx2,
];

/// The source file that OpenSSL's errors name, in `libssl` and not in `libcrypto`.
const SOURCE: &[u8] = b"ssl/ssl_lib.c\0";

pub(crate) fn locate(elf: &Elf<'_>, names: &Names<'_>, options: Options, located: &mut Located) {
    let Some(named) = names.find(elf, FUNCTIONS, options) else {
        if strings::contains(elf, SOURCE) {
            located.refuse(Kind::OpenSsl, Reason::Stripped);
        }
        return;
    };
    let ways = [
        (named.has(READS), Function::SslRead),
        (named.has(WRITES), Function::SslWrite),
    ];
    if ways.iter().all(|(there, _)| !there) {
        return;
    }
    let kind = if named.boringssl {
        Kind::BoringSsl
    } else {
        Kind::OpenSsl
    };
    for (_, function) in ways.into_iter().filter(|(there, _)| !there) {
        located.refuse(kind, Reason::Absent { function });
    }
    if let Some(function) = named.too_many {
        located.refuse(
            kind,
            Reason::TooMany {
                function,
                limit: MAX_TIMES,
            },
        );
    }
    let version = match kind {
        Kind::OpenSsl => version(elf),
        _ => None,
    };
    located.libraries.push(Library {
        kind,
        version,
        how: named.how,
        probes: named.probes,
    });
}

/// From `OpenSSL 3.0.17 1 Jul 2025`, which is in `libcrypto`'s code only; `libssl` alone knows the
/// version of its interface, `OPENSSL_3.0.0`.
fn version(elf: &Elf<'_>) -> Option<String> {
    strings::version(elf, b"OpenSSL ")
        .or_else(|| {
            strings::version(elf, b"LibreSSL ").map(|version| format!("LibreSSL {version}"))
        })
        .or_else(|| strings::newest(elf, b"OPENSSL_").map(|version| format!(">= {version}")))
}
