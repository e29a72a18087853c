//! How fast masking is, others beside it: MB of text in a second of one core's time.
//!
//! Each round measures all of them on the same text, one after another; the median of the rounds is
//! printed with the least and the most. The others look for the classes of `quality/peer.rs`: fewer than
//! ours.

#[path = "../../hoop-mask/benches/clock/mod.rs"]
mod clock;
#[path = "quality/peer.rs"]
mod peer;
#[path = "quality/score.rs"]
#[expect(dead_code, reason = "of it only the type of a finding is needed")]
mod score;
#[path = "../../hoop-mask/benches/texts/mod.rs"]
mod texts;

use std::hint::black_box;

use hoop_mask::{Config, Key, Masker};
use regex::bytes::RegexSet;

/// So much of each text is measured.
const SIZE: usize = 4 << 20;
const ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let masker = Masker::new(&Config::default(), Key::new("bench", &[7; 32]))?;
    let peer = peer::Peer::new()?;
    let set = RegexSet::new(peer::patterns())?;
    println!("{:<24} {:>16} {:>20} {:>20} {:>20}", "text", "", "hoop-mask", "dd-sds", "RegexSet, lines");
    for (name, text) in texts::all() {
        let text = String::from_utf8_lossy(&text[..SIZE]).into_owned();
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            let mut copy = text.clone();
            rates[0].push(rate(|| drop(black_box(masker.mask(black_box(text.as_bytes())))))?);
            rates[1].push(rate(|| drop(black_box(peer.mask(&mut copy))))?);
            // It says whether a line has a finding, and nothing more.
            rates[2].push(rate(|| {
                for line in text.as_bytes().split(|&byte| byte == b'\n') {
                    black_box(set.matches(black_box(line)));
                }
            })?);
        }
        print!("{name:<24} {:>16}", "MB/s");
        for rates in &mut rates {
            rates.sort_by(f64::total_cmp);
            print!(" {:>8.1} ({:.0}-{:.0})", rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
        }
        println!();
    }
    Ok(())
}

/// MB per second of this thread's time.
fn rate(run: impl FnOnce()) -> anyhow::Result<f64> {
    let start = clock::cpu_seconds()?;
    run();
    Ok(SIZE as f64 / (clock::cpu_seconds()? - start) / 1e6)
}
