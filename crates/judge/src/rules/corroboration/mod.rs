//! Rows 39, 40, 47, 62 and 63: corroboration of a SAN by sources that no kubelet can write.

mod dns;
mod inventory;
mod machine_exists;
mod machines;
mod serving_certificate;

use super::Case;
use crate::csr::names::San;
use crate::evidence::{Answer, Node, Source};
use crate::finding::{Awaited, Code, Findings, Question};
use crate::policy::{Corroboration, IndependentSource};

/// The result of one source for a SAN.
enum SourceResult {
    /// The SAN is the node's, with the entry that proves it, for a person.
    Vouched(String),
    /// The source does not prove the SAN yet: the code, the events to wait for, and the reason for a
    /// person.
    Unproven(Code, Vec<Awaited>, String),
    /// The source is not configured.
    NotConfigured,
    /// The source contradicts the SAN or the node. The finding was added already, under any policy.
    Contradicted,
}

/// The sources that vouch for a SAN.
pub(super) struct Corroborated {
    /// Each source, with the entry that proves the SAN, for a person.
    pub(super) vouched: Vec<(IndependentSource, String)>,
    /// The events that bring the answer of DNS; `None` unless it was asked and has not answered.
    pub(super) dns_unknown: Option<Vec<Awaited>>,
}

/// Checks a SAN against the sources that the policy requires for it. Local sources are always checked
/// for contradictions.
pub(super) fn check(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) -> Corroborated {
    check_until(case, node, san, findings, |_| true)
}

/// Checks a SAN of a claimant. A source that decides no claims does not keep one from being checked that does:
/// more evidence must not take a name from its owner.
pub(super) fn check_contest(case: &Case<'_>, node: &Node, san: &San) -> Corroborated {
    let decides = IndependentSource::decides_claims;
    check_until(case, node, san, &mut Findings::default(), decides)
}

/// Checks a SAN until a source vouches that is enough where the policy needs one of several.
fn check_until(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
    is_enough: impl Fn(IndependentSource) -> bool,
) -> Corroborated {
    let required = required_sources(case, node, san);
    let mut vouched = Vec::new();
    let mut dns_unknown = None;
    let mut unproven = Vec::new();
    let mut missing_sources: Vec<IndependentSource> = Vec::new();
    let mut enough = required.any_of.is_empty();
    for source in IndependentSource::ALL {
        let must = required.all_of.contains(&source);
        let may = required.any_of.contains(&source);
        if !may_contradict(source) && !must && (!may || enough) {
            continue;
        }
        match check_source(source, case, node, san, findings) {
            SourceResult::Vouched(by) => {
                enough |= may && is_enough(source);
                vouched.push((source, by));
            }
            SourceResult::Unproven(code, awaits, why) => {
                if source == IndependentSource::Dns && code == Code::SourceUnready {
                    dns_unknown = Some(awaits.clone());
                }
                unproven.push((source, code, awaits, why));
            }
            SourceResult::NotConfigured => missing_sources.push(source),
            SourceResult::Contradicted => {}
        }
    }
    for (source, code, awaits, why) in unproven {
        if required.all_of.contains(&source) || (required.any_of.contains(&source) && !enough) {
            findings.wait(code, awaits, why);
        }
    }
    let must = required
        .all_of
        .iter()
        .filter(|source| missing_sources.contains(source));
    let mut missing: Vec<String> = must.map(ToString::to_string).collect();
    if !enough
        && required
            .any_of
            .iter()
            .all(|source| missing_sources.contains(source))
    {
        let any: Vec<String> = required.any_of.iter().map(ToString::to_string).collect();
        missing.push(any.join(" or "));
    }
    for source in missing {
        let name = &case.policy.metadata.name;
        let why = format!("no {source} is configured, but policy {name} asks it about {san}");
        findings.wait(Code::SanUncorroborated, vec![Awaited::Policy], why);
    }
    Corroborated {
        vouched,
        dns_unknown,
    }
}

/// The events after which DNS may say something else about the node, if the policy asks it about the SAN.
pub(super) fn awaited_of_dns(case: &Case<'_>, node: &Node, san: &San) -> Vec<Awaited> {
    let required = required_sources(case, node, san);
    let mut sources = required.all_of.iter().chain(&required.any_of);
    match sources.any(|source| *source == IndependentSource::Dns) {
        true => dns::awaited(case, node),
        false => Vec::new(),
    }
}

/// Returns true for a source whose contradiction denies under every policy. Any other one is checked
/// only if the result matters; most of these need a query over the network.
fn may_contradict(source: IndependentSource) -> bool {
    match source {
        IndependentSource::Inventory | IndependentSource::Machine => true,
        IndependentSource::MachineExists
        | IndependentSource::Dns
        | IndependentSource::ServingCertificate
        | IndependentSource::Renewal => false,
    }
}

fn required_sources<'a>(case: &Case<'a>, node: &Node, san: &San) -> &'a Corroboration {
    let proof = &case.policy.spec.proof;
    match san {
        San::Ip(_) => &proof.ip_addresses,
        San::Dns(_) if node.is_own_name(san) => &proof.node_name,
        San::Dns(_) => &proof.dns_names,
    }
}

fn check_source(
    source: IndependentSource,
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) -> SourceResult {
    match source {
        IndependentSource::Inventory => inventory::check(case, node, san, findings),
        IndependentSource::Machine => machines::check(case, node, san, findings),
        IndependentSource::MachineExists => machine_exists::check(case, node, san, findings),
        IndependentSource::Dns => dns::check(case, node, san, findings),
        IndependentSource::ServingCertificate => serving_certificate::check(case, node, san),
        IndependentSource::Renewal => serving_certificate::check_renewal(case, node),
    }
}

/// The result for a question without a usable answer: the answer is pending, or the source failed.
fn unanswered(case: &Case<'_>, source: Source, question: Question) -> SourceResult {
    let (why, awaits) = match case.evidence.answers.get(&question, case.now.monotonic) {
        Some((Answer::Failed(why), until)) => {
            let since = case.evidence.sources.state(source).failing;
            let since = since.map_or(case.now.monotonic, |(since, _)| since);
            let down = case.now.monotonic.duration_since(since).as_secs();
            let name = source.as_str();
            let why = format!("source {name} has been failing for {down} s: {why}");
            // The next query is sent at that time. The failed answer itself would wake the request at once.
            (why, vec![Awaited::Time(until)])
        }
        _ => {
            let why = format!("source {} is being asked for {question}", source.as_str());
            (why, vec![Awaited::Answer(question)])
        }
    };
    SourceResult::Unproven(Code::SourceUnready, awaits, why)
}
