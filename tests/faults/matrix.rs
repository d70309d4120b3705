//! `docs/faults.md`: written from what a run saw, never by hand.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Case;
use crate::numbers::Numbers;
use crate::ordeal::Seen;

const HEAD: &str = include_str!("matrix.md");

/// What a case saw last, so that one can be run again alone.
fn record(case: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    dir.join(format!("faults-{case}.json"))
}

/// Takes down what a case saw; that it saw nothing, if it did not hold.
pub fn note(case: &str, seen: Option<&Seen>) -> Result<()> {
    std::fs::write(record(case), serde_json::to_vec(&seen)?)?;
    Ok(())
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md")
}

/// Writes the page, of all cases there are; none may have failed when it was run last. One that was
/// not run here keeps the row that it has.
pub fn write(cases: &[Case]) -> Result<()> {
    let numbers = Numbers::of_this_run();
    let mut text = HEAD
        .replace("{kubelets}", &numbers.kubelets.to_string())
        .replace("{forgeries}", &numbers.forgeries.to_string());
    let before = std::fs::read_to_string(page())?;
    for case in cases {
        let name = case.name;
        let row = match std::fs::read(record(name)) {
            Ok(seen) => {
                let seen: Option<Seen> = serde_json::from_slice(&seen)?;
                row(case, &seen.with_context(|| format!("{name} has not held"))?)
            }
            Err(_) => rows(&before)
                .find(|(of, _)| *of == name)
                .map(|(_, row)| row.to_owned())
                .with_context(|| format!("{name} has not been run yet"))?,
        };
        writeln!(text, "{row}")?;
    }
    std::fs::write(page(), text)?;
    Ok(())
}

fn row(case: &Case, seen: &Seen) -> String {
    let (ground, _) = case.name.split_once('_').unwrap_or_default();
    let (before, after) = seen.memory;
    let note = if seen.note.is_empty() {
        String::new()
    } else {
        format!("; {}", seen.note)
    };
    format!(
        "| `{}` | {}{note} | {ground} | {} | {} | {} | {} | {} → {} |",
        case.name,
        case.fault,
        shown(seen.lasted),
        seen.served,
        seen.denied,
        shown(seen.recovered),
        mib(before),
        mib(after),
    )
}

/// The rows of a page, each after the name of its case.
fn rows(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("| `")?.split_once('`')?;
        Some((name, line))
    })
}

/// Every case is on the page, and nothing else.
pub fn names_every_case(cases: &[Case]) -> Result<()> {
    let text = std::fs::read_to_string(page())?;
    let listed: Vec<&str> = rows(&text).map(|(name, _)| name).collect();
    let there: Vec<&str> = cases.iter().map(|case| case.name).collect();
    ensure!(
        listed == there,
        "docs/faults.md has {listed:?}, expected {there:?}: see CONTRIBUTING.md for how it is written"
    );
    Ok(())
}

fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{:.0} s", duration.as_secs_f64())
    }
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}
