//! Rows 39, 40, 47, 62 and 63: what is said of a name by sources that no kubelet can write.

mod dns;
mod inventory;
mod machines;
mod serving_certificate;

use super::Case;
use crate::csr::names::San;
use crate::evidence::{Answer, Node, Source};
use crate::finding::{Awaited, Code, Findings, Question};
use crate::policy::{Corroboration, IndependentSource};

/// What one source says of a name.
enum Statement {
    /// It is the node's: who says so.
    Vouched(String),
    /// Not that it is the node's, yet: what to wait for, and why, for a person.
    Silent(Code, Vec<Awaited>, String),
    /// There is no such source.
    NotConfigured,
    /// Something that no policy overlooks, and that is a finding already.
    Found,
}

/// Asks every source that the policy names for this kind of name, and those that need not be asked
/// anew for what they contradict. Returns who vouches.
pub(super) fn check(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) -> Vec<String> {
    let asked = asked_of(case, node, san);
    let mut vouched = Vec::new();
    let mut silent = Vec::new();
    let mut absent: Vec<IndependentSource> = Vec::new();
    let mut enough = asked.any_of.is_empty();
    for source in IndependentSource::ALL {
        let must = asked.all_of.contains(&source);
        let may = asked.any_of.contains(&source);
        if is_far(source) && !must && (!may || enough) {
            continue;
        }
        match hear(source, case, node, san, findings) {
            Statement::Vouched(by) => {
                enough |= may;
                vouched.push(by);
            }
            Statement::Silent(code, awaits, why) => silent.push((source, code, awaits, why)),
            Statement::NotConfigured => absent.push(source),
            Statement::Found => {}
        }
    }
    for (source, code, awaits, why) in silent {
        if asked.all_of.contains(&source) || (asked.any_of.contains(&source) && !enough) {
            findings.wait(code, awaits, why);
        }
    }
    let must = asked.all_of.iter().filter(|source| absent.contains(source));
    let mut missing: Vec<String> = must.map(ToString::to_string).collect();
    if !enough && asked.any_of.iter().all(|source| absent.contains(source)) {
        let any: Vec<String> = asked.any_of.iter().map(ToString::to_string).collect();
        missing.push(any.join(" or "));
    }
    for source in missing {
        let name = &case.policy.metadata.name;
        let why = format!("no {source} is configured, which policy {name} asks about {san}");
        findings.wait(Code::SanUncorroborated, vec![Awaited::Policy], why);
    }
    vouched
}

/// Whether somebody outside of the cluster has to be asked, which is done only if it matters.
fn is_far(source: IndependentSource) -> bool {
    match source {
        IndependentSource::Inventory | IndependentSource::Machine => false,
        IndependentSource::Dns | IndependentSource::ServingCertificate => true,
    }
}

fn asked_of<'a>(case: &Case<'a>, node: &Node, san: &San) -> &'a Corroboration {
    let proof = &case.policy.spec.proof;
    match san {
        San::Ip(_) => &proof.ip_addresses,
        San::Dns(_) if is_own_name(node, san) => &proof.node_name,
        San::Dns(_) => &proof.dns_names,
    }
}

fn is_own_name(node: &Node, san: &San) -> bool {
    matches!(san, San::Dns(name) if name.as_str() == node.name.as_str())
}

fn hear(
    source: IndependentSource,
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) -> Statement {
    match source {
        IndependentSource::Inventory => inventory::hear(case, node, san, findings),
        IndependentSource::Machine => machines::hear(case, node, san, findings),
        IndependentSource::Dns => dns::hear(case, node, san, findings),
        IndependentSource::ServingCertificate => {
            serving_certificate::hear(case, node, san, findings)
        }
    }
}

/// What there is instead of an answer that could be used: it has yet to come, or nobody could be
/// asked.
fn unanswered(case: &Case<'_>, source: Source, question: Question) -> Statement {
    let (why, awaits) = match case.evidence.answers.get(&question, case.now.steady) {
        Some((Answer::Failed(why), until)) => {
            let since = case.evidence.sources.state(source).failing;
            let since = since.map_or(case.now.steady, |(since, _)| since);
            let down = case.now.steady.duration_since(since).as_secs();
            let name = source.as_str();
            let why = format!("source {name} has been failing for {down} s: {why}");
            // Asked again only then: the answer itself would wake the request at once.
            (why, vec![Awaited::Time(until)])
        }
        _ => {
            let why = format!("source {} is being asked for {question}", source.as_str());
            (why, vec![Awaited::Answer(question)])
        }
    };
    Statement::Silent(Code::SourceUnready, awaits, why)
}
