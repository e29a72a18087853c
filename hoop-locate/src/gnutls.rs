//! `GnuTLS`, where symbols name its functions.

use crate::elf::Elf;
use crate::named::{MAX_TIMES, Named, Names};
use crate::{Function, Kind, Library, Located, Options, Reason, strings};

/// What is probed: the innermost function that has a name on every way, so that no bytes are seen
/// twice. See [`Function::GnutlsRecordSend2`].
const FUNCTIONS: &[Function] = &[
    Function::GnutlsRecordSend2,
    Function::GnutlsRecordSend,
    Function::GnutlsRecordSendRange,
    Function::GnutlsRecordSendEarlyData,
    Function::GnutlsRecordUncork,
    Function::GnutlsRecordRecv,
    Function::GnutlsRecordRecvSeq,
    Function::GnutlsRecordRecvPacket,
    Function::GnutlsRecordRecvEarlyData,
    Function::GnutlsTransportSetInt2,
    Function::GnutlsDeinit,
];

/// From its log, which every build has.
const LOGGING: &[u8] = b"Enabled GnuTLS ";

pub(crate) fn locate(elf: &Elf<'_>, names: &Names<'_>, options: Options, located: &mut Located) {
    let version = strings::version(elf, LOGGING);
    let Some(mut named) = names.find(elf, FUNCTIONS, options) else {
        if version.is_some() {
            located.refuse(Kind::GnuTls, Reason::Stripped);
        }
        return;
    };
    if named.has(&[Function::GnutlsRecordSend2]) {
        named
            .probes
            .retain(|probe| probe.function != Function::GnutlsRecordSend);
    }
    let ways = [
        (
            named.has(&[Function::GnutlsRecordSend2, Function::GnutlsRecordSend]),
            Function::GnutlsRecordSend2,
        ),
        (
            named.has(&[Function::GnutlsRecordRecv]),
            Function::GnutlsRecordRecv,
        ),
    ];
    if ways.iter().all(|(there, _)| !there) {
        return;
    }
    for (_, function) in ways.into_iter().filter(|(there, _)| !there) {
        located.refuse(Kind::GnuTls, Reason::Absent { function });
    }
    let Named {
        how,
        probes,
        too_many,
        ..
    } = named;
    if let Some(function) = too_many {
        located.refuse(
            Kind::GnuTls,
            Reason::TooMany {
                function,
                limit: MAX_TIMES,
            },
        );
    }
    located.libraries.push(Library {
        kind: Kind::GnuTls,
        version,
        how,
        probes,
    });
}
