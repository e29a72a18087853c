//! The functions that tables of symbols name.

use crate::elf::{Elf, Symbol, Table};
use crate::returns::{Jumps, returns};
use crate::{Function, How, Options, Probe, rustls};

/// How often one function is probed in one file. A C library has a second only for another version of
/// its interface; a generic function of Rust has one for each of its types.
pub(crate) const MAX_TIMES: usize = 16;

/// What was looked for, by table; read in one pass, as a large file has a million symbols.
pub(crate) struct Names<'data> {
    dynamic: Found<'data>,
    fixed: Found<'data>,
}

/// What one table of symbols has.
#[derive(Default)]
struct Found<'data> {
    functions: Vec<(Function, Symbol<'data>)>,
    boringssl: bool,
}

/// Functions of one library, from one table.
pub(crate) struct Named {
    pub(crate) how: How,
    pub(crate) probes: Vec<Probe>,
    /// Whether the same table names a function that `BoringSSL` has and OpenSSL has not.
    pub(crate) boringssl: bool,
    /// A function that is there more than [`MAX_TIMES`].
    pub(crate) too_many: Option<Function>,
}

/// A function that `BoringSSL` and AWS-LC have and OpenSSL has not.
const BORINGSSL_TELL: &[u8] = b"SSL_CTX_set_grease_enabled";

impl<'data> Names<'data> {
    pub(crate) fn read(elf: &Elf<'data>) -> Self {
        Self {
            dynamic: Found::read(elf, Table::Dynamic),
            fixed: Found::read(elf, Table::Static),
        }
    }

    /// The functions of `wanted`, from the first table that has any of them.
    pub(crate) fn find(
        &self,
        elf: &Elf<'_>,
        wanted: &[Function],
        options: Options,
    ) -> Option<Named> {
        [
            (How::DynamicSymbols, &self.dynamic),
            (How::Symbols, &self.fixed),
        ]
        .into_iter()
        .map(|(how, found)| found.named(elf, wanted, how, options))
        .find(|named| !named.probes.is_empty())
    }

    /// Go's functions, whose extents matter.
    pub(crate) fn symbols(&self, wanted: Function) -> impl Iterator<Item = Symbol<'data>> {
        let of = move |(function, symbol): &(Function, Symbol<'data>)| {
            (*function == wanted).then_some(*symbol)
        };
        self.fixed.functions.iter().filter_map(of)
    }
}

impl<'data> Found<'data> {
    fn read(elf: &Elf<'data>, table: Table) -> Self {
        let mut found = Self::default();
        let mut times = [0; Function::ALL.len()];
        for symbol in elf.functions(table) {
            found.boringssl |= symbol.name == BORINGSSL_TELL;
            let Some(function) = function(symbol.name) else {
                continue;
            };
            let times = &mut times[function as usize];
            // One more than is probed, so that there being too many is known.
            if *times <= MAX_TIMES {
                *times += 1;
                found.functions.push((function, symbol));
            }
        }
        found
    }

    fn named(&self, elf: &Elf<'_>, wanted: &[Function], how: How, options: Options) -> Named {
        let mut named = Named {
            how,
            probes: Vec::new(),
            boringssl: self.boringssl,
            too_many: None,
        };
        for (function, symbol) in &self.functions {
            if wanted.contains(function) {
                named.add(elf, *function, symbol, options);
            }
        }
        named
    }
}

impl Named {
    pub(crate) fn has(&self, functions: &[Function]) -> bool {
        self.probes
            .iter()
            .any(|probe| functions.contains(&probe.function))
    }

    fn add(&mut self, elf: &Elf<'_>, function: Function, symbol: &Symbol<'_>, options: Options) {
        let Some(entry) = elf.code_offset(symbol.address) else {
            return;
        };
        let same = |probe: &&Probe| probe.function == function;
        // Aliases, and versions of one interface that share their code.
        if self
            .probes
            .iter()
            .filter(same)
            .any(|probe| probe.entry == entry)
        {
            return;
        }
        if self.probes.iter().filter(same).count() >= MAX_TIMES {
            self.too_many = Some(function);
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

/// The function that a symbol names.
fn function(name: &[u8]) -> Option<Function> {
    match name {
        [b'S' | b'g' | b'c', ..] => Function::ALL
            .iter()
            .copied()
            .find(|function| function.name().as_bytes() == name),
        [b'_', b'Z' | b'R', b'N', ..] => rustls::function(name),
        _ => None,
    }
}
