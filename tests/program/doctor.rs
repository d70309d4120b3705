//! Codes of `doctor`: each has a section in `docs/doctor.md`.

#[cfg(feature = "lab")]
mod node_verdicts;

use csr_warden::doctor::{Code, Severity};

const PAGE: &str = include_str!("../../docs/doctor.md");

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Unknown => "unknown",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

/// Each code has a heading with its severity, and under it the meaning and the fix.
#[test]
fn every_code_is_documented() {
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
        let (meaning, fix) = text
            .split_once("\nFix: ")
            .unwrap_or_else(|| panic!("{heading} says how it is fixed"));
        assert!(meaning.trim().len() > 40, "{heading} says what it means");
        assert!(fix.trim().len() > 20, "{heading} says how it is fixed");
    }
}
