//! The parts of an ELF file that are looked at, every access checked.
//!
//! Only what the loader itself needs must be right: a file with broken section headers runs, and is
//! read as one that has none.

use crate::Error;
use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};

/// The longest name of a symbol that is looked at, in bytes. Mangled names of Rust reach some
/// hundred; without a bound a file whose symbols share one long name costs its square.
const MAX_NAME: usize = 1024;

/// The most sections and segments of one file that are looked at.
const MAX_HEADERS: usize = 4096;

/// One ELF file.
pub(crate) struct Elf<'data> {
    file: &'data [u8],
    machine: Machine,
    segments: &'data [ProgramHeader64<LittleEndian>],
    sections: &'data [SectionHeader64<LittleEndian>],
    section_names: &'data [u8],
}

/// Where the instructions are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

/// Which table of symbols.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Table {
    Dynamic,
    Static,
}

/// A function as a table of symbols names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol<'data> {
    /// Its name without the version, cut at [`MAX_NAME`].
    pub(crate) name: &'data [u8],
    /// Address of its first instruction.
    pub(crate) address: u64,
    /// Its length in bytes; 0 where the table does not say.
    pub(crate) size: u64,
}

/// A piece of the file and the address at which it is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region<'data> {
    pub(crate) address: u64,
    pub(crate) bytes: &'data [u8],
}

impl<'data> Elf<'data> {
    pub(crate) fn parse(file: &'data [u8]) -> Result<Self, Error> {
        let header = FileHeader64::<LittleEndian>::parse(file)
            .map_err(|error| Error::NotElf(error.to_string()))?;
        let machine = Machine::of(header).ok_or(Error::Machine)?;
        let segments = header
            .program_headers(LittleEndian, file)
            .map_err(|error| Error::NotElf(error.to_string()))?;
        let sections = header
            .section_headers(LittleEndian, file)
            .unwrap_or_default();
        let section_names = header
            .section_strings_index(LittleEndian, file)
            .ok()
            .and_then(|index| sections.get(index.0))
            .and_then(|section| section.data(LittleEndian, file).ok())
            .unwrap_or_default();
        Ok(Self {
            file,
            machine,
            segments: &segments[..segments.len().min(MAX_HEADERS)],
            sections: &sections[..sections.len().min(MAX_HEADERS)],
            section_names,
        })
    }

    pub(crate) fn machine(&self) -> Machine {
        self.machine
    }

    /// The functions that the file defines, by one of its tables.
    pub(crate) fn functions(
        &self,
        table: Table,
    ) -> impl Iterator<Item = Symbol<'data>> + use<'data> {
        let (symbols, names) = self.symbol_table(table).unwrap_or_default();
        symbols.iter().filter_map(move |symbol| {
            let defined = symbol.st_shndx(LittleEndian) != elf::SHN_UNDEF;
            let function = symbol.st_type() == elf::STT_FUNC;
            let address = symbol.st_value(LittleEndian);
            if !defined || !function || address == 0 {
                return None;
            }
            let name = names.get(symbol.st_name(LittleEndian) as usize..)?;
            Some(Symbol {
                name: text(name),
                address,
                size: symbol.st_size(LittleEndian),
            })
        })
    }

    /// Whether there are section headers; a file runs without.
    pub(crate) fn has_sections(&self) -> bool {
        !self.sections.is_empty()
    }

    /// The content of the first section of that name that takes room in the file.
    pub(crate) fn section(&self, name: &[u8]) -> Option<Region<'data>> {
        self.sections
            .iter()
            .find(|section| self.section_name(section) == name)
            .and_then(|section| self.section_region(section))
    }

    /// What is loaded and is not code: where strings and tables are.
    pub(crate) fn data(&self) -> Vec<Region<'data>> {
        self.regions(false)
    }

    /// What is loaded and is code.
    pub(crate) fn code(&self) -> Vec<Region<'data>> {
        self.regions(true)
    }

    /// The offset in the file of an address that is loaded from it as code.
    pub(crate) fn code_offset(&self, address: u64) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.p_flags(LittleEndian) & elf::PF_X != 0)
            .find_map(|segment| self.offset_in(segment, address))
    }

    /// What is loaded at `address`, to the end of its segment.
    pub(crate) fn at(&self, address: u64) -> Option<&'data [u8]> {
        self.segments.iter().find_map(|segment| {
            let offset = self.offset_in(segment, address)?;
            let (start, size) = segment.file_range(LittleEndian);
            let end = start.saturating_add(size).min(self.file.len() as u64);
            self.file
                .get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
        })
    }

    fn offset_in(&self, segment: &ProgramHeader64<LittleEndian>, address: u64) -> Option<u64> {
        if segment.p_type(LittleEndian) != elf::PT_LOAD {
            return None;
        }
        let into = address.checked_sub(segment.p_vaddr(LittleEndian))?;
        if into >= segment.p_filesz(LittleEndian) {
            return None;
        }
        let offset = segment.p_offset(LittleEndian).checked_add(into)?;
        (offset < self.file.len() as u64).then_some(offset)
    }

    /// Sections where there are any, which leave the tables for the loader and the debugger out;
    /// else segments, of which one with code may have the strings too.
    fn regions(&self, code: bool) -> Vec<Region<'data>> {
        let has = |flags: u64, flag: u32| flags & u64::from(flag) != 0;
        let sections = self.sections.iter().filter(|section| {
            let flags = section.sh_flags(LittleEndian);
            has(flags, elf::SHF_ALLOC) && has(flags, elf::SHF_EXECINSTR) == code
        });
        let sections = self.disjoint(sections.filter_map(|section| self.section_region(section)));
        if !sections.is_empty() {
            return sections;
        }
        let segments = self.segments.iter().filter(|segment| {
            segment.p_type(LittleEndian) == elf::PT_LOAD
                && (!code || segment.p_flags(LittleEndian) & elf::PF_X != 0)
        });
        self.disjoint(segments.filter_map(|segment| {
            let bytes = segment.data(LittleEndian, self.file).ok()?;
            Some(Region {
                address: segment.p_vaddr(LittleEndian),
                bytes,
            })
        }))
    }

    /// No more than the file has: where pieces overlap, a few headers stand for many times its size.
    fn disjoint(&self, pieces: impl Iterator<Item = Region<'data>>) -> Vec<Region<'data>> {
        let mut left = self.file.len();
        pieces
            .take_while(|piece| {
                let fits = left.checked_sub(piece.bytes.len());
                left = fits.unwrap_or(0);
                fits.is_some()
            })
            .collect()
    }

    fn section_region(&self, section: &SectionHeader64<LittleEndian>) -> Option<Region<'data>> {
        let bytes = section.data(LittleEndian, self.file).ok()?;
        Some(Region {
            address: section.sh_addr(LittleEndian),
            bytes,
        })
    }

    fn section_name(&self, section: &SectionHeader64<LittleEndian>) -> &'data [u8] {
        let from = section.sh_name(LittleEndian) as usize;
        self.section_names.get(from..).map_or(&[], text)
    }

    fn symbol_table(
        &self,
        table: Table,
    ) -> Option<(&'data [elf::Sym64<LittleEndian>], &'data [u8])> {
        let wanted = match table {
            Table::Dynamic => elf::SHT_DYNSYM,
            Table::Static => elf::SHT_SYMTAB,
        };
        let section = self
            .sections
            .iter()
            .find(|section| section.sh_type(LittleEndian) == wanted)?;
        let symbols = section.data_as_array(LittleEndian, self.file).ok()?;
        let names = self.sections.get(section.sh_link(LittleEndian) as usize)?;
        Some((symbols, names.data(LittleEndian, self.file).ok()?))
    }
}

impl Machine {
    fn of(header: &FileHeader64<LittleEndian>) -> Option<Self> {
        if !header.is_little_endian() {
            return None;
        }
        match header.e_machine(LittleEndian) {
            elf::EM_X86_64 => Some(Self::X86_64),
            elf::EM_AARCH64 => Some(Self::Aarch64),
            _ => None,
        }
    }
}

/// The bytes to the first NUL, at most [`MAX_NAME`].
fn text(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(MAX_NAME)];
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}
