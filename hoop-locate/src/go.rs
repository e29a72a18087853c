//! Go's `crypto/tls`, by symbols or, in a stripped program, by Go's own table of functions.

use crate::elf::{Elf, Machine};
use crate::named::Names;
use crate::pclntab::{Extent, Layout, Pclntab};
use crate::returns::{Jumps, returns};
use crate::{Function, How, Kind, Library, Located, Probe, Reason, strings};

const FUNCTIONS: [Function; 3] = [
    Function::GoConnRead,
    Function::GoConnWrite,
    Function::GoConnClose,
];

/// From `crypto/tls`, for programs whose names were taken away.
const MESSAGE: &[u8] = b"tls: received unexpected handshake message";

pub(crate) fn locate(elf: &Elf<'_>, names: &Names<'_>, located: &mut Located) {
    let table = Pclntab::find(elf);
    let named = FUNCTIONS.map(|function| {
        let symbol = names.symbols(function).next()?;
        let end = symbol.address.checked_add(symbol.size)?;
        Some(Extent {
            start: symbol.address,
            end,
        })
    });
    let (how, extents, starts) = if named.iter().any(Option::is_some) {
        (How::Symbols, named, vec![0])
    } else {
        let Some(table) = &table else { return };
        let extents = table.extents(FUNCTIONS.map(Function::name));
        (How::Pclntab, extents, table.text_starts(elf))
    };
    if extents.iter().all(Option::is_none) {
        if strings::contains(elf, MESSAGE) {
            located.refuse(Kind::Go, Reason::Stripped);
        }
        return;
    }
    let old = table.is_some_and(|table| table.layout() == Layout::Absolute);
    // What the symbols say needs no guess; else the start at which every function begins as one does.
    let start = starts.into_iter().find_map(|start| {
        let convention = convention(elf, &extents, start, old)?;
        Some((start, convention))
    });
    let refusal = match start {
        Some((start, Convention::Registers)) => {
            return probe(elf, how, &extents, start, located);
        }
        Some((_, Convention::Stack)) => Reason::StackAbi,
        None => Reason::Undecodable {
            function: Function::GoConnRead,
        },
    };
    located.refuse(Kind::Go, refusal);
}

/// How arguments are passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Convention {
    Registers,
    Stack,
}

fn probe(
    elf: &Elf<'_>,
    how: How,
    extents: &[Option<Extent>; 3],
    start: u64,
    located: &mut Located,
) {
    let mut probes = Vec::new();
    for (function, extent) in FUNCTIONS.into_iter().zip(extents) {
        let probed = match extent {
            None => Err(Reason::Absent { function }),
            Some(extent) => {
                probe_one(elf, function, *extent, start).ok_or(Reason::Undecodable { function })
            }
        };
        match probed {
            Ok(probe) => probes.push(probe),
            Err(reason) => located.refuse(Kind::Go, reason),
        }
    }
    if !probes.is_empty() {
        let version = version(elf);
        located.libraries.push(Library {
            kind: Kind::Go,
            version,
            how,
            probes,
        });
    }
}

fn probe_one(elf: &Elf<'_>, function: Function, extent: Extent, start: u64) -> Option<Probe> {
    let address = extent.start.checked_add(start)?;
    let returns = returns(elf, address, extent.end - extent.start, Jumps::Stay)?;
    let entry = elf.code_offset(address)?;
    (!returns.is_empty()).then_some(Probe {
        function,
        entry,
        returns,
    })
}

/// How arguments are passed, if the code at every extent begins as a Go function does.
fn convention(
    elf: &Elf<'_>,
    extents: &[Option<Extent>; 3],
    start: u64,
    old: bool,
) -> Option<Convention> {
    let mut conventions = extents.iter().flatten().map(|extent| {
        let address = extent.start.checked_add(start)?;
        elf.code_offset(address)?;
        begins(elf.machine(), elf.at(address)?, old)
    });
    let first = conventions.next()??;
    conventions
        .all(|other| other == Some(first))
        .then_some(first)
}

/// Every function with a frame first compares the stack pointer with the bound in `g`, and where `g`
/// is tells the convention: in `r14` with arguments in registers, else in thread-local storage. On
/// `aarch64` `g` is always in `x28`; there registers came with Go 1.18.
fn begins(machine: Machine, code: &[u8], old: bool) -> Option<Convention> {
    match (machine, code) {
        // cmp rsp, [r14+16]; for a larger frame lea r12, [rsp-N] before it.
        (Machine::X86_64, [0x49, 0x3b, 0x66, 0x10, ..])
        | (Machine::X86_64, [0x4c, 0x8d, 0x64, 0x24, _, 0x4d, 0x3b, 0x66, 0x10, ..])
        | (
            Machine::X86_64,
            [
                0x4c,
                0x8d,
                0xa4,
                0x24,
                _,
                _,
                _,
                _,
                0x4d,
                0x3b,
                0x66,
                0x10,
                ..,
            ],
        ) => Some(Convention::Registers),
        // mov rcx, fs:[...].
        (Machine::X86_64, [0x64, 0x48, 0x8b, 0x0c, 0x25, ..]) => Some(Convention::Stack),
        // ldr x16, [x28, #16].
        (Machine::Aarch64, [0x90, 0x0b, 0x40, 0xf9, ..]) => Some(if old {
            Convention::Stack
        } else {
            Convention::Registers
        }),
        _ => None,
    }
}

/// From `.go.buildinfo`, as `debug/buildinfo` reads it. Since Go 1.18 the version is in it; before,
/// the address of a string.
fn version(elf: &Elf<'_>) -> Option<String> {
    let info = elf.section(b".go.buildinfo")?.bytes;
    let rest = info.strip_prefix(b"\xff Go buildinf:")?;
    let [size, flags, ..] = rest else { return None };
    let version = if flags & 2 != 0 {
        let [length @ 0..=127, version @ ..] = info.get(32..)? else {
            return None;
        };
        version.get(..usize::from(*length))?
    } else {
        if (*size, flags & 1) != (8, 0) {
            return None;
        }
        let header = elf.at(word(info, 16)?)?;
        elf.at(word(header, 0)?)?
            .get(..usize::try_from(word(header, 8)?).ok()?.min(64))?
    };
    let version = std::str::from_utf8(version).ok()?.strip_prefix("go")?;
    version
        .chars()
        .all(|c| c.is_ascii_graphic() || c == ' ')
        .then(|| version.to_owned())
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
