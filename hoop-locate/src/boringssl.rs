//! `BoringSSL` in a stripped executable: Bun, and what Bun compiles.
//!
//! Its functions have no names left, but the errors that they raise name the source file, and with it
//! the reason, a number that is part of the interface and does not change (`openssl/ssl.h`). So a
//! function is known by the set of reasons that it raises from `ssl/ssl_lib.cc`, and by what it calls;
//! no byte of its own code is compared, and it may be compiled anew.
//!
//! - `SSL_write` raises `ERR_R_SHOULD_NOT_HAVE_BEEN_CALLED`, `UNINITIALIZED`,
//!   `SSL_HANDSHAKE_FAILURE` and `BAD_LENGTH`.
//! - `ssl_read_impl` raises `UNINITIALIZED` and `SSL_HANDSHAKE_FAILURE`, and neither of the others.
//! - `SSL_peek` raises `ERR_R_SHOULD_NOT_HAVE_BEEN_CALLED` and calls `ssl_read_impl`. So does
//!   `SSL_read`, into which it is inlined; only `SSL_read` also writes to the connection, to take away
//!   what it gave.
//! - `SSL_new` raises `NULL_SSL_CTX`. A file without it is probed without it.
//!
//! Each must match exactly once. Checked for `x86_64` with Bun 1.1.45, 1.2.23 and 1.4.5, by a debugger
//! during a request, and by the code found in two agents that Bun compiled.

use crate::elf::{Elf, Machine, Region};
use crate::shape::{self, Shape};
use crate::{Function, How, Kind, Library, Located, Probe, Reason};
use memchr::memmem;
use std::collections::BTreeMap;

/// The source file of the functions looked for.
const SOURCE: &[u8] = b"ssl/ssl_lib.cc\0";

/// The longest path of a source file, in bytes.
const MAX_PATH: usize = 256;

/// The most references to the source file that are followed; there are about 30 in Bun and 130 in
/// the whole library.
const MAX_REFERENCES: usize = 512;

/// `openssl/err.h`.
const SHOULD_NOT_HAVE_BEEN_CALLED: u32 = 66;
/// `openssl/ssl.h`, with the next.
const BAD_LENGTH: u32 = 111;
const NULL_SSL_CTX: u32 = 185;
const SSL_HANDSHAKE_FAILURE: u32 = 215;
const UNINITIALIZED: u32 = 226;

pub(crate) fn locate(elf: &Elf<'_>, located: &mut Located) {
    let Some(source) = source(elf) else { return };
    let kind = Kind::BoringSsl;
    let shapes = shapes(elf, source);
    if shapes.is_empty() {
        located.refuse(kind, Reason::Stripped);
        return;
    }
    let mut probes = Vec::new();
    for (function, addresses) in [
        (
            Function::SslRead,
            matching(&shapes, |shape| is_read(shape, &shapes)),
        ),
        (Function::SslWrite, matching(&shapes, is_write)),
        (
            Function::SslNew,
            matching(&shapes, |shape| shape.raises(&[NULL_SSL_CTX])),
        ),
    ] {
        let entry = match addresses[..] {
            [address] => elf.code_offset(address),
            _ => None,
        };
        match entry {
            Some(entry) => probes.push(Probe {
                function,
                entry,
                returns: Vec::new(),
            }),
            // Only tells that a pointer is used anew.
            None if function == Function::SslNew => {}
            None => {
                let reason = Reason::Signature {
                    function,
                    matches: addresses.len(),
                };
                located.refuse(kind, reason);
            }
        }
    }
    if probes
        .iter()
        .any(|probe| probe.function != Function::SslNew)
    {
        let version = None;
        located.libraries.push(Library {
            kind,
            version,
            how: How::Signature,
            probes,
        });
    }
}

/// The functions that raise errors from the source file, by address.
type Shapes = BTreeMap<u64, Shape>;

fn matching(shapes: &Shapes, is: impl Fn(&Shape) -> bool) -> Vec<u64> {
    shapes
        .iter()
        .filter(|(_, shape)| is(shape))
        .map(|(address, _)| *address)
        .collect()
}

fn is_write(shape: &Shape) -> bool {
    shape.raises(&[
        SHOULD_NOT_HAVE_BEEN_CALLED,
        UNINITIALIZED,
        SSL_HANDSHAKE_FAILURE,
        BAD_LENGTH,
    ])
}

fn is_read(shape: &Shape, shapes: &Shapes) -> bool {
    let is_impl = |address: &u64| shapes.get(address).is_some_and(is_read_impl);
    shape.raises(&[SHOULD_NOT_HAVE_BEEN_CALLED])
        && !shape.raises(&[BAD_LENGTH])
        && shape.calls.iter().any(is_impl)
        && shape.stores
}

fn is_read_impl(shape: &Shape) -> bool {
    shape.raises(&[UNINITIALIZED, SSL_HANDSHAKE_FAILURE])
        && !shape.raises(&[SHOULD_NOT_HAVE_BEEN_CALLED])
        && !shape.raises(&[BAD_LENGTH])
}

impl Shape {
    fn raises(&self, reasons: &[u32]) -> bool {
        reasons.iter().all(|reason| self.reasons.contains(reason))
    }
}

/// The address of the source file's path.
fn source(elf: &Elf<'_>) -> Option<u64> {
    let finder = memmem::Finder::new(SOURCE);
    elf.data().into_iter().find_map(|region| {
        let at = finder.find(region.bytes)?;
        let before = &region.bytes[at.saturating_sub(MAX_PATH)..at];
        let path = memchr::memrchr(0, before).map_or(before.len(), |nul| before.len() - nul - 1);
        region.address.checked_add((at - path) as u64)
    })
}

fn shapes(elf: &Elf<'_>, source: u64) -> Shapes {
    if elf.machine() != Machine::X86_64 {
        return Shapes::new();
    }
    let mut shapes = Shapes::new();
    for region in elf.code() {
        let mut references = absolute(region, source);
        if references.is_empty() {
            references = relative(region, source);
        }
        for at in references.into_iter().take(MAX_REFERENCES - shapes.len()) {
            let Some(start) = shape::beginning(region.bytes, region.address, at) else {
                continue;
            };
            let Some(address) = region.address.checked_add(start as u64) else {
                continue;
            };
            let shape = shape::read(&region.bytes[start..], address, source);
            // Else it began elsewhere.
            if at < start + shape.length {
                shapes.insert(address, shape);
            }
        }
    }
    shapes
}

/// Where code loads the address as a constant, as an executable at a fixed address does.
fn absolute(region: Region<'_>, address: u64) -> Vec<usize> {
    let Ok(address) = u32::try_from(address) else {
        return Vec::new();
    };
    let constant = address.to_le_bytes();
    memmem::find_iter(region.bytes, &constant)
        // `mov r32, imm32`
        .filter(|&at| at > 0 && matches!(region.bytes[at - 1], 0xb8..=0xbf))
        .take(MAX_REFERENCES)
        .collect()
}

/// Where code computes the address from its own: `lea r64, [rip + disp32]`.
fn relative(region: Region<'_>, address: u64) -> Vec<usize> {
    memchr::memchr_iter(0x8d, region.bytes)
        .filter(|&at| {
            let Some(&[_, modrm, a, b, c, d]) = region.bytes[at..].first_chunk() else {
                return false;
            };
            let displacement = i64::from(i32::from_le_bytes([a, b, c, d]));
            let next = region.address.wrapping_add(at as u64 + 6);
            modrm & 0xc7 == 0x05 && next.wrapping_add_signed(displacement) == address
        })
        .take(MAX_REFERENCES)
        .collect()
}
