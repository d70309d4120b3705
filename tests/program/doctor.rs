//! `docs/doctor.md` has every code that there is, and the schema of the report is fresh.

use csr_warden::doctor::{Code, Report, Severity};

const PAGE: &str = include_str!("../../docs/doctor.md");
const SCHEMA: &str = "docs/schemas/doctor.json";

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Unknown => "unknown",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

/// Each has a heading with how bad it is, and under it what it means and how it is mended.
#[test]
fn every_code_is_told_of() {
    let sections: Vec<(&str, &str)> = PAGE
        .split("\n### ")
        .skip(1)
        .map(|section| section.split_once('\n').expect("a heading"))
        .collect();
    let headings: Vec<&str> = sections.iter().map(|(heading, _)| *heading).collect();
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("{code} ({})", word(code.severity())))
        .collect();
    assert_eq!(headings, expected);
    for (heading, text) in sections {
        let text = text.split("\n## ").next().unwrap();
        let (meaning, mending) = text
            .split_once("\nMend: ")
            .unwrap_or_else(|| panic!("{heading} says how it is mended"));
        assert!(meaning.trim().len() > 40, "{heading} says what it means");
        assert!(mending.trim().len() > 20, "{heading} says how it is mended");
    }
}

/// `UPDATE_DOCS=1 cargo test --test program` writes it anew.
#[test]
fn the_schema_is_up_to_date() {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(SCHEMA, &schema).unwrap();
    }
    let found = std::fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        found == schema,
        "{SCHEMA} is stale: run `UPDATE_DOCS=1 cargo test --test program`"
    );
}
