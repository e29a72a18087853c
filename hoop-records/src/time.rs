//! How times are written.

use std::fmt;

use serde::{Serialize, Serializer};

/// Nanoseconds since 1970 in UTC, written as `2026-11-25T09:11:26.123456789Z` (RFC 3339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339(pub i64);

impl Rfc3339 {
    const LEN: usize = "2026-11-25T09:11:26.123456789Z".len();

    fn bytes(self) -> [u8; Self::LEN] {
        let seconds = self.0.div_euclid(1_000_000_000);
        let second_of_day = seconds.rem_euclid(86_400);
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let mut digits = |from: usize, to: usize, mut value: i64| {
            for digit in text[from..to].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        digits(0, 4, year);
        digits(5, 7, month);
        digits(8, 10, day);
        digits(11, 13, second_of_day / 3600);
        digits(14, 16, second_of_day / 60 % 60);
        digits(17, 19, second_of_day % 60);
        digits(20, 29, self.0.rem_euclid(1_000_000_000));
        text
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.bytes()).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(str::from_utf8(&self.bytes()).map_err(serde::ser::Error::custom)?)
    }
}

/// Year, month and day of a day since 1970: `civil_from_days` of
/// <https://howardhinnant.github.io/date_algorithms.html>.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        // Expected values from date(1).
        for (time, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (1_795_597_886_123_456_789, "2026-11-25T09:11:26.123456789Z"),
            (4_107_542_400_000_000_001, "2100-03-01T00:00:00.000000001Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(Rfc3339(time).to_string(), text);
        }
    }
}
