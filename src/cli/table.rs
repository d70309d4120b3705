//! Tables in kubectl's format, limited to the width of a terminal unless wide output is requested.

use jiff::Timestamp;

use super::WIDTH;
use crate::telemetry::printable::printable;

/// Spaces between two columns.
const BETWEEN: usize = 3;
/// Minimum width of a shortened column: an IPv4 address with its port stays whole.
const NARROWEST: usize = 21;
/// Width of the last column down to which it is wrapped before other columns are shortened.
const COMFORTABLE: usize = 30;

/// Renders header and rows. If they do not fit, the last column, which has the codes, is wrapped, and names in
/// the other columns are shortened. Untrusted text in cells is escaped.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], wide: bool) -> String {
    let plain = |row: &Vec<String>| {
        row.iter()
            .map(|cell| printable(cell).into_owned())
            .collect()
    };
    let rows: &[Vec<String>] = &rows.iter().map(plain).collect::<Vec<_>>();
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let mut widths: Vec<usize> = header.iter().map(|name| name.len()).collect();
    let least = widths.clone();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if !wide {
        fit(&mut widths, &least, longest_word(rows));
    }
    let lines = std::iter::once(&header).chain(rows);
    lines.map(|row| lines_of(row, &widths)).collect()
}

/// Length of the longest word in the last column.
fn longest_word(rows: &[Vec<String>]) -> usize {
    let last = rows.iter().filter_map(|row| row.last());
    let words = last.flat_map(|cell| wrapped(cell, 0));
    words.map(|word| word.chars().count()).max().unwrap_or(0)
}

/// Narrows columns until they fit: the last one to its longest word at least, then the others, and the last one
/// again where that is not enough. A cell that is too long for it gets a line of its own.
fn fit(widths: &mut [usize], headers: &[usize], longest_word: usize) {
    let gaps = BETWEEN * widths.len().saturating_sub(1);
    let (Some((last, others)), Some((least, _))) = (widths.split_last_mut(), headers.split_last())
    else {
        return;
    };
    let rest = |others: &[usize]| WIDTH.saturating_sub(others.iter().sum::<usize>() + gaps);
    let comfortable = (*last).min(COMFORTABLE).max(longest_word).max(*least);
    *last = (*last).min(rest(others).max(comfortable));
    while rest(others) < *last {
        let spare = others.iter_mut().zip(headers);
        let spare = spare.filter(|(width, header)| **width > NARROWEST.max(**header));
        match spare.max_by_key(|(width, _)| **width) {
            Some((widest, _)) => *widest -= 1,
            None => break,
        }
    }
    *last = (*last).min(rest(others).max(*least));
}

/// The lines of one row.
fn lines_of(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    let (Some((last, others)), Some((last_width, widths))) =
        (row.split_last(), widths.split_last())
    else {
        return line;
    };
    for (cell, width) in others.iter().zip(widths) {
        let cell = shortened(cell, *width);
        let filled = cell.chars().count();
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width - filled + BETWEEN));
    }
    let mut parts = wrapped(last, *last_width);
    let mut start = line.chars().count();
    let longest = |parts: &[String]| parts.iter().map(|part| part.chars().count()).max();
    if longest(&parts) > Some(*last_width) {
        // As far to the right as it fits.
        parts = wrapped(last, WIDTH - BETWEEN);
        start = WIDTH
            .saturating_sub(longest(&parts).unwrap_or(0))
            .min(start);
        parts.insert(0, String::new());
    }
    let mut parts = parts.iter();
    line.extend(parts.next().map(String::as_str));
    line.truncate(line.trim_end().len());
    for part in parts {
        line.push('\n');
        line.extend(std::iter::repeat_n(' ', start));
        line.push_str(part);
    }
    line.push('\n');
    line
}

/// Wraps a cell at spaces. A word that is longer than a line stays whole, so that it can be searched for and
/// copied, and the number of further findings, such as `+2`, stays with its code.
fn wrapped(cell: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in cell.split(' ') {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if is_count(word) || line.chars().count() + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn is_count(word: &str) -> bool {
    let number = word.strip_prefix('+').unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Shortens a cell in the middle: names of nodes often differ at the beginning or at the end.
pub(super) fn shortened(cell: &str, width: usize) -> String {
    let length = cell.chars().count();
    if length <= width {
        return cell.to_owned();
    }
    let tail = width.saturating_sub(1) / 2;
    let head: String = cell.chars().take(width.saturating_sub(1 + tail)).collect();
    let tail: String = cell.chars().skip(length - tail).collect();
    format!("{head}…{tail}")
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

    const LONG: &str = "ip-10-0-0-1.eu-central-1.compute.internal";

    fn widest(text: &str) -> usize {
        let widths = text.lines().map(|line| line.chars().count());
        widths.max().unwrap_or(0)
    }

    #[test]
    fn names_are_shortened_and_reasons_are_wrapped() {
        let header = ["NODE", "REQUEST", "REASON"];
        let reason = "SanNotOfNode, SanContested, SanApiServerIdentityUnowned";
        let rows = [vec![LONG.to_owned(), "csr-x7k2p".into(), reason.into()]];
        assert_eq!(
            table(&header, &rows, false),
            "NODE                                  REQUEST     REASON\n\
             ip-10-0-0-1.eu-ce….compute.internal   csr-x7k2p   SanNotOfNode, SanContested,\n\
             \x20                                                 SanApiServerIdentityUnowned\n"
        );
        let wide = table(&header, &rows, true);
        assert!(wide.contains(LONG) && wide.contains(reason), "{wide}");
    }

    #[test]
    fn every_code_is_whole_beside_the_longest_names() {
        let header = ["NODE", "REQUEST", "STATE", "AGE", "EXPIRES", "REASON"];
        for code in judge::finding::Code::ALL {
            let code = code.as_str();
            for reason in [code.to_owned(), format!("{code} +12")] {
                let cells = [
                    LONG,
                    "node-csr-x7k2p",
                    "Approved",
                    "119s",
                    "<unknown>",
                    &reason,
                ];
                let rows = [cells.map(str::to_owned).to_vec()];
                let text = table(&header, &rows, false);
                assert!(text.contains(&reason), "{text}");
                assert!(widest(&text) <= WIDTH, "{text}");
            }
        }
    }

    #[test]
    fn a_count_stays_with_its_code() {
        assert_eq!(wrapped("SanContested +1", 12), ["SanContested +1"]);
        assert_eq!(wrapped("a b, c +d", 4), ["a b,", "c +d"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn names_are_shortened_in_the_middle() {
        assert_eq!(shortened("worker-0001", 11), "worker-0001");
        assert_eq!(shortened("worker-pool-0001", 11), "worke…-0001");
        assert_eq!(shortened("worker-pool-0001", 12), "worker…-0001");
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
