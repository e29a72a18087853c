//! Says what is in each file named: `cargo run -p hoop-locate --example locate -- FILE...`.

use hoop_locate::{Options, locate};
use std::time::Instant;

fn main() {
    for path in std::env::args_os().skip(1) {
        let shown = path.display();
        let file = match std::fs::read(&path) {
            Ok(file) => file,
            Err(error) => {
                println!("{shown}: {error}");
                continue;
            }
        };
        let began = Instant::now();
        let located = locate(&file, Options { returns: true });
        println!("{shown}: {:?}\n{located:#x?}", began.elapsed());
    }
}
