//! The `RET` instructions of a function.

use crate::elf::{Elf, Machine};
use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};

/// The longest function that is decoded, in bytes.
const MAX_FUNCTION: u64 = 64 << 10;

/// The most `RET`s of one function, each a probe to attach; large functions have a dozen.
const MAX_RETURNS: usize = 256;

/// Where a jump to outside the function counts as a way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Jumps {
    /// Compiled C or Rust: jumps out of the function are tail calls, and an indirect jump may be one.
    MayLeave,
    /// Compiled Go: no tail calls; an indirect jump is a `switch`, whose cases are in the function.
    Stay,
}

/// File offsets of every `RET` of the `size` bytes of code at `address`. `None` where they are not
/// all the ways out, or where a byte of it is no instruction.
pub(crate) fn returns(elf: &Elf<'_>, address: u64, size: u64, jumps: Jumps) -> Option<Vec<u64>> {
    if size == 0 || size > MAX_FUNCTION {
        return None;
    }
    let offset = elf.code_offset(address)?;
    let code = elf.at(address)?.get(..usize::try_from(size).ok()?)?;
    let found = match elf.machine() {
        Machine::X86_64 => x86_64(code, address, jumps)?,
        Machine::Aarch64 => aarch64(code, jumps)?,
    };
    if found.len() > MAX_RETURNS {
        return None;
    }
    Some(found.into_iter().map(|into| offset + into).collect())
}

/// Offsets in `code`.
fn x86_64(code: &[u8], address: u64, jumps: Jumps) -> Option<Vec<u64>> {
    let inside = address..address.checked_add(code.len() as u64)?;
    let mut found = Vec::new();
    for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        if instruction.is_invalid() {
            return None;
        }
        let mnemonic = instruction.mnemonic();
        if mnemonic == Mnemonic::Ret {
            found.push(instruction.ip() - address);
        }
        if jumps == Jumps::Stay || mnemonic == Mnemonic::Call {
            continue;
        }
        let leaves = match instruction.op0_kind() {
            OpKind::NearBranch64 => !inside.contains(&instruction.near_branch_target()),
            _ => mnemonic == Mnemonic::Jmp,
        };
        if leaves {
            return None;
        }
    }
    Some(found)
}

/// Offsets in `code`. Arm Architecture Reference Manual, C4.1.66, "Branches".
fn aarch64(code: &[u8], jumps: Jumps) -> Option<Vec<u64>> {
    let length = i64::try_from(code.len()).ok()?;
    let mut found = Vec::new();
    for (index, word) in code.as_chunks::<4>().0.iter().enumerate() {
        let word = u32::from_le_bytes(*word);
        let at = index as u64 * 4;
        // RET, RETAA, RETAB.
        if word & 0xffff_fc1f == 0xd65f_0000 || word & 0xffff_fbff == 0xd65f_0bff {
            found.push(at);
        }
        if jumps == Jumps::Stay {
            continue;
        }
        // B has 26 bits of distance; BR, BRAA and kin go anywhere.
        let distance = i64::from((word << 6).cast_signed() >> 6) * 4;
        let leaves = word & 0xfc00_0000 == 0x1400_0000
            && !(0..length).contains(&(i64::try_from(at).ok()? + distance));
        if leaves || word & 0xfeff_f000 == 0xd61f_0000 {
            return None;
        }
    }
    Some(found)
}
