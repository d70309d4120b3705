//! Shrinks a failing plan: drops events as long as it still fails (ddmin, Zeller and Hildebrandt 2002).

use super::plan::Plan;
use super::run::run;
use super::world::Outcome;

/// The maximum number of runs.
const MAX_RUNS: usize = 150;

/// Returns a plan with few events that fails in the same way, and its outcome.
pub(super) fn shrink(plan: &Plan, outcome: Outcome) -> (Plan, Outcome) {
    let wanted = outcome.findings.first().map(|finding| kind(finding));
    let mut best = (plan.clone(), outcome);
    let mut parts = 2;
    let mut runs = 0;
    while parts <= best.0.events.len() && runs < MAX_RUNS {
        let size = best.0.events.len().div_ceil(parts);
        let smaller = (0..parts).find_map(|part| {
            let mut candidate = best.0.clone();
            let first = (part * size).min(candidate.events.len());
            let end = (first + size).min(candidate.events.len());
            candidate.events.drain(first..end);
            runs += 1;
            let outcome = (runs <= MAX_RUNS).then(|| run(&candidate, false))?;
            let found = outcome.findings.first().map(|finding| kind(finding));
            (found == wanted).then_some((candidate, outcome))
        });
        match smaller {
            Some(smaller) => {
                best = smaller;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(best.0.events.len()),
        }
    }
    best
}

/// A finding without its numbers and names.
fn kind(finding: &str) -> String {
    let words = finding.split_whitespace().skip(3);
    let plain = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    plain.take(8).collect::<Vec<_>>().join(" ")
}
