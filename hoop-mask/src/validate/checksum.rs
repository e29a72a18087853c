//! The check digit formulas that several numbers share. Digits are values 0 to 9.

/// Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| {
            let digit = u32::from(digit);
            if place % 2 == 0 {
                digit
            } else {
                digit * 2 / 10 + digit * 2 % 10
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether the last digit is the Verhoeff check digit of the others (J. Verhoeff, "Error detecting
/// decimal codes", 1969): the dihedral group of order 10 and a permutation of period 8.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    // Reflections are 5 to 9: r^a · r^b, and with a reflection on the left the rotation runs
    // backwards.
    let multiply = |left: u8, right: u8| match (left < 5, right < 5) {
        (true, true) => (left + right) % 5,
        (true, false) => (left + right) % 5 + 5,
        (false, true) => (left - right) % 5 + 5,
        (false, false) => (left + 5 - right) % 5,
    };
    let sum = digits
        .iter()
        .rev()
        .enumerate()
        .fold(0, |sum, (place, &digit)| {
            let permuted = (0..place % 8).fold(digit, |digit, _| PERMUTATION[usize::from(digit)]);
            multiply(sum, permuted)
        });
    sum == 0
}

/// Whether the last digit is the check digit of the hybrid system MOD 11,10 of ISO/IEC 7064.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((&check, body)) = digits.split_last() else {
        return false;
    };
    let product = body.iter().fold(10, |product, &digit| {
        let sum = (product + u32::from(digit)) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (product + u32::from(check)) % 10 == 1
}

/// The remainder of the number that the digits spell, of any length.
pub(super) fn remainder(digits: &[u8], modulus: u32) -> u32 {
    digits
        .iter()
        .fold(0, |rest, &digit| (rest * 10 + u32::from(digit)) % modulus)
}

/// The sum of each digit times its weight; digits without a weight do not count.
pub(super) fn weighted(digits: &[u8], weights: &[u8]) -> u32 {
    digits
        .iter()
        .zip(weights)
        .map(|(&digit, &weight)| u32::from(digit) * u32::from(weight))
        .sum()
}
