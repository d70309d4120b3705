//! Rows 37, 38, 52, 53 and 72: proof that each name belongs to this node, and is no other node's name.

use smallvec::SmallVec;

use super::{Case, corroboration};
use crate::csr::names::{NodeName, San};
use crate::evidence::{MAX_ALIKE, Node};
use crate::finding::{Awaited, Code, Findings};
use crate::policy::{AllowOrWait, MOST_NAMES};

/// A requested SAN, with the sources that vouch for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanProof {
    /// The SAN.
    pub san: San,
    /// The sources that prove it to be the node's, as text for a person; empty if there is no proof.
    pub vouched_by: Vec<String>,
}

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) -> Vec<SanProof> {
    let Some(node) = case.node else {
        return Vec::new();
    };
    let max = case.policy.spec.names.max;
    let mut proofs = Vec::with_capacity(case.sans().len());
    for san in case.sans() {
        check_name_of_other(case, node, san, findings);
        check_name_like_other(case, node, san, findings);
        let mut vouched_by = Vec::new();
        if let Some(address) = node.address_within(san, max) {
            let detail = format!("{} of Node {}", address.address_type, node.name);
            vouched_by.push(detail);
        } else {
            let detail = match node.address(san) {
                None if node.addresses.len() >= MOST_NAMES => format!(
                    "{san} is not among the first {} addresses of Node {}, and no policy considers more",
                    node.addresses.len(),
                    node.name
                ),
                None => format!("{san} is not among the addresses of Node {}", node.name),
                Some(_) => format!(
                    "{san} is not among the first {max} addresses of Node {}, and the policy's names.max \
                     considers no more",
                    node.name
                ),
            };
            let has_it = node.address(san).is_some();
            let own = Awaited::Node(node.name.shared());
            // A Node that comes with this name makes the request a forgery.
            let named = match san {
                San::Dns(name) => NodeName::parse(name.as_str()),
                San::Ip(_) => None,
            };
            let named = named.map(|name| Awaited::Node(name.shared()));
            let awaits = std::iter::once(own)
                .chain(named)
                .chain(has_it.then_some(Awaited::Policy));
            findings.wait(Code::SanNotOfNode, awaits.collect(), detail);
        }
        let by_sources = corroboration::check(case, node, san, findings);
        vouched_by.extend(by_sources.vouched.into_iter().map(|(_, by)| by));
        proofs.push(SanProof {
            san: san.clone(),
            vouched_by,
        });
    }
    check_complete(case, node, findings);
    proofs
}

fn check_complete(case: &Case<'_>, node: &Node, findings: &mut Findings) {
    // A request without readable names has its own finding.
    if case.policy.spec.names.incomplete == AllowOrWait::Allow || case.sans().is_empty() {
        return;
    }
    for address in &node.addresses {
        if !case.sans().contains(&address.san) {
            let detail = format!(
                "Node {} has {} as {}, which is not requested",
                node.name, address.san, address.address_type
            );
            let awaits = vec![Awaited::Node(node.name.shared())];
            findings.wait(Code::SanIncomplete, awaits, detail);
        }
    }
}

/// Returns true if the SAN is for certain another Node's name with or without a domain: that Node was seen
/// to be there before this Node's claim.
pub(super) fn is_like_name_of_other(case: &Case<'_>, node: &Node, san: &San) -> bool {
    named_like_others(case, node, san)
        .any(|other| came_before(case, other, node, san) == Some(true))
}

/// Row 53: checks that the SAN is no other Node's name. A name is bound to a credential, so it is the
/// other Node's alone while that is there. Only what was claimed after that is denied.
fn check_name_of_other(case: &Case<'_>, node: &Node, san: &San, findings: &mut Findings) {
    let Some(other) = case.other_named(node, san) else {
        return;
    };
    let is_there_to_stay = !other.terminating && !other.lost;
    if is_there_to_stay && came_before(case, other, node, san) == Some(true) {
        let detail = format!("{san} is the name of another Node");
        findings.add(Code::SanOfAnotherNode, detail);
        return;
    }
    let how = if other.terminating {
        "which is being deleted"
    } else if other.lost {
        "which the control plane has lost contact with"
    } else {
        "which was not observed before this Node claimed the name"
    };
    let detail = format!("{san} is the name of Node {}, {how}", other.name);
    findings.wait(Code::SanContested, on_both(other, node), detail);
}

/// Row 72: checks that the SAN is not another Node's name with or without a domain. A search path makes
/// such a name mean the other machine.
fn check_name_like_other(case: &Case<'_>, node: &Node, san: &San, findings: &mut Findings) {
    let others: Vec<&Node> = named_like_others(case, node, san).collect();
    let is_too_many = others.len() >= MAX_ALIKE;
    let mut others = others.into_iter();
    let other =
        others.find(|other| is_too_many || came_before(case, other, node, san) != Some(false));
    if let Some(other) = other {
        let detail = format!(
            "{san} is the name of Node {} except for the domain",
            other.name
        );
        findings.wait(Code::SanLikeAnotherNode, on_both(other, node), detail);
    }
}

/// The other Nodes whose names are the SAN with or without a domain, and that have more of its first labels
/// than this Node's name has.
fn named_like_others<'a>(
    case: &Case<'a>,
    node: &Node,
    san: &San,
) -> impl Iterator<Item = &'a Node> {
    let alike: SmallVec<[&Node; 2]> = match san {
        San::Dns(name) => {
            let own = first_labels_in(node.name.as_str(), name.as_str());
            let alike = case.evidence.nodes.named_alike(name);
            alike
                .filter(|other| other.name != node.name)
                .filter(|other| first_labels_in(other.name.as_str(), name.as_str()) > own)
                .collect()
        }
        San::Ip(_) => SmallVec::new(),
    };
    alike.into_iter()
}

/// The number of first labels that both names have.
fn first_labels_in(one: &str, other: &str) -> usize {
    let labels = one.split('.').zip(other.split('.'));
    labels.take_while(|(one, other)| one == other).count()
}

/// Returns true if the other Node was there before this Node claimed the SAN; `None` if the order was
/// not seen.
fn came_before(case: &Case<'_>, other: &Node, node: &Node, san: &San) -> Option<bool> {
    let nodes = &case.evidence.nodes;
    let there = nodes.there(&other.name)?;
    // The request itself is a claim now on a SAN that the Node does not claim.
    let Some(own) = nodes.claim(san, &node.name) else {
        return Some(true);
    };
    match there.order(&own) {
        std::cmp::Ordering::Less => Some(true),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(false),
    }
}

fn on_both(other: &Node, node: &Node) -> Vec<Awaited> {
    vec![
        Awaited::Node(other.name.shared()),
        Awaited::Node(node.name.shared()),
    ]
}

/// The first label of a host name.
pub(super) fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}
