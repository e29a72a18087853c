//! Temporary.
use hoop_agent::kernel::{btf::*, load::*, offsets, pins::*};
fn main() {
    let btf = Btf::read(std::path::Path::new(VMLINUX)).unwrap();
    let o = offsets::find(&btf).unwrap();
    let pins = Pins::open(std::path::Path::new("/sys/fs/bpf/hoop-probe")).unwrap();
    let t = std::time::Instant::now();
    match Kernel::load(pins, &o, 0) {
        Ok(_) => {
            println!("loaded {:?}", t.elapsed());
            for p in aya::programs::loaded_programs().flatten() {
                if p.name_as_str().is_some_and(|n| n.starts_with("hoop")) {
                    println!(
                        "{:?} {:?} {}",
                        p.name_as_str(),
                        p.verified_instruction_count(),
                        p.size_translated().unwrap_or(0)
                    );
                }
            }
        }
        Err(e) => println!("{e}"),
    }
    remove_all(std::path::Path::new("/sys/fs/bpf/hoop-probe")).unwrap();
}
