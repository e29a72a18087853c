//! Calls of kernel functions in the object. aya cannot make them: the object has a placeholder for
//! each, which is replaced by the function's number on the running kernel.

use aya_obj::btf::{Btf, BtfKind};
use hoop_common::event::KFUNC_SEND_SIGNAL_TASK;

/// `BPF_JMP | BPF_CALL`, of `include/uapi/linux/bpf.h`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, as the source register: the high half of the second byte.
const PSEUDO_KFUNC_CALL: u8 = 2 << 4;

/// The functions that the object may call, and what stands for each in a call.
const FUNCTIONS: [(&str, i32); 1] = [("bpf_send_signal_task", KFUNC_SEND_SIGNAL_TASK)];

/// Puts the running kernel's numbers into the calls. Where the kernel lacks a function its calls
/// stay as they are, and the verifier refuses the programs that have one.
pub fn link(object: &mut [u8], btf: &Btf) {
    for (name, placeholder) in FUNCTIONS {
        if let Ok(id) = btf.id_by_type_name_kind(name, BtfKind::Func) {
            replace(object, placeholder, id);
        }
    }
}

/// Returns how many calls were replaced.
fn replace(object: &mut [u8], placeholder: i32, id: u32) -> usize {
    let [a, b, c, d] = placeholder.to_le_bytes();
    let wanted = [CALL, 0, 0, 0, a, b, c, d];
    let mut replaced = 0;
    // Sections of instructions are aligned in the file.
    for instruction in object.as_chunks_mut::<8>().0 {
        if *instruction == wanted {
            let [a, b, c, d] = id.to_le_bytes();
            *instruction = [CALL, PSEUDO_KFUNC_CALL, 0, 0, a, b, c, d];
            replaced += 1;
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_a_call_of_every_function() {
        let mut object = super::super::load::OBJECT.to_vec();
        for (name, placeholder) in FUNCTIONS {
            assert_ne!(replace(&mut object, placeholder, 1), 0, "{name}");
            assert_eq!(replace(&mut object, placeholder, 1), 0, "{name}, again");
        }
    }
}
