//! The policy with the suggested lines. Each line is parsed and judged before it is suggested: the schema
//! accepts it, and it lifts a finding.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::judging::{Basis, codes_of};
use super::lift::{Lift, lift};
use super::policy_lines::{Candidate, Scene, candidates};
use super::{PolicyLine, Refused};
use judge::evidence::Evidence;
use judge::judge;
use judge::policy::{Policy, SHIPPED, parse};

/// The name of a shipped policy with further lines.
const NAME: &str = "mine";

/// The suggested lines, and what they change.
#[derive(Default)]
pub(super) struct Suggestion {
    pub(super) lines: Vec<PolicyLine>,
    /// The whole policy as YAML; `None` without lines.
    pub(super) text: Option<String>,
    /// The verdicts under it, by Node, of the requests that the policy in force does not approve.
    pub(super) verdicts: BTreeMap<String, &'static str>,
}

/// A policy with some candidates, each with the value that the schema accepts.
struct Trial {
    policy: Policy,
    text: String,
    used: Vec<(Candidate, Value)>,
}

pub(super) fn suggest(
    refused: &[Refused<'_>],
    evidence: &mut Evidence,
    basis: Basis<'_>,
) -> Suggestion {
    let Ok(mut written) = serde_saphyr::from_str::<Value>(basis.text) else {
        return Suggestion::default();
    };
    let name = &basis.policy.metadata.name;
    if let Some(written) = written.pointer_mut("/metadata/name")
        && SHIPPED.iter().any(|(shipped, _)| shipped == name)
    {
        // With other lines it is no longer the shipped policy.
        *written = NAME.into();
    }
    let scene = Scene {
        refused,
        evidence,
        policy: basis.policy,
        written: &written,
    };
    let Some(first) = trial(&written, candidates(scene).into_iter()) else {
        return Suggestion::default();
    };
    // The judge decides which of them help.
    let helpful = under(&first.policy, evidence, basis, |evidence, basis| {
        let by_node: BTreeMap<&str, &Refused<'_>> =
            refused.iter().map(|one| (one.node, one)).collect();
        let used = first.used.iter();
        used.map(|(candidate, _)| lifts_any(candidate, &by_node, evidence, basis))
            .collect::<Vec<bool>>()
    });
    let used = first.used.into_iter().zip(helpful);
    let helpful = used.filter_map(|((candidate, _), helps)| helps.then_some(candidate));
    let Some(last) = trial(&written, helpful) else {
        return Suggestion::default();
    };
    let verdicts = under(&last.policy, evidence, basis, |evidence, basis| {
        let verdict = |one: &Refused<'_>| {
            let judgment = judge(one.request, basis.policy, evidence, basis.now);
            (one.node.to_owned(), judgment.verdict.decision().as_str())
        };
        refused.iter().map(verdict).collect()
    });
    Suggestion {
        lines: last.used.into_iter().map(line).collect(),
        text: Some(last.text),
        verdicts,
    }
}

fn line((candidate, value): (Candidate, Value)) -> PolicyLine {
    let mut nodes: Vec<String> = candidate.lifts.into_iter().map(|(node, _)| node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    PolicyLine {
        field: candidate.field.to_owned(),
        value,
        gives_up: candidate.gives_up,
        nodes,
    }
}

/// The policy with each candidate that the schema accepts; `None` if it accepts none.
fn trial(written: &Value, candidates: impl Iterator<Item = Candidate>) -> Option<Trial> {
    let mut whole = written.clone();
    let mut accepted = None;
    let mut used = Vec::new();
    for candidate in candidates {
        let mut forms = candidate.values.iter();
        let found = forms.find_map(|value| {
            let mut changed = whole.clone();
            set(&mut changed, candidate.field, value.clone())?;
            let text = serde_saphyr::to_string(&changed).ok()?;
            let policy = parse(&text).ok()?;
            Some((changed, text, policy, value.clone()))
        });
        if let Some((changed, text, policy, value)) = found {
            whole = changed;
            accepted = Some((policy, text));
            used.push((candidate, value));
        }
    }
    let (policy, text) = accepted?;
    Some(Trial { policy, text, used })
}

/// Sets a field of `spec` by its path.
fn set(whole: &mut Value, field: &str, value: Value) -> Option<()> {
    let mut at = whole.pointer_mut("/spec")?;
    for name in field.split('.') {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = at.as_object_mut()?.entry(name).or_insert(Value::Null);
    }
    *at = value;
    Some(())
}

/// Runs judgments under another policy. The evidence is as before on return.
fn under<T>(
    policy: &Policy,
    evidence: &mut Evidence,
    basis: Basis<'_>,
    work: impl FnOnce(&Evidence, Basis<'_>) -> T,
) -> T {
    let (before, now) = (&basis.policy.spec, basis.now);
    evidence.policy_changed(before, &policy.spec, now);
    let done = work(evidence, Basis { policy, ..basis });
    evidence.policy_changed(&policy.spec, before, now);
    done
}

/// Returns true if the line lets one of its SANs through. A name that another Node contests is none.
fn lifts_any(
    candidate: &Candidate,
    refused: &BTreeMap<&str, &Refused<'_>>,
    evidence: &Evidence,
    basis: Basis<'_>,
) -> bool {
    candidate.lifts.iter().any(|(node, san)| {
        let Some(one) = refused.get(node.as_str()) else {
            return false;
        };
        match san {
            Some(san) => {
                let codes = codes_of(san, one.request, evidence, basis);
                codes.iter().all(|code| lift(*code) == Lift::Passing)
            }
            None => {
                let codes = judge(one.request, basis.policy, evidence, basis.now).codes();
                !codes.iter().any(|code| lift(*code) == candidate.lift)
            }
        }
    })
}
