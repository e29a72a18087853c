//! Functions of C libraries, which tables of symbols name as the source does.

use crate::elf::{Elf, Symbol, Table};
use crate::returns::{Jumps, returns};
use crate::{Function, How, Options, Probe};

/// The functions of `wanted` that the file defines, by name, from the first table that has any.
/// `is_tell` is asked of every name of that table, and its last `true` is returned with them.
pub(crate) fn find(
    elf: &Elf<'_>,
    wanted: &[Function],
    tell: &[u8],
    options: Options,
) -> Option<Named> {
    [
        (Table::Dynamic, How::DynamicSymbols),
        (Table::Static, How::Symbols),
    ]
    .into_iter()
    .map(|(table, how)| {
        let mut named = Named {
            how,
            probes: Vec::new(),
            told: false,
        };
        for symbol in elf.functions(table) {
            named.told |= symbol.name == tell;
            let function = wanted.iter().find(|f| f.name().as_bytes() == symbol.name);
            if let Some(&function) = function {
                named.add(elf, function, symbol, options);
            }
        }
        named
    })
    .find(|named| !named.probes.is_empty())
}

/// What a table of symbols has.
pub(crate) struct Named {
    pub(crate) how: How,
    pub(crate) probes: Vec<Probe>,
    /// Whether the name that was to tell two libraries apart is there.
    pub(crate) told: bool,
}

impl Named {
    pub(crate) fn has(&self, functions: &[Function]) -> bool {
        self.probes
            .iter()
            .any(|probe| functions.contains(&probe.function))
    }

    /// One probe for each function: a second symbol of its name is another version of its interface,
    /// and the first, as it stands in the file, is taken only if no other place claims it.
    fn add(&mut self, elf: &Elf<'_>, function: Function, symbol: Symbol<'_>, options: Options) {
        let Some(entry) = elf.code_offset(symbol.address) else {
            return;
        };
        let known = |probe: &Probe| probe.function == function && probe.entry == entry;
        let times = self
            .probes
            .iter()
            .filter(|probe| probe.function == function)
            .count();
        if times >= MAX_TIMES || self.probes.iter().any(known) {
            return;
        }
        let returns = if options.returns {
            returns(elf, symbol.address, symbol.size, Jumps::MayLeave).unwrap_or_default()
        } else {
            Vec::new()
        };
        self.probes.push(Probe {
            function,
            entry,
            returns,
        });
    }
}

/// How often one function of a C library is probed in one file: versions of one interface
/// (`name@V1`, `name@@V2`) may have code of their own.
const MAX_TIMES: usize = 4;
