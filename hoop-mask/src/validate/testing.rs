//! What a check digit promises, tested the same way for each number.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// How to make numbers of a kind, and what its formula promises.
pub(super) struct Scheme {
    /// A `9` stands for any digit; every other character is itself.
    pub(super) shape: &'static str,
    /// How many of the last digits to try out until the number passes.
    pub(super) check: u32,
    pub(super) caught: Caught,
}

/// The errors that a formula catches for sure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
pub(super) enum Caught {
    /// Those in the check digits: where two remainders are written the same, others may slip
    /// through.
    CheckDigits,
    /// Those in any one digit.
    AnyDigit,
    /// Those, and two neighbouring digits that changed places.
    Transpositions,
}

/// Makes numbers that pass and asserts that with an error of those promised none passes any more.
pub(super) fn assert_catches(check: fn(&[u8]) -> bool, scheme: &Scheme) {
    let places: Vec<usize> = scheme
        .shape
        .bytes()
        .enumerate()
        .filter_map(|(place, byte)| (byte == b'9').then_some(place))
        .collect();
    let tail = places.len() - scheme.check as usize;
    let mut runner = TestRunner::new(Config {
        cases: 200,
        max_global_rejects: 1 << 20,
        ..Config::default()
    });
    let digits = proptest::collection::vec(b'0'..=b'9', places.len());
    let outcome = runner.run(&digits, |digits| {
        let mut number = scheme.shape.as_bytes().to_vec();
        for (&place, &digit) in places.iter().zip(&digits) {
            number[place] = digit;
        }
        let found = (0..10_u32.pow(scheme.check)).any(|value| {
            let value = format!("{value:0width$}", width = scheme.check as usize);
            for (&place, digit) in places[tail..].iter().zip(value.bytes()) {
                number[place] = digit;
            }
            check(&number)
        });
        prop_assume!(found);
        let sure = if scheme.caught == Caught::CheckDigits {
            &places[tail..]
        } else {
            &places[..]
        };
        for &place in sure {
            for digit in b'0'..=b'9' {
                let mut changed = number.clone();
                changed[place] = digit;
                prop_assert_eq!(
                    check(&changed),
                    digit == number[place],
                    "{:?}",
                    String::from_utf8_lossy(&changed)
                );
            }
        }
        if scheme.caught == Caught::Transpositions {
            for pair in places
                .windows(2)
                .filter(|pair| number[pair[0]] != number[pair[1]])
            {
                let mut changed = number.clone();
                changed.swap(pair[0], pair[1]);
                prop_assert!(!check(&changed), "{:?}", String::from_utf8_lossy(&changed));
            }
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{}: {error}", scheme.shape);
    }
}

/// Asserts which texts pass.
pub(super) fn assert_examples(check: fn(&[u8]) -> bool, passes: &[&str], fails: &[&str]) {
    let refused: Vec<_> = passes
        .iter()
        .filter(|text| !check(text.as_bytes()))
        .collect();
    let accepted: Vec<_> = fails.iter().filter(|text| check(text.as_bytes())).collect();
    assert!(
        refused.is_empty() && accepted.is_empty(),
        "refused {refused:?}, accepted {accepted:?}"
    );
}
