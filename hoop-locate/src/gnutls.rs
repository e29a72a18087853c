//! `GnuTLS`, where symbols name its functions.

use crate::elf::Elf;
use crate::named::{Named, Names};
use crate::{Function, Kind, Library, Located, Options, Reason, Refusal, strings};

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
            located.refusals.push(Refusal {
                kind: Kind::GnuTls,
                reason: Reason::Stripped,
            });
        }
        return;
    };
    if named.has(&[Function::GnutlsRecordSend2]) {
        named
            .probes
            .retain(|probe| probe.function != Function::GnutlsRecordSend);
    }
    let sends = named.has(&[Function::GnutlsRecordSend2, Function::GnutlsRecordSend]);
    let receives = named.has(&[Function::GnutlsRecordRecv]);
    for (there, function) in [
        (sends, Function::GnutlsRecordSend2),
        (receives, Function::GnutlsRecordRecv),
    ] {
        if !there {
            let reason = Reason::Absent { function };
            located.refusals.push(Refusal {
                kind: Kind::GnuTls,
                reason,
            });
        }
    }
    if sends || receives {
        let Named { how, probes, .. } = named;
        located.libraries.push(Library {
            kind: Kind::GnuTls,
            version,
            how,
            probes,
        });
    }
}
