//! The smallest program there is: one load segment, and exit(0). Starting it is fork and exec and
//! nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
/// `xor edi, edi; mov eax, SYS_exit_group; syscall`
#[cfg(target_arch = "x86_64")]
const CODE: [u8; 9] = [0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05];

#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
/// `mov x0, #0; mov x8, #SYS_exit_group; svc #0`
#[cfg(target_arch = "aarch64")]
const CODE: [u8; 12] = [
    0x00, 0x00, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4,
];

/// Sizes of the ELF64 headers.
const FILE_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;
const BASE: u64 = 0x40_0000;

/// Writes the program into `directory`.
pub fn write(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("tiny");
    fs::write(&path, elf())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn elf() -> Vec<u8> {
    let code_at = u64::from(FILE_HEADER + PROGRAM_HEADER);
    let size = code_at + CODE.len() as u64;
    // 64 bits, little endian, version 1
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    // ET_EXEC
    elf.extend(2_u16.to_le_bytes());
    elf.extend(MACHINE.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    // entry, program headers, section headers
    for word in [BASE + code_at, u64::from(FILE_HEADER), 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [FILE_HEADER, PROGRAM_HEADER, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    // PT_LOAD, read and execute
    elf.extend(1_u32.to_le_bytes());
    elf.extend(5_u32.to_le_bytes());
    // offset, virtual and physical address, size in file and memory, alignment
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(CODE);
    elf
}
