//! Which probes a file gets.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use hoop_common::payload::TlsCall;
use hoop_locate::{Function, Library, Options, locate};

use super::files::Mapped;
use crate::{
    kernel::{
        load::CapturePrograms,
        perf::{At, Event, Uprobes},
    },
    pipeline::payload::coverage::Libraries,
};

/// The probes at one file.
pub(super) type Attached = Vec<Event>;

/// Attaches the programs.
pub(super) struct Prober {
    programs: CapturePrograms,
    uprobes: Uprobes,
}

impl Prober {
    pub(super) fn new(programs: CapturePrograms) -> io::Result<Self> {
        Ok(Self {
            programs,
            uprobes: Uprobes::find()?,
        })
    }

    /// Looks what a file holds, says it in `found`, and attaches probes, unless `full`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(super) fn probe(
        &self,
        file: &Mapped,
        full: bool,
        found: &mut Libraries,
    ) -> io::Result<Attached> {
        let opened = file.open()?;
        let bytes = opened.read()?;
        // What is no program for this machine holds no TLS library either.
        let Ok(located) = locate(&bytes, Options::default()) else {
            return Ok(Vec::new());
        };
        drop(bytes);
        let mut attached = Vec::new();
        for library in &located.libraries {
            let name = describe(library, &file.name);
            if full {
                let why = "too many files have probes";
                found.uncovered.insert(format!("{name}: {why}"));
                continue;
            }
            match self.attach(library, &opened.path()) {
                Ok(probes) => {
                    tracing::info!(
                        library = name,
                        probes = probes.len(),
                        "TLS plaintext is read"
                    );
                    attached.extend(probes);
                    found.covered.insert(name);
                }
                Err(error) => {
                    tracing::warn!(library = name, %error, "TLS plaintext is not read");
                    found.uncovered.insert(format!("{name}: {error}"));
                }
            }
        }
        for refusal in &located.refusals {
            let what = format!("{} in {}: {}", refusal.kind, file.name, refusal.reason);
            found.uncovered.insert(what);
        }
        Ok(attached)
    }

    /// All probes of a library, or none.
    fn attach(&self, library: &Library, file: &Path) -> io::Result<Attached> {
        let programs = &self.programs;
        let mut attached = Vec::new();
        for probe in &library.probes {
            let Some(call) = call(probe.function) else {
                continue;
            };
            let cookie = call as u64;
            let mut at = |program: &OwnedFd, offset, at| {
                let program = program.as_fd();
                let probe = self.uprobes.attach(program, file, offset, at, cookie)?;
                attached.push(probe);
                Ok::<(), io::Error>(())
            };
            // The return first: an entry whose return goes unseen would be left over.
            match call {
                TlsCall::Close | TlsCall::GoClose => {
                    at(&programs.close, probe.entry, At::Instruction)?;
                }
                // All of it is known at the entry.
                TlsCall::RustlsRead => at(&programs.call, probe.entry, At::Instruction)?,
                TlsCall::GoRead | TlsCall::GoWrite => {
                    for offset in &probe.returns {
                        at(&programs.go_return, *offset, At::Instruction)?;
                    }
                    at(&programs.go_call, probe.entry, At::Instruction)?;
                }
                _ => {
                    at(&programs.r#return, probe.entry, At::Return)?;
                    at(&programs.call, probe.entry, At::Instruction)?;
                }
            }
        }
        Ok(attached)
    }
}

/// How the programs read a function. `None`: it gets no probe.
fn call(function: Function) -> Option<TlsCall> {
    Some(match function {
        Function::SslRead => TlsCall::Read,
        Function::SslWrite => TlsCall::Write,
        Function::SslReadEx => TlsCall::ReadEx,
        Function::SslWriteEx => TlsCall::WriteEx,
        Function::GnutlsRecordSend2
        | Function::GnutlsRecordSend
        | Function::GnutlsRecordSendRange => TlsCall::WriteSized,
        Function::GnutlsRecordRecv | Function::GnutlsRecordRecvSeq => TlsCall::ReadSized,
        Function::GoConnRead => TlsCall::GoRead,
        Function::GoConnWrite => TlsCall::GoWrite,
        Function::GoConnClose => TlsCall::GoClose,
        Function::RustlsSendAppdataEncrypt | Function::RustlsBufferPlaintext => {
            TlsCall::RustlsWrite
        }
        Function::RustlsSendSomePlaintext => TlsCall::RustlsWriteSome,
        Function::RustlsTakeReceivedPlaintext => TlsCall::RustlsRead,
        Function::SslFree | Function::GnutlsDeinit => TlsCall::Close,
        // The rest carries no plaintext, repeats what another shows, or is early data.
        _ => return None,
    })
}

fn describe(library: &Library, file: &str) -> String {
    match &library.version {
        Some(version) => format!("{} {version} in {file}", library.kind),
        None => format!("{} in {file}", library.kind),
    }
}
