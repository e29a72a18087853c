//! How fast masking is: MB of text in a second of one core's time, on texts without findings and with one in each KiB.
//!
//! `cargo bench -p hoop-mask`; with paths as arguments it measures those files too. Others on the same
//! texts: `bench-peers/`.
#![expect(clippy::unwrap_used, reason = "a bench may panic")]

mod clock;
mod texts;

use std::hint::black_box;

use hoop_mask::{Config, Key, Masker};

fn main() {
    let masker = Masker::new(&Config::default(), Key::new("bench", &[7; 32])).unwrap();
    let mut texts = texts::all();
    if let Ok(only) = std::env::var("ONLY") {
        texts.retain(|(name, _)| name.contains(&only));
    }
    for path in std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
    {
        let text = std::fs::read(&path).unwrap();
        texts.push((path, text));
    }
    println!(
        "{:<28} {:>8} {:>9} {:>9} {:>9}",
        "text", "findings", "median", "least", "most"
    );
    for (name, text) in &texts {
        let (mut output, mut findings) = (Vec::new(), Vec::new());
        let mut rates = Vec::new();
        for _ in 0..31 {
            output.clear();
            findings.clear();
            let start = clock::cpu_seconds().unwrap();
            masker.mask_into(black_box(text), &mut output, &mut findings);
            let seconds = clock::cpu_seconds().unwrap() - start;
            rates.push(text.len() as f64 / seconds / 1e6);
        }
        rates.sort_by(f64::total_cmp);
        println!(
            "{name:<28} {:>8} {:>9.0} {:>9.0} {:>9.0}",
            findings.len(),
            rates[rates.len() / 2],
            rates[0],
            rates[rates.len() - 1],
        );
    }
}
