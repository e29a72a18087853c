//! Precision, recall and F1 of hoop-mask and of `dd-sensitive-data-scanner` on labelled texts.
//!
//! `cargo bench --bench quality -- FILE [errors]`, where FILE is in the format of Presidio's
//! evaluation data (an array of `full_text` and `spans`); with `errors` each error of ours is shown.

mod peer;
mod score;

use std::path::PathBuf;

use anyhow::Context;
use hoop_mask::{Config, Key, Masker};

use peer::Peer;
use score::Score;


fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    let path: PathBuf = arguments.next().context("usage: quality FILE [errors]")?.into();
    let errors = arguments.next().is_some_and(|argument| argument == "errors");
    let samples = score::read(&path).with_context(|| path.display().to_string())?;
    let masker = Masker::new(&Config::default(), Key::new("bench", &[7; 32]))?;
    let peer = Peer::new()?;
    for loose in [false, true] {
        let (mut ours, mut theirs) = (Score::default(), Score::default());
        for sample in &samples {
            let found = masker.mask(sample.full_text.as_bytes()).findings;
            let found: Vec<_> = found
                .iter()
                .map(|found| (found.class.to_string(), found.start as usize..found.end as usize))
                .collect();
            ours.count(sample, &found, loose);
            theirs.count(sample, &peer.mask(&mut sample.full_text.clone())?, loose);
        }
        println!("{}", if loose { "\nat an overlapping place" } else { "at exactly the place" });
        ours.print("hoop-mask");
        theirs.print("dd-sensitive-data-scanner");
        if errors && !loose {
            ours.errors.iter().for_each(|error| println!("{error}"));
        }
    }
    Ok(())
}
