//! Row 40: corroboration by DNS. Only names that follow from the node's own name are queried, and
//! none that a kubelet could choose.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{SourceResult, unanswered};
use crate::csr::names::{DnsName, San};
use crate::evidence::{Answer, Node, Source};
use crate::finding::{Awaited, Code, Findings, Question};
use crate::policy::{DnsPolicy, Requirement};
use crate::rules::Case;

pub(super) fn check(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    findings: &mut Findings,
) -> SourceResult {
    let Some(dns) = &case.policy.spec.sources.dns else {
        return SourceResult::NotConfigured;
    };
    let names = names_of(node, dns);
    match san {
        San::Dns(name) if names.contains(name) => check_name(case, node, name, findings),
        San::Ip(_) if !names.is_empty() => check_address(case, node, san, &names, dns, findings),
        San::Dns(_) | San::Ip(_) => {
            let why = format!(
                "{san}: DNS is asked only for the name of Node {}, if it is under a suffix \
                 of the policy, and for the name under these suffixes",
                node.name
            );
            SourceResult::Unproven(Code::SanUncorroborated, vec![Awaited::Policy], why)
        }
    }
}

/// The DNS names that follow from the node's name and the policy's suffixes.
fn names_of(node: &Node, dns: &DnsPolicy) -> Vec<DnsName> {
    let own = node.name.as_str();
    let whole = DnsName::parse(own.as_bytes()).ok().filter(|name| {
        let suffixes = dns.suffixes.iter();
        let mut suffixes = suffixes.filter_map(|suffix| DnsName::parse(suffix.as_bytes()).ok());
        own.contains('.') && suffixes.any(|suffix| name.is_within(&suffix))
    });
    let under = dns.suffixes.iter().map(|suffix| format!("{own}.{suffix}"));
    let under = under.filter_map(|name| DnsName::parse(name.as_bytes()).ok());
    whole.into_iter().chain(under).collect()
}

/// The events after which DNS may say something else about the node.
pub(super) fn awaited(case: &Case<'_>, node: &Node) -> Vec<Awaited> {
    questions(case, node)
        .map(|question| match answer(case, &question) {
            Some((_, until)) => Awaited::Time(until),
            None => Awaited::Answer(question),
        })
        .collect()
}

fn questions(case: &Case<'_>, node: &Node) -> impl Iterator<Item = Question> {
    let dns = case.policy.spec.sources.dns.as_ref();
    let names = dns.into_iter().flat_map(|dns| names_of(node, dns));
    names.map(|name| Question::Addresses(name.as_str().into()))
}

fn answer<'a>(case: &Case<'a>, question: &Question) -> Option<(&'a Answer, Timestamp)> {
    case.evidence.answers.get(question, case.now.monotonic)
}

/// Checks a name: it is the node's if all its addresses are.
fn check_name(
    case: &Case<'_>,
    node: &Node,
    name: &DnsName,
    findings: &mut Findings,
) -> SourceResult {
    let question = Question::Addresses(name.as_str().into());
    match case.evidence.answers.get(&question, case.now.monotonic) {
        Some((Answer::Sans(found), until)) => {
            let is_own = |san: &San| node.address(san).is_some();
            if found.iter().all(is_own) {
                return SourceResult::Vouched(format!("DNS: {name}"));
            }
            let addresses = list_of(found);
            let why = format!(
                "in DNS {name} has the addresses {addresses}, not all of which are this node's"
            );
            if found.iter().any(is_own) {
                let awaits = vec![Awaited::Time(until), Awaited::Node(node.name.shared())];
                return SourceResult::Unproven(Code::SanUncorroborated, awaits, why);
            }
            findings.add(Code::SanContradicted, why);
            SourceResult::Contradicted
        }
        Some((Answer::Empty(why), until)) => SourceResult::Unproven(
            Code::SanUncorroborated,
            vec![Awaited::Time(until)],
            why.clone(),
        ),
        Some((Answer::Certificate(_) | Answer::Failed(_), _)) | None => {
            unanswered(case, Source::Dns, question)
        }
    }
}

/// Checks an address: it is the node's if one of the node's names resolves to it. With reverse lookup
/// it must also resolve back to that name.
fn check_address(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    names: &[DnsName],
    dns: &DnsPolicy,
    findings: &mut Findings,
) -> SourceResult {
    let mut listed: BTreeSet<San> = BTreeSet::new();
    let mut pending = None;
    let mut soonest = None;
    for name in names {
        let question = Question::Addresses(name.as_str().into());
        match case.evidence.answers.get(&question, case.now.monotonic) {
            Some((Answer::Sans(found), until)) => {
                if found.contains(san) {
                    return check_reverse(case, san, name, dns);
                }
                listed.extend(found.iter().cloned());
                soonest = soonest.into_iter().chain([until]).min();
            }
            Some((Answer::Empty(_), until)) => {
                soonest = soonest.into_iter().chain([until]).min();
            }
            Some((Answer::Certificate(_) | Answer::Failed(_), _)) | None => {
                pending.get_or_insert(question);
            }
        }
    }
    if let Some(question) = pending {
        return unanswered(case, Source::Dns, question);
    }
    let queried: Vec<&str> = names.iter().map(DnsName::as_str).collect();
    let queried = queried.join(", ");
    let mut awaits: Vec<Awaited> = soonest.into_iter().map(Awaited::Time).collect();
    awaits.push(Awaited::Node(node.name.shared()));
    if listed.is_empty() {
        let why = format!("DNS has no addresses for {queried}");
        return SourceResult::Unproven(Code::SanUncorroborated, awaits, why);
    }
    let why = format!(
        "in DNS {queried} has the addresses {}, not {san}",
        list_of(&listed)
    );
    if listed.iter().any(|found| node.address(found).is_some()) {
        return SourceResult::Unproven(Code::SanUncorroborated, awaits, why);
    }
    findings.add(Code::SanContradicted, why);
    SourceResult::Contradicted
}

fn check_reverse(case: &Case<'_>, san: &San, name: &DnsName, dns: &DnsPolicy) -> SourceResult {
    let vouched = || SourceResult::Vouched(format!("DNS: {name}"));
    let (Requirement::Required, San::Ip(ip)) = (dns.reverse, san) else {
        return vouched();
    };
    let question = Question::Names(*ip);
    match case.evidence.answers.get(&question, case.now.monotonic) {
        Some((Answer::Sans(found), _)) if found.contains(&San::Dns(name.clone())) => vouched(),
        Some((Answer::Sans(found), until)) => {
            let why = format!("in DNS {ip} has the names {}, not {name}", list_of(found));
            SourceResult::Unproven(Code::SanUncorroborated, vec![Awaited::Time(until)], why)
        }
        Some((Answer::Empty(why), until)) => SourceResult::Unproven(
            Code::SanUncorroborated,
            vec![Awaited::Time(until)],
            why.clone(),
        ),
        Some((Answer::Certificate(_) | Answer::Failed(_), _)) | None => {
            unanswered(case, Source::Dns, question)
        }
    }
}

fn list_of(sans: &BTreeSet<San>) -> String {
    const MAX_LISTED: usize = 8;
    let mut all: Vec<String> = sans.iter().take(MAX_LISTED).map(San::to_string).collect();
    if sans.len() > MAX_LISTED {
        all.push("…".into());
    }
    all.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_addresses_is_truncated() {
        let of = |count: u8| {
            let sans =
                (1..=count).map(|last| San::from_ip_text(&format!("10.0.0.{last}")).unwrap());
            list_of(&sans.collect())
        };
        assert_eq!(of(2), "IP:10.0.0.1, IP:10.0.0.2");
        assert!(of(7).ends_with("IP:10.0.0.7"));
        assert!(of(8).ends_with("IP:10.0.0.8"));
        assert!(of(9).ends_with("IP:10.0.0.8, …"));
    }
}
