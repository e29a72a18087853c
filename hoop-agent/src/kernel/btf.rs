//! Where struct members are, from the kernel's own type information
//! (`Documentation/bpf/btf.rst`).

use std::{collections::HashMap, io, path::Path};

use thiserror::Error;

/// The kernel's BTF in sysfs.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Anonymous structs and unions nest no deeper than this in any kernel.
const MAX_NESTING: u32 = 16;

/// Members that are looked at for one part of a path: far above what any struct of a kernel holds
/// with all that is embedded in it.
const MAX_MEMBERS: u32 = 1 << 16;

/// Why a member's offset is not known.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("{path}: {source}; Hoop needs a kernel built with CONFIG_DEBUG_INFO_BTF=y")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not BTF, or is cut off.
    #[error("{0}: not valid BTF")]
    Malformed(String),
    /// The kernel has no such struct.
    #[error("the kernel's BTF has no struct {0}")]
    NoStruct(String),
    /// The struct has no such member.
    #[error("the kernel's BTF has no member {member} in struct {name}")]
    NoMember {
        /// The struct.
        name: String,
        /// The member, as a path with dots.
        member: String,
    },
}

/// Parsed BTF.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Position of the type with id `n + 1`.
    types: Vec<usize>,
    structs: HashMap<String, usize>,
}

#[derive(Clone, Copy)]
struct Type {
    position: usize,
    kind: u32,
    len: usize,
    kind_flag: bool,
    /// A size for structs, a type id for references.
    size_or_type: u32,
}

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_TYPEDEF: u32 = 8;
const KIND_CONST: u32 = 10;

impl Btf {
    /// Reads the BTF of the running kernel, or a file of the same form.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not BTF.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let data = std::fs::read(path).map_err(|source| BtfError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(data).ok_or_else(|| BtfError::Malformed(path.display().to_string()))
    }

    /// Parses BTF in the byte order of this machine. `None` if it is malformed.
    #[must_use]
    pub fn parse(data: Vec<u8>) -> Option<Self> {
        if data.get(..2)? != 0xeb9f_u16.to_ne_bytes() {
            return None;
        }
        let word = |at: usize| read_u32(&data, at).map(|value| value as usize);
        let header = word(4)?;
        let types_start = header.checked_add(word(8)?)?;
        let types_end = types_start.checked_add(word(12)?)?;
        let strings = header.checked_add(word(16)?)?;
        data.get(types_start..types_end)?;
        data.get(strings..)?;
        let mut btf = Self {
            data,
            strings,
            types: Vec::new(),
            structs: HashMap::new(),
        };
        let mut at = types_start;
        while at < types_end {
            let found = btf.type_at(at)?;
            btf.types.push(at);
            if found.kind == KIND_STRUCT {
                let name = btf.string(read_u32(&btf.data, at)?)?.to_owned();
                if !name.is_empty() {
                    btf.structs.entry(name).or_insert(at);
                }
            }
            at = at.checked_add(12)?.checked_add(extra_bytes(found)?)?;
        }
        Some(btf)
    }

    /// Offset in bytes of a member, given as a path with dots through embedded structs. Anonymous
    /// structs and unions on the way are looked into.
    ///
    /// # Errors
    ///
    /// When the struct or the member does not exist.
    pub fn offset_of(&self, name: &str, member: &str) -> Result<u32, BtfError> {
        let at = *self
            .structs
            .get(name)
            .ok_or_else(|| BtfError::NoStruct(name.to_owned()))?;
        self.walk(at, member).ok_or_else(|| BtfError::NoMember {
            name: name.to_owned(),
            member: member.to_owned(),
        })
    }

    /// Size in bytes of a struct.
    ///
    /// # Errors
    ///
    /// When the struct does not exist.
    pub fn size_of(&self, name: &str) -> Result<u32, BtfError> {
        self.structs
            .get(name)
            .and_then(|at| self.type_at(*at))
            .map(|found| found.size_or_type)
            .ok_or_else(|| BtfError::NoStruct(name.to_owned()))
    }

    fn walk(&self, at: usize, path: &str) -> Option<u32> {
        let mut container = at;
        let mut offset = 0;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let mut left = MAX_MEMBERS;
            let (bits, type_id) = self.member(container, part, 0, &mut left)?;
            offset = u32::checked_add(offset, bits / 8)?;
            if parts.peek().is_some() {
                container = self.resolve(type_id)?;
            }
        }
        Some(offset)
    }

    /// Offset in bits and type of a member. `left` is how many more may be looked at: what is
    /// embedded several times is walked several times.
    fn member(
        &self,
        container: usize,
        name: &str,
        nesting: u32,
        left: &mut u32,
    ) -> Option<(u32, u32)> {
        if nesting > MAX_NESTING {
            return None;
        }
        let found = self.type_at(container)?;
        if found.kind != KIND_STRUCT && found.kind != KIND_UNION {
            return None;
        }
        for index in 0..found.len {
            *left = left.checked_sub(1)?;
            let at = found.position + 12 + index * 12;
            let member_name = self.string(read_u32(&self.data, at)?)?;
            let type_id = read_u32(&self.data, at + 4)?;
            let raw = read_u32(&self.data, at + 8)?;
            let bits = if found.kind_flag {
                raw & 0x00ff_ffff
            } else {
                raw
            };
            if member_name == name {
                return Some((bits, type_id));
            }
            if member_name.is_empty()
                && let Some(inner) = self.resolve(type_id)
                && let Some((inner_bits, inner_type)) = self.member(inner, name, nesting + 1, left)
            {
                return Some((bits.checked_add(inner_bits)?, inner_type));
            }
        }
        None
    }

    /// Follows typedefs and qualifiers to a type's position.
    fn resolve(&self, type_id: u32) -> Option<usize> {
        let mut id = type_id;
        for _ in 0..MAX_NESTING {
            let at = *self.types.get((id as usize).checked_sub(1)?)?;
            let found = self.type_at(at)?;
            match found.kind {
                // typedef, volatile, const, restrict, type tag
                KIND_TYPEDEF..=11 | 18 => id = found.size_or_type,
                _ => return Some(at),
            }
        }
        None
    }

    fn type_at(&self, position: usize) -> Option<Type> {
        let info = read_u32(&self.data, position + 4)?;
        Some(Type {
            position,
            kind: info >> 24 & 0x1f,
            len: (info & 0xffff) as usize,
            kind_flag: info >> 31 == 1,
            size_or_type: read_u32(&self.data, position + 8)?,
        })
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let bytes = self
            .data
            .get(self.strings.checked_add(offset as usize)?..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok()
    }
}

/// Bytes that follow a type's common part.
fn extra_bytes(found: Type) -> Option<usize> {
    Some(match found.kind {
        // int, var, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // struct, union, data section, enum64
        KIND_STRUCT | KIND_UNION | 15 | 19 => found.len * 12,
        // enum, function prototype
        6 | 13 => found.len * 8,
        // pointer, forward, typedef, qualifiers, function, float, type tag
        2 | 7..=KIND_CONST | 11 | 12 | 16 | 18 => 0,
        _ => return None,
    })
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// `struct inner { int a; int b; }; struct outer { int x; union { int y; const struct inner z; }; };`
    fn sample() -> Vec<u8> {
        let strings = b"\0inner\0a\0b\0outer\0x\0y\0z\0int\0";
        let name = |wanted: &str| {
            let needle = [wanted.as_bytes(), b"\0"].concat();
            strings
                .windows(needle.len())
                .position(|part| part == needle)
                .unwrap() as u32
        };
        let words: Vec<u32> = vec![
            // 1: int
            name("int"),
            1 << 24,
            4,
            32,
            // 2: struct inner
            name("inner"),
            KIND_STRUCT << 24 | 2,
            8,
            name("a"),
            1,
            0,
            name("b"),
            1,
            32,
            // 3: const inner
            0,
            KIND_CONST << 24,
            2,
            // 4: anonymous union
            0,
            KIND_UNION << 24 | 2,
            8,
            name("y"),
            1,
            0,
            name("z"),
            3,
            0,
            // 5: struct outer
            name("outer"),
            KIND_STRUCT << 24 | 2,
            12,
            name("x"),
            1,
            0,
            0,
            4,
            32,
        ];
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut data = Vec::new();
        data.extend(0xeb9f_u16.to_ne_bytes());
        data.extend([1, 0]);
        for word in [
            24,
            0,
            types.len() as u32,
            types.len() as u32,
            strings.len() as u32,
        ] {
            data.extend(word.to_ne_bytes());
        }
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn members_are_found_through_anonymous_unions_and_qualifiers() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset_of("outer", "x").unwrap(), 0);
        assert_eq!(btf.offset_of("outer", "y").unwrap(), 4);
        assert_eq!(btf.offset_of("outer", "z.b").unwrap(), 8);
        assert_eq!(btf.size_of("outer").unwrap(), 12);
    }

    #[test]
    fn what_is_missing_is_named() {
        let btf = Btf::parse(sample()).unwrap();
        assert!(
            btf.offset_of("nowhere", "x")
                .unwrap_err()
                .to_string()
                .contains("struct nowhere")
        );
        assert!(
            btf.offset_of("outer", "z.c")
                .unwrap_err()
                .to_string()
                .contains("member z.c")
        );
    }

    #[test]
    fn cut_off_data_is_refused() {
        let whole = sample();
        for len in 0..whole.len() - 30 {
            assert!(Btf::parse(whole[..len].to_vec()).is_none(), "{len} bytes");
        }
    }
}
