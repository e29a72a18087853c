//! Go's table of functions, which a Go program needs to run and which stripping leaves: for every
//! function its first address and its name.
//!
//! The layouts are those of `runtime/symtab.go` and `debug/gosym/pclntab.go` in Go 1.16 to 1.27.

use crate::elf::{Elf, Region};
use memchr::memmem;

/// The most places without section headers at which a table may begin.
const MAX_PLACES: usize = 64;

/// The table of one file.
pub(crate) struct Pclntab<'data> {
    region: Region<'data>,
    layout: Layout,
    /// How many functions it has.
    count: usize,
    /// The field of the header that was the address of the first instruction; 0 since Go 1.26.
    text_start: u64,
    names: &'data [u8],
    /// Pairs of a function's address and the offset of its description in `functions` itself, closed
    /// by the end of the last function.
    functions: &'data [u8],
}

/// A function as the table has it. Addresses count from the start of the text where the layout says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// What differs between versions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Layout {
    /// Go 1.16 and 1.17: addresses.
    Absolute,
    /// Go 1.18 and later: offsets from the start of the text.
    Relative,
}

impl<'data> Pclntab<'data> {
    pub(crate) fn find(elf: &Elf<'data>) -> Option<Self> {
        let sections: [&[u8]; 2] = [b".gopclntab", b".data.rel.ro.gopclntab"];
        if let Some(region) = sections.into_iter().find_map(|name| elf.section(name)) {
            return Self::parse(region);
        }
        if elf.has_sections() {
            return None;
        }
        MAGICS.iter().find_map(|(magic, _)| {
            let finder = memmem::Finder::new(magic);
            elf.data()
                .into_iter()
                .flat_map(|region| {
                    let at = |at| Region {
                        address: region.address.wrapping_add(at as u64),
                        bytes: &region.bytes[at..],
                    };
                    finder
                        .find_iter(region.bytes)
                        .take(MAX_PLACES)
                        .map(at)
                        .collect::<Vec<_>>()
                })
                .take(MAX_PLACES)
                .find_map(Self::parse)
        })
    }

    fn parse(region: Region<'data>) -> Option<Self> {
        let bytes = region.bytes;
        let magic = bytes.first_chunk::<4>()?;
        let (_, layout) = MAGICS.iter().find(|(known, _)| known == magic)?;
        let [0, 0, 1 | 4, 8] = bytes.get(4..8)? else {
            return None;
        };
        let word = |index: usize| u64_at(bytes, 8 + index * 8);
        let from = |index: usize| bytes.get(usize::try_from(word(index)?).ok()?..);
        let (text_start, names, functions) = match layout {
            Layout::Absolute => (0, from(2)?, from(6)?),
            Layout::Relative => (word(2)?, from(3)?, from(7)?),
        };
        let count = usize::try_from(word(0)?).ok()?;
        let size = count
            .checked_mul(2)?
            .checked_add(1)?
            .checked_mul(layout.field())?;
        (size <= functions.len()).then_some(Self {
            region,
            layout: *layout,
            count,
            text_start,
            names,
            functions,
        })
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The extents of the functions named, `None` for one that is not there.
    pub(crate) fn extents<const N: usize>(&self, names: [&str; N]) -> [Option<Extent>; N] {
        let mut found = [None; N];
        for index in 0..self.count {
            let Some(name) = self.name(index) else {
                continue;
            };
            let is = |wanted: &&str| {
                name.strip_prefix(wanted.as_bytes())
                    .is_some_and(|rest| rest.first() == Some(&0))
            };
            if let Some(which) = names.iter().position(is) {
                found[which] = found[which].or_else(|| self.extent(index));
            }
        }
        found
    }

    /// Where the text may start, by everything that says so. Which one is right shows in the code.
    pub(crate) fn text_starts(&self, elf: &Elf<'_>) -> Vec<u64> {
        if self.layout == Layout::Absolute {
            return vec![0];
        }
        let module = self.module_text(elf);
        let section = elf.section(b".text").map(|text| text.address);
        let header = (self.text_start != 0).then_some(self.text_start);
        [module, header, section].into_iter().flatten().collect()
    }

    /// The field `text` of `runtime.moduledata`, which begins with the address of this table.
    fn module_text(&self, elf: &Elf<'_>) -> Option<u64> {
        let address = self.region.address.to_le_bytes();
        let finder = memmem::Finder::new(&address);
        let sections: [&[u8]; 4] = [b".go.module", b".noptrdata", b".data", b".data.rel.ro"];
        let regions: Vec<_> = if elf.has_sections() {
            sections
                .into_iter()
                .filter_map(|name| elf.section(name))
                .collect()
        } else {
            elf.data()
        };
        regions.into_iter().find_map(|region| {
            let mut places = finder.find_iter(region.bytes).take(MAX_PLACES);
            places.find_map(|at| {
                let word = |index: usize| u64_at(region.bytes, at + index * 8);
                let (first, text) = (word(MODULE_MINPC)?, word(MODULE_TEXT)?);
                (text != 0 && first >= text).then_some(text)
            })
        })
    }

    fn extent(&self, index: usize) -> Option<Extent> {
        let (start, end) = (self.field(index * 2)?, self.field(index * 2 + 2)?);
        (start < end).then_some(Extent { start, end })
    }

    /// From the name of a function on, to the end of the table.
    fn name(&self, index: usize) -> Option<&'data [u8]> {
        let description = usize::try_from(self.field(index * 2 + 1)?).ok()?;
        let at = description.checked_add(self.layout.field())?;
        let name = self.functions.get(at..)?.first_chunk::<4>()?;
        self.names.get(u32::from_le_bytes(*name) as usize..)
    }

    fn field(&self, index: usize) -> Option<u64> {
        match self.layout {
            Layout::Absolute => u64_at(self.functions, index * 8),
            Layout::Relative => {
                let bytes = self.functions.get(index * 4..)?.first_chunk()?;
                Some(u64::from(u32::from_le_bytes(*bytes)))
            }
        }
    }
}

impl Layout {
    /// The size in bytes of an address in the table.
    fn field(self) -> usize {
        match self {
            Self::Absolute => 8,
            Self::Relative => 4,
        }
    }
}

/// Go 1.16, 1.18 and 1.20, `internal/abi/symtab.go`.
const MAGICS: [([u8; 4], Layout); 3] = [
    ([0xfa, 0xff, 0xff, 0xff], Layout::Absolute),
    ([0xf0, 0xff, 0xff, 0xff], Layout::Relative),
    ([0xf1, 0xff, 0xff, 0xff], Layout::Relative),
];

/// Words into `runtime.moduledata`, the same since Go 1.18.
const MODULE_MINPC: usize = 20;
const MODULE_TEXT: usize = 22;

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
