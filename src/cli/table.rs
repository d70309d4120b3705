//! Tables in kubectl's format, limited to the width of a terminal unless wide output is requested.

use jiff::Timestamp;

use super::WIDTH;
use crate::telemetry::printable::printable;

/// Spaces between two columns.
const BETWEEN: usize = 3;
/// Minimum width of a shortened column.
const NARROWEST: usize = 6;

/// Renders header and rows. Columns with the longest cells are shortened to fit.
/// Untrusted text in cells is escaped.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], wide: bool) -> String {
    let plain = |row: &Vec<String>| {
        row.iter()
            .map(|cell| printable(cell).into_owned())
            .collect()
    };
    let rows: &[Vec<String>] = &rows.iter().map(plain).collect::<Vec<_>>();
    let mut widths: Vec<usize> = header.iter().map(|name| name.len()).collect();
    let least = widths.clone();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let gaps = BETWEEN * header.len().saturating_sub(1);
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + gaps;
    while !wide && total(&widths) > WIDTH {
        let spare = widths.iter_mut().zip(&least);
        let spare = spare.filter(|(width, least)| **width > NARROWEST.max(**least));
        match spare.max_by_key(|(width, _)| **width) {
            Some((widest, _)) => *widest -= 1,
            None => break,
        }
    }
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let lines = std::iter::once(&header).chain(rows);
    lines.map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let cell = cut(cell, *width);
        let filled = cell.chars().count();
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width - filled + BETWEEN));
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let head = |width: usize| -> String {
        let head: String = cell.chars().take(width.saturating_sub(1)).collect();
        head + "…"
    };
    match counted(cell) {
        Some(more) if more.len() + 1 < width => head(width - more.len()) + more,
        Some(_) | None => head(width),
    }
}

/// Suffix with the number of further findings, such as ` +2`. It is not cut off.
fn counted(cell: &str) -> Option<&str> {
    let (before, number) = cell.rsplit_once(" +")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| cell.get(before.len()..))?
}

/// Age in kubectl's format (apimachinery `duration.HumanDuration`).
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(since).as_secs())
}

/// Duration in kubectl's format, from seconds.
pub(super) fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let seconds = seconds.max(0);
    let two = |first: i64, one: &str, second: i64, other: &str| {
        let (whole, rest) = (seconds / first, seconds % first / second);
        if rest == 0 {
            format!("{whole}{one}")
        } else {
            format!("{whole}{one}{rest}{other}")
        }
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        _ => two(YEAR, "y", DAY, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_cells_give_way() {
        let long = "ip-10-0-0-1.eu-central-1.compute.internal".to_owned();
        let rows = [vec![long.clone(), "csr-1".into(), "x".repeat(60)]];
        let text = table(&["NODE", "REQUEST", "REASON"], &rows, false);
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width <= WIDTH), "{text}");
        assert!(text.contains("csr-1") && text.contains('…'), "{text}");
        let wide = table(&["NODE", "REQUEST", "REASON"], &rows, true);
        assert!(
            wide.contains(&long) && wide.contains(&"x".repeat(60)),
            "{wide}"
        );
    }

    #[test]
    fn how_many_more_is_not_cut_off() {
        assert_eq!(cut("SanApiServerIdentity +1", 12), "SanApiSe… +1");
        assert_eq!(cut("SanApiServerIdentity +12", 13), "SanApiSe… +12");
        assert_eq!(cut("SanApiServerIdentity", 12), "SanApiServe…");
        assert_eq!(cut("a + b is no count of it", 12), "a + b is no…");
        assert_eq!(cut("abcdef +1", 4), "abc…");
        assert_eq!(cut("abcdef +1", 5), "a… +1");
    }

    #[test]
    fn ages_read_as_those_of_kubectl() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (3600, "60m"),
            (10_860, "3h1m"),
            (86_400, "24h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (31_536_000, "365d"),
            (2 * 31_536_000 + 86_400, "2y1d"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
