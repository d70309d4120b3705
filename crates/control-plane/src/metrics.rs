//! Parsing of the Prometheus text format.

/// Returns the sum of the series whose name and labels have this prefix, or 0 without any.
pub fn total(exposition: &str, series: &str) -> u64 {
    let values = exposition
        .lines()
        .filter(|line| line.starts_with(series))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum::<f64>() as u64
}
