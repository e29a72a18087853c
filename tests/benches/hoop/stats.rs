//! Medians and their spread.

use serde::Serialize;

/// Many measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

/// What many measurements say.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// The middle one.
    pub median: f64,
    /// Median absolute deviation from the median: half of the measurements are this near.
    pub mad: f64,
    /// How many there were.
    pub runs: usize,
}

impl Samples {
    /// Adds a measurement.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The summary; zeros of nothing.
    pub fn summary(&self) -> Summary {
        let median = median(self.0.clone());
        Summary {
            median,
            mad: median_of(self.0.iter().map(|value| (value - median).abs())),
            runs: self.0.len(),
        }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

fn median_of(values: impl Iterator<Item = f64>) -> f64 {
    median(values.collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}
