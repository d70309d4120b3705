//! The policy with the suggested lines. Each line is parsed and judged before it is suggested: the schema
//! accepts it, and it lifts a finding.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::contested::contested;
use super::judging::{Basis, codes_of};
use super::lift::{Lift, lift};
use super::policy_lines::{Candidate, Scene, candidates};
use super::{Contested, PolicyLine, Refused};
use judge::evidence::Evidence;
use judge::finding::Code;
use judge::policy::{Policy, SHIPPED, parse};
use judge::{Decision, judge};

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
    /// Names and addresses that are contested once nothing else is in their way.
    pub(super) contested: Vec<Contested>,
}

/// A policy with those candidates that the schema accepts.
struct Trial {
    policy: Policy,
    text: String,
    used: Vec<Candidate>,
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
    let suggested = |refused: &[Refused<'_>], evidence: &Evidence| {
        let policy = basis.policy;
        let scene = Scene {
            refused,
            evidence,
            policy,
            written: &written,
        };
        trial(&written, candidates(scene))
    };
    let Some(first) = suggested(refused, evidence) else {
        return Suggestion::default();
    };
    // The judge decides what passes by these lines. Only that is suggested.
    let tried = under(&first.policy, evidence, basis, |evidence, basis| {
        let refused = refused.iter();
        let tried = refused.map(|one| tried(one, evidence, basis));
        tried.collect::<Vec<Refused<'_>>>()
    });
    let contested = contested(&tried, evidence);
    let pairs = refused.iter().zip(&tried);
    let passing: Vec<Refused<'_>> = pairs.map(|(one, tried)| passing(one, tried)).collect();
    let none = |contested| Suggestion {
        contested,
        ..Suggestion::default()
    };
    let Some(next) = suggested(&passing, evidence) else {
        return none(contested);
    };
    // A line that lets no Node through weakens the policy for nothing.
    let verdicts = verdicts(&next.policy, refused, evidence, basis);
    let approve = Some(&Decision::Approve.as_str());
    let of_use = passing.into_iter();
    let of_use = of_use.filter(|one| verdicts.get(one.node) == approve);
    let Some(last) = suggested(&of_use.collect::<Vec<_>>(), evidence) else {
        return none(contested);
    };
    let verdicts = self::verdicts(&last.policy, refused, evidence, basis);
    Suggestion {
        lines: last.used.into_iter().map(line).collect(),
        text: Some(last.text),
        verdicts,
        contested,
    }
}

/// The verdicts of the requests under another policy, by Node.
fn verdicts(
    policy: &Policy,
    refused: &[Refused<'_>],
    evidence: &mut Evidence,
    basis: Basis<'_>,
) -> BTreeMap<String, &'static str> {
    under(policy, evidence, basis, |evidence, basis| {
        let verdict = |one: &Refused<'_>| {
            let judgment = judge(one.request, basis.policy, evidence, basis.now);
            (one.node.to_owned(), judgment.verdict.decision().as_str())
        };
        refused.iter().map(verdict).collect()
    })
}

fn line(candidate: Candidate) -> PolicyLine {
    PolicyLine {
        field: candidate.field.to_owned(),
        value: candidate.value,
        gives_up: candidate.gives_up,
        nodes: candidate.nodes.into_iter().collect(),
    }
}

/// The policy with each candidate that the schema accepts; `None` if it accepts none.
fn trial(written: &Value, candidates: Vec<Candidate>) -> Option<Trial> {
    let mut whole = written.clone();
    let mut accepted = None;
    let mut used = Vec::new();
    for candidate in candidates {
        let mut changed = whole.clone();
        set(&mut changed, candidate.field, candidate.value.clone());
        let Ok(text) = serde_saphyr::to_string(&changed) else {
            continue;
        };
        if let Ok(policy) = parse(&text) {
            whole = changed;
            accepted = Some((policy, text));
            used.push(candidate);
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

/// The same request with its codes under another policy.
fn tried<'a>(one: &Refused<'a>, evidence: &Evidence, basis: Basis<'_>) -> Refused<'a> {
    let sans = one.sans.iter().map(|(san, codes)| {
        let codes = match codes.is_empty() {
            true => Vec::new(),
            false => codes_of(san, one.request, evidence, basis),
        };
        (san.clone(), codes)
    });
    Refused {
        node: one.node,
        request: one.request,
        codes: judge(one.request, basis.policy, evidence, basis.now).codes(),
        sans: sans.collect(),
    }
}

/// The request with only the findings that are gone in the other one.
fn passing<'a>(one: &Refused<'a>, tried: &Refused<'a>) -> Refused<'a> {
    let codes = one.codes.iter();
    let sans = one.sans.iter().zip(&tried.sans);
    let passes = |codes: &[Code]| codes.iter().all(|code| lift(*code) == Lift::Passing);
    Refused {
        node: one.node,
        request: one.request,
        codes: codes
            .filter(|code| !tried.codes.contains(code))
            .copied()
            .collect(),
        sans: sans
            .filter(|(_, (_, codes))| passes(codes))
            .map(|(before, _)| before.clone())
            .collect(),
    }
}
