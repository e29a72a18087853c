//! Secrets of every class, planted in documents of every kind and cut anywhere: none is left, nor
//! eight bytes in a row of one, as it is or as the document writes it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod carriers;
mod random;
mod secrets;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use carriers::{CARRIERS, Document};
use hoop_mask::{Config, Key, Masker};
use random::Random;

/// So many bytes in a row of a secret must not be left.
const TELLING: usize = 8;

fn masker() -> Arc<Masker> {
    Arc::new(Masker::new(&Config::default(), Key::new("test", &[7; 32])).unwrap())
}

/// What of a document is left in an output, if anything is.
fn left<'form>(document: &'form Document, output: &[u8]) -> Option<&'form str> {
    let parts: HashSet<&[u8]> = output.windows(TELLING).collect();
    document.forms.iter().map(String::as_str).find(|form| {
        let form = form.as_bytes();
        // An address is shorter.
        let short = || output.windows(form.len()).any(|part| part == form);
        if form.len() < TELLING {
            short()
        } else {
            form.windows(TELLING).any(|part| parts.contains(part))
        }
    })
}

/// Masks in pieces of random lengths.
fn in_pieces(masker: &Arc<Masker>, text: &[u8], random: &mut Random) -> Vec<u8> {
    let (mut output, mut findings) = (Vec::new(), Vec::new());
    let mut stream = masker.stream();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + random.below(rest.len().min(40)));
        stream.push(piece, &mut output, &mut findings);
        rest = after;
    }
    stream.finish(&mut output, &mut findings);
    output
}

#[test]
fn nothing_planted_is_left() {
    let masker = masker();
    let mut random = Random(4);
    let mut leaks: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut planted = 0;
    for (carrier, carry) in CARRIERS {
        for kind in 0..secrets::kinds() {
            for _ in 0..8 {
                let secret = secrets::secret(kind, &mut random);
                let Some(document) = carry(&secret, &mut random) else {
                    continue;
                };
                planted += 1;
                let output = masker.mask(document.text.as_bytes()).bytes;
                assert_eq!(
                    in_pieces(&masker, document.text.as_bytes(), &mut random),
                    output,
                    "cut, another output: {}",
                    document.text
                );
                if left(&document, &output).is_some() {
                    let at = format!("{carrier}: {} {}", secret.label, secret.text.len());
                    let told = format!(
                        "{:?} -> {:?}",
                        document.text,
                        String::from_utf8_lossy(&output)
                    );
                    leaks.entry(at).or_insert((0, told)).0 += 1;
                }
            }
        }
    }
    assert!(planted > 7_000, "{planted}");
    let told: Vec<String> = leaks
        .iter()
        .map(|(at, (count, told))| format!("{at} x{count}: {told}"))
        .collect();
    assert!(
        leaks.is_empty(),
        "{} of {planted}:\n{}",
        leaks.values().map(|leak| leak.0).sum::<usize>(),
        told.join("\n")
    );
}

/// In a long text, near the bounds of what is looked at in one go.
#[test]
fn nothing_is_left_of_long_texts() {
    let masker = masker();
    let mut random = Random(5);
    for round in 0..12 {
        let (mut text, mut forms) = (String::new(), Vec::new());
        while text.len() < 100_000 {
            let kind = random.below(secrets::kinds());
            let secret = secrets::secret(kind, &mut random);
            let carry = CARRIERS[random.below(CARRIERS.len())].1;
            let Some(document) = carry(&secret, &mut random) else {
                continue;
            };
            text.push_str(&document.text);
            text.push('\n');
            text.push_str(&"lorem ipsum ".repeat(random.below(400)));
            text.push('\n');
            forms.extend(document.forms);
        }
        let document = Document { text, forms };
        let output = masker.mask(document.text.as_bytes()).bytes;
        assert_eq!(left(&document, &output), None, "round {round}");
        assert!(
            in_pieces(&masker, document.text.as_bytes(), &mut random) == output,
            "round {round}"
        );
    }
}
