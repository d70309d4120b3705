//! The table of fault cases. `docs/faults.md` lists each case with its fault, `target/faults.md`
//! also has the figures.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::Case;
use crate::scenario::Measured;

const HEAD: &str = "| case | fault |\n|--|--|\n";
const HEAD_WITH_FIGURES: &str = "\
| case | fault | lasted | served | forgeries denied | recovered | memory in MiB |
|--|--|--|--|--|--|--|
";

/// Returns the file with the last result of a case, so that a single case can be repeated.
fn record(case: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    dir.join(format!("faults-{case}.json"))
}

/// Records the result of a case, `None` if it failed.
pub fn note(case: &str, seen: Option<&Measured>) -> Result<()> {
    std::fs::write(record(case), serde_json::to_vec(&seen)?)?;
    Ok(())
}

/// Writes the last result of every case to `faults.md` in the target directory. Returns its path.
pub fn write(cases: &[Case]) -> Result<PathBuf> {
    let mut text = HEAD_WITH_FIGURES.to_owned();
    for case in cases {
        let (name, fault) = (case.name(), case.fault);
        let result = match std::fs::read(record(name)) {
            Ok(seen) => serde_json::from_slice::<Option<Measured>>(&seen)?.map_or_else(
                || format!("{fault} | failed | | | | |"),
                |seen| row(case, &seen),
            ),
            Err(_) => format!("{fault} | not run | | | | |"),
        };
        writeln!(text, "| `{name}` | {result}")?;
    }
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("faults.md");
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn row(case: &Case, seen: &Measured) -> String {
    let (before, after) = seen.memory;
    let note = if seen.note.is_empty() {
        String::new()
    } else {
        format!("; {}", seen.note)
    };
    format!(
        "{}{note} | {} | {} | {} | {} | {} → {} |",
        case.fault,
        shown(seen.lasted),
        seen.served,
        seen.denied,
        shown(seen.recovered),
        mib(before),
        mib(after),
    )
}

/// Checks that the table in `docs/faults.md` has exactly these cases. `UPDATE_DOCS=1` writes it.
pub fn names_every_case(cases: &[Case]) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let page = std::fs::read_to_string(&path)?;
    let (before, rest) = page
        .split_once(HEAD)
        .context("docs/faults.md has no table")?;
    // The table ends before the first line that is no row.
    let after = rest
        .split_inclusive('\n')
        .skip_while(|line| line.starts_with('|'));
    let after: String = after.collect();
    let mut expected = format!("{before}{HEAD}");
    for case in cases {
        writeln!(expected, "| `{}` | {} |", case.name(), case.fault)?;
    }
    expected.push_str(&after);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected)?;
        return Ok(());
    }
    for line in expected.lines() {
        ensure!(
            page.lines().any(|found| found == line),
            "docs/faults.md: expected the row `{line}`: run \
             `UPDATE_DOCS=1 cargo test --test faults docs_name_every_case`"
        );
    }
    ensure!(
        page == expected,
        "docs/faults.md: expected the rows of tests/faults/cases and no others: run \
         `UPDATE_DOCS=1 cargo test --test faults docs_name_every_case`"
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
