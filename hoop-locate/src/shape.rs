//! What the code of one function without a name does: which errors it raises, what it calls and whether it
//! writes to memory. `x86_64` only.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// The longest function that is looked at, in bytes.
const MAX_CODE: usize = 8 << 10;

/// How far before an instruction the beginning of its function is looked for, in bytes.
const MAX_BACK: usize = 4 << 10;

/// The distance at which compilers align functions.
const ALIGNMENT: usize = 16;

/// `ERR_LIB_SSL` of `BoringSSL`, `openssl/err.h`.
const ERR_LIB_SSL: u32 = 16;

/// What a function does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Shape {
    /// The reasons of the errors of library SSL that it raises from the source file looked for.
    pub(crate) reasons: Vec<u32>,
    /// The addresses that it calls.
    pub(crate) calls: Vec<u64>,
    /// Whether it writes to memory that is not its own stack.
    pub(crate) stores: bool,
    /// How many bytes were read.
    pub(crate) length: usize,
}

/// Where the function begins whose code has an instruction at `at`: the nearest place before it that is
/// aligned and follows padding that no code runs into (`int3`), or follows what else can end a function
/// and begins as one that calls others does.
pub(crate) fn beginning(code: &[u8], address: u64, at: usize) -> Option<usize> {
    let skew = usize::try_from(address % ALIGNMENT as u64).ok()?;
    let mut start = ((at + skew) / ALIGNMENT * ALIGNMENT).checked_sub(skew)?;
    while start > 0 && at - start <= MAX_BACK {
        let before = &code[..start];
        if before.ends_with(&[0xcc]) || ends(before) && opens(&code[start..]) {
            return Some(start);
        }
        start = start.checked_sub(ALIGNMENT)?;
    }
    None
}

/// Reads a function from its beginning to where nothing in it leads on. `file` is the address of the
/// name of the source file looked for.
pub(crate) fn read(code: &[u8], address: u64, file: u64) -> Shape {
    let code = &code[..code.len().min(MAX_CODE)];
    let mut shape = Shape::default();
    let mut reach = address;
    let mut framed = false;
    let mut arguments = Arguments::default();
    for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        if instruction.is_invalid() || instruction.mnemonic() == Mnemonic::Int3 {
            break;
        }
        shape.length += instruction.len();
        framed |= instruction.mnemonic() == Mnemonic::Mov
            && instruction.op0_register() == Register::RBP
            && instruction.op1_register() == Register::RSP;
        if instruction.op0_kind() == OpKind::Memory {
            let base = instruction.memory_base();
            let own = base == Register::RSP || framed && base == Register::RBP;
            let mnemonic = instruction.mnemonic();
            let writes = matches!(mnemonic, Mnemonic::Mov | Mnemonic::Add | Mnemonic::Sub);
            shape.stores |= writes && !own;
        }
        let near = instruction.op0_kind() == OpKind::NearBranch64;
        let target = instruction.near_branch_target();
        match instruction.mnemonic() {
            Mnemonic::Call | Mnemonic::Jmp | Mnemonic::Ret => {
                shape.reasons.extend(arguments.reason(file));
                arguments = Arguments::default();
                if instruction.mnemonic() == Mnemonic::Call {
                    if near {
                        shape.calls.push(target);
                    }
                    continue;
                }
                if near && target.wrapping_sub(address) < MAX_CODE as u64 {
                    reach = reach.max(target);
                }
                if instruction.next_ip() > reach {
                    break;
                }
            }
            _ if near => reach = reach.max(target),
            _ => arguments.take(&instruction),
        }
    }
    shape
}

/// The constants in the registers of the first five arguments.
#[derive(Default)]
struct Arguments([Option<u64>; 5]);

impl Arguments {
    fn take(&mut self, instruction: &Instruction) {
        let Some(index) = argument(instruction.op0_register()) else {
            return;
        };
        self.0[index] = match (instruction.mnemonic(), instruction.op1_kind()) {
            (Mnemonic::Mov, OpKind::Immediate32 | OpKind::Immediate32to64) => {
                Some(instruction.immediate(1))
            }
            (Mnemonic::Lea, OpKind::Memory) if instruction.is_ip_rel_memory_operand() => {
                Some(instruction.ip_rel_memory_address())
            }
            (Mnemonic::Xor, OpKind::Register)
                if instruction.op0_register() == instruction.op1_register() =>
            {
                Some(0)
            }
            _ => return,
        };
    }

    /// The reason, if these are arguments of `ERR_put_error(library, unused, reason, file, line)`, of
    /// which optimisation at link time drops the second.
    fn reason(&self, file: u64) -> Option<u32> {
        let at = self.0.iter().position(|value| *value == Some(file))?;
        let reason = self.0[at.checked_sub(1)?]?;
        (at >= 2 && self.0[0] == Some(u64::from(ERR_LIB_SSL)))
            .then(|| u32::try_from(reason).ok())?
    }
}

fn argument(register: Register) -> Option<usize> {
    match register {
        Register::EDI | Register::RDI => Some(0),
        Register::ESI | Register::RSI => Some(1),
        Register::EDX | Register::RDX => Some(2),
        Register::ECX | Register::RCX => Some(3),
        Register::R8D | Register::R8 => Some(4),
        _ => None,
    }
}

/// Whether a function can end here: padding (the `NOP`s of the processors' manuals), a return, a trap, a jump, or a call of a function that
/// does not come back.
fn ends(before: &[u8]) -> bool {
    let endings: [&[u8]; 8] = [
        &[0x90],
        &[0x0f, 0x1f, 0],
        &[0x0f, 0x1f, 0x40, 0],
        &[0x0f, 0x1f, 0x44, 0, 0],
        &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
        &[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
        &[0xc3],
        &[0x0f, 0x0b],
    ];
    let leads_on = |opcode| before.len() >= 5 && before[before.len() - 5] == opcode;
    leads_on(0xe8) || leads_on(0xe9) || endings.iter().any(|ending| before.ends_with(ending))
}

/// Whether a function begins here: `endbr64`, a `push`, or room made on the stack.
fn opens(code: &[u8]) -> bool {
    matches!(
        code,
        [0xf3, 0x0f, 0x1e, 0xfa, ..]
            | [0x50..=0x57, ..]
            | [0x41, 0x50..=0x57, ..]
            | [0x48, 0x83 | 0x81, 0xec, ..]
    )
}
