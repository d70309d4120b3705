//! Text report for people: one line for each check, then each finding with its fix.

use std::fmt::Write as _;

use clap::builder::styling::AnsiColor;

use super::super::WIDTH;
use super::super::color::Paint;
use super::super::table::shortened;
use super::policy_lines::policy_lines;
use super::verdict_table::verdict_table;
use crate::doctor::{Checked, Code, Finding, Report, Severity};
use crate::telemetry::printable::printable;

/// Maximum number of objects named for one finding. The machine-readable formats name all of them.
const NAMED: usize = 5;
/// Maximum length of all objects named for one finding, unless one alone is longer.
const NAMED_LENGTH: usize = 3 * WIDTH;
/// Maximum length of one object, which fits on a line.
const LONGEST: usize = WIDTH - 10;
const WORD: usize = 9;
const TITLE: usize = 22;

pub(super) fn text(report: &Report, wide: bool, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{}", head(report));
    let _ = writeln!(text);
    for checked in &report.checks {
        text.push_str(&line(checked, paint));
    }
    if let Some(verdicts) = &report.node_verdicts {
        if !verdicts.items.is_empty() {
            text.push('\n');
        }
        text.push_str(&verdict_table(verdicts, wide));
        text.push_str(&policy_lines(verdicts));
    }
    for severity in [Severity::Problem, Severity::Warning, Severity::Unknown] {
        let findings = report.checks.iter().flat_map(|checked| &checked.findings);
        let findings = findings.filter(|finding| finding.severity == severity);
        for one in findings.filter(|finding| finding.code != Code::RightMissing) {
            text.push_str(&finding(one, paint));
        }
    }
    let missing = report.checks.iter().flat_map(|checked| &checked.findings);
    text.push_str(&rights(
        missing.filter(|finding| finding.code == Code::RightMissing),
        paint,
    ));
    let _ = writeln!(text, "\n{}", sum(report, paint));
    text
}

fn head(report: &Report) -> String {
    let mut parts = vec![report.server.clone()];
    parts.extend(
        report
            .version
            .as_ref()
            .map(|version| format!("Kubernetes {version}")),
    );
    if let Some(nodes) = report.nodes {
        let ending = if nodes == 1 { "" } else { "s" };
        parts.push(format!("{nodes} node{ending}"));
    }
    printable(&parts.join("  ")).into_owned()
}

fn line(checked: &Checked, paint: Paint) -> String {
    let mut about = Vec::new();
    let mut codes: Vec<&str> = Vec::new();
    for finding in &checked.findings {
        if !codes.contains(&finding.code.as_str()) {
            codes.push(finding.code.as_str());
        }
    }
    if !codes.is_empty() {
        about.push(codes.join(", "));
    }
    about.extend(checked.observed.clone());
    let indent = " ".repeat(WORD + TITLE);
    let wrapped: Vec<String> = about.iter().map(|part| wrap(part, &indent)).collect();
    let word = word(checked.severity);
    let start = format!(
        "{}{}{:<TITLE$}",
        color(checked.severity, word, paint),
        " ".repeat(WORD - word.len()),
        checked.check.title()
    );
    format!("{start}{}\n", wrapped.join("\n").trim_start())
}

pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Unknown => "unknown",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

fn color(severity: Severity, text: &str, paint: Paint) -> String {
    let color = match severity {
        Severity::Ok => AnsiColor::Green,
        Severity::Unknown => AnsiColor::Cyan,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Problem => AnsiColor::Red,
    };
    paint.color(text, color)
}

fn finding(finding: &Finding, paint: Paint) -> String {
    let mut text = String::new();
    let severity = color(finding.severity, word(finding.severity), paint);
    let code = paint.bold(finding.code.as_str());
    let _ = writeln!(text, "\n{severity}  {code}");
    let _ = writeln!(text, "{}", wrap(&sentence(&finding.summary), "  "));
    // The sentence usually names a single object.
    let alone = finding.objects.len() == 1
        && finding
            .objects
            .iter()
            .all(|one| finding.summary.contains(one.as_str()));
    if !finding.objects.is_empty() && !alone {
        let _ = writeln!(text, "{}", wrap(&named(&finding.objects), "    "));
    }
    let _ = writeln!(text, "{}", wrap(&finding.reason, "  "));
    if !finding.remedy.is_empty() {
        let _ = writeln!(text);
    }
    for line in finding.remedy.iter().flat_map(|block| block.lines()) {
        let _ = writeln!(text, "    {}", printable(line));
    }
    text
}

/// Renders missing permissions together, since several checks often need the same one.
fn rights<'a>(missing: impl Iterator<Item = &'a Finding>, paint: Paint) -> String {
    let mut text = String::new();
    let mut remedies: Vec<&str> = Vec::new();
    for finding in missing {
        if text.is_empty() {
            let severity = color(finding.severity, word(finding.severity), paint);
            let code = paint.bold(finding.code.as_str());
            let _ = writeln!(text, "\n{severity}  {code}");
        }
        let _ = writeln!(text, "{}", wrap(&sentence(&finding.summary), "  "));
        for block in &finding.remedy {
            if !remedies.contains(&block.as_str()) {
                remedies.push(block);
            }
        }
    }
    if !remedies.is_empty() {
        text.push('\n');
    }
    for line in remedies.iter().flat_map(|block| block.lines()) {
        let _ = writeln!(text, "    {}", printable(line));
    }
    text
}

/// Sentence with a capital letter and a full stop. A name at its start stays unchanged.
fn sentence(what: &str) -> String {
    let first = what.split(' ').next().unwrap_or(what);
    if !first.chars().all(char::is_alphabetic) {
        return format!("{what}.");
    }
    let mut letters = what.chars();
    let capital = letters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", capital.unwrap_or_default(), letters.as_str())
}

/// The first objects, and the number of the others.
pub(super) fn named(objects: &[String]) -> String {
    first(objects, NAMED, objects.len())
}

/// The first objects, at most so many and no more than fit on a few lines, and the number of the others among
/// `count`. Long ones are shortened.
pub(super) fn first(objects: &[String], most: usize, count: usize) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut length = 0;
    for object in objects.iter().take(most) {
        let object = shortened(object, LONGEST);
        length += object.chars().count();
        if length > NAMED_LENGTH && !shown.is_empty() {
            break;
        }
        shown.push(object);
    }
    let more = count.saturating_sub(shown.len());
    let shown = shown.join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn sum(report: &Report, paint: Paint) -> String {
    let parts: Vec<String> = [
        (Severity::Problem, "problem", "problems"),
        (Severity::Warning, "warning", "warnings"),
        (Severity::Unknown, "unknown", "unknown"),
    ]
    .into_iter()
    .filter_map(|(severity, one, many)| match report.count(severity) {
        0 => None,
        1 => Some(color(severity, &format!("1 {one}"), paint)),
        more => Some(color(severity, &format!("{more} {many}"), paint)),
    })
    .collect();
    if parts.is_empty() {
        return color(Severity::Ok, "All is well.", paint);
    }
    parts.join(", ")
}

/// Wraps a paragraph. Untrusted text in it is escaped, and a word that is longer than a line is shortened.
fn wrap(text: &str, indent: &str) -> String {
    let most = WIDTH.saturating_sub(indent.len());
    let printable = printable(text);
    let words: Vec<String> = printable
        .split(' ')
        .map(|word| shortened(word, most))
        .collect();
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(indent)
        .subsequent_indent(indent)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(&words.join(" "), options)
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_letters_and_lists_end() {
        assert_eq!(sentence("there is no Node"), "There is no Node.");
        assert_eq!(
            sentence("kube-system/kubelet-config has no x"),
            "kube-system/kubelet-config has no x."
        );
        let names: Vec<String> = (1..8).map(|number| format!("n{number}")).collect();
        assert_eq!(named(&names), "n1, n2, n3, n4, n5 and 2 more");
        assert_eq!(named(&names[..5]), "n1, n2, n3, n4, n5");
        assert_eq!(first(&names, 2, 100), "n1, n2 and 98 more");
        let long: Vec<String> = (1..8)
            .map(|number| format!("{}{number}", "n".repeat(252)))
            .collect();
        let text = named(&long);
        assert!(text.ends_with("n3 and 4 more"), "{text}");
        assert!(
            text.split(' ').all(|name| name.chars().count() < WIDTH),
            "{text}"
        );
    }
}
