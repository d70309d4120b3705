//! Percentiles of durations.

use std::fmt;
use std::time::Duration;

/// A collection of durations.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds a duration.
    pub fn add(&mut self, one: Duration) {
        let at = self.0.partition_point(|other| *other <= one);
        self.0.insert(at, one);
    }

    /// Returns the number of durations.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there is no duration.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the percentile: the shortest duration that `percent` of a hundred do not exceed.
    /// Zero if empty.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Latencies {
        let mut all: Vec<Duration> = durations.into_iter().collect();
        all.sort_unstable();
        Latencies(all)
    }
}

/// Renders `median 12 ms, 90% within 18 ms, 99% within 21 ms`.
impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, most, nearly_all] = [50, 90, 99].map(|percent| self.percentile(percent));
        write!(
            f,
            "median {}, 90% within {}, 99% within {}",
            shown(median),
            shown(most),
            shown(nearly_all)
        )
    }
}

/// Formats a duration with a suitable unit.
pub fn shown(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros < 1_000 {
        format!("{micros} µs")
    } else if micros < 10_000 {
        format!("{:.1} ms", duration.as_secs_f64() * 1e3)
    } else if micros < 1_000_000 {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_durations() {
        assert_eq!(Latencies::default().percentile(99), Duration::ZERO);
        let mut all: Latencies = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(all.percentile(50), Duration::from_millis(50));
        assert_eq!(all.percentile(99), Duration::from_millis(99));
        assert_eq!(all.percentile(100), Duration::from_millis(100));
        all.add(Duration::ZERO);
        assert_eq!(all.percentile(1), Duration::from_millis(1));
        assert_eq!(all.percentile(0), Duration::ZERO);
        assert_eq!(all.len(), 101);
    }

    #[test]
    fn durations_have_a_suitable_unit() {
        let micros = |micros| shown(Duration::from_micros(micros));
        assert_eq!(micros(80), "80 µs");
        assert_eq!(micros(1_234), "1.2 ms");
        assert_eq!(micros(12_345), "12 ms");
        assert_eq!(micros(12_345_678), "12.3 s");
    }
}
