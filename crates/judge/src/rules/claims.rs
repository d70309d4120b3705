//! Rows 46, 47, 63, 75 and 83 to 85: who owns what several Nodes claim.
//!
//! The first claim owns, whoever claims the same later. Where no order was seen, the newest serving
//! certificate decides. The word of another Node never denies.
//!
//! A claimant counts as a rival only if the judge would grant it the SAN but for the rivalry. Only
//! names, protection, the policy and other sources rule a rival out. Its state never does: the owner of
//! an address stays its owner while it is rebooting.

use std::cmp::Ordering;
use std::net::IpAddr;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::{Case, corroboration, ownership, protected_sans, service_names};
use crate::csr::names::San;
use crate::evidence::{Answer, Claim, Claimed, Node, Source, reserved_kind};
use crate::finding::{Awaited, Code, Effect, Findings, Question};
use crate::policy::IndependentSource;

/// Maximum number of claimants whose kubelets are asked for their certificates.
const MAX_ASKED: usize = 4;
/// Maximum number of addresses at which one kubelet is asked.
const MAX_ADDRESSES: usize = 4;
/// Limit of the number of other Nodes that a claimant contests, as findings tell it.
const MAX_CONTESTED: usize = 100;
/// Maximum number of claimants that are examined for one SAN.
const MAX_EXAMINED: usize = 1024;
/// Maximum number of rivals of equal rank. What more Nodes claim is nobody's alone.
const MAX_RIVALS: usize = 64;

/// A claim on the SAN by a Node, or by the Node's pod network.
struct Rival<'a> {
    node: &'a Node,
    claim: Claim,
    claimed: Claimed,
}

/// The result of asking for certificates.
enum Owner<'a> {
    /// The requesting node shows the newest certificate.
    Requestor,
    /// This rival shows the newest certificate, issued at this time.
    Rival(&'a Rival<'a>, Timestamp),
    /// Nobody shows one, or two are equally new.
    Nobody(Vec<Awaited>),
    /// More Nodes claim it than can be told apart.
    Everybody,
    /// Kubelets are being asked.
    Unknown(Vec<Awaited>),
}

/// Checks the claims of other Nodes on all SANs. This is the last rule: rivals matter, and kubelets are
/// asked, only if everything else grants the request.
pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let Some(node) = case.node else {
        return;
    };
    for san in case.sans() {
        let gives = corroborating_sources(case, node, san);
        // A Node's own DNS name is bound to its credential, and without a claim of its own the request
        // waits by another rule.
        let own = case.evidence.nodes.claim(san, &node.name);
        if let Some(own) = own.filter(|_| !node.is_own_name(san)) {
            let rivals = rivals(case, node, san, own, &gives);
            decide(case, node, san, own, &rivals, findings);
        }
        if gives.contains(&IndependentSource::Machine) {
            check_provider_id(case, node, san, findings);
        }
    }
}

/// Row 63: checks that no other Node owns the provider ID, by which a Machine vouches. It is owned as
/// addresses are.
fn check_provider_id(case: &Case<'_>, node: &Node, san: &San, findings: &mut Findings) {
    let (Some(id), Some(machines)) = (&node.provider_id, &case.evidence.machines) else {
        return;
    };
    let claims = || case.evidence.nodes.with_provider_id(id);
    let Some((_, own)) = claims().find(|(other, _)| other.name == node.name) else {
        return;
    };
    let others = claims()
        .take_while(|(_, claim)| !own.precedes(claim))
        .filter(|(other, _)| other.name != node.name)
        .map(|(other, claim)| Rival {
            node: other,
            claim,
            claimed: Claimed::ProviderId(id.clone()),
        });
    let has_machine = |rival: &Rival<'_>| !machines.for_node(rival.node).is_empty();
    let rivals = first_or_equal(others, own, has_machine);
    decide(case, node, san, own, &rivals, findings);
}

/// The rivals for a SAN whose claims did not begin after the node's own: the first owner alone, or all
/// of equal rank.
fn rivals<'a>(
    case: &Case<'a>,
    node: &Node,
    san: &San,
    own: Claim,
    gives: &[IndependentSource],
) -> Vec<Rival<'a>> {
    let nodes = &case.evidence.nodes;
    let max = case.policy.spec.names.max;
    let has = |other: &Node| {
        other.address_within(san, max).is_some() || other.named_address().as_ref() == Some(san)
    };
    let by_address = nodes
        .claimants(san)
        // In the order of claims: those after the node's own do not matter.
        .take_while(|(_, claim)| !own.precedes(claim))
        .filter(|(other, _)| other.name != node.name && has(other))
        .map(|(other, claim)| Rival {
            node: other,
            claim,
            claimed: Claimed::San(san.clone()),
        });
    let mut by_network: Vec<Rival<'_>> = match san {
        San::Ip(ip) => nodes
            .pod_networks(*ip)
            .filter(|(_, _, claim)| !own.precedes(claim))
            .map(|(network, other, claim)| Rival {
                node: other,
                claim,
                claimed: Claimed::PodNetwork(network),
            })
            .collect(),
        San::Dns(_) => Vec::new(),
    };
    by_network.sort_by(|one, other| one.claim.order(&other.claim));
    let is_rival = |rival: &Rival<'_>| is_rival(case, rival, san, gives);
    let mut rivals = first_or_equal(by_address, own, is_rival);
    rivals.extend(first_or_equal(by_network.into_iter(), own, is_rival));
    // An owner decides alone.
    rivals.sort_by(|one, other| one.claim.order(&other.claim));
    rivals
}

/// The first rival if its claim began before the node's own, otherwise all of equal rank. Stops where
/// there are too many to tell.
fn first_or_equal<'a>(
    candidates: impl Iterator<Item = Rival<'a>>,
    own: Claim,
    is_rival: impl Fn(&Rival<'a>) -> bool,
) -> Vec<Rival<'a>> {
    let mut rivals = Vec::new();
    for (examined, candidate) in candidates.enumerate() {
        // Unknown never approves.
        let too_many = examined >= MAX_EXAMINED || rivals.len() > MAX_RIVALS;
        if too_many || is_rival(&candidate) {
            let is_owner = candidate.claim.precedes(&own);
            rivals.push(candidate);
            if is_owner || too_many {
                break;
            }
        }
    }
    rivals
}

/// The sources that vouch for a SAN of a node.
fn corroborating_sources(
    case: &Case<'_>,
    node: &Node,
    san: &San,
) -> SmallVec<[IndependentSource; 4]> {
    let mut scratch = Findings::default();
    let vouched = corroboration::check(case, node, san, &mut scratch);
    vouched.into_iter().map(|(source, _)| source).collect()
}

/// Returns true if the judge would grant the SAN to the claimant but for the rivalry. `gives` lists the
/// sources that vouch for the requesting node.
fn is_rival(case: &Case<'_>, rival: &Rival<'_>, san: &San, gives: &[IndependentSource]) -> bool {
    if matches!(rival.claimed, Claimed::PodNetwork(_)) {
        // Pods have their addresses regardless of what nodes are granted.
        return gives.is_empty() && !protected_sans::is_allowed(case, san);
    }
    let as_other = case.as_asked_by(rival.node);
    let mut refusals = Findings::default();
    protected_sans::check_san(&as_other, san, &mut refusals);
    service_names::check_san(&as_other, san, &mut refusals);
    if !refusals.is_empty() || ownership::is_name_of_other(&as_other, rival.node, san) {
        return false;
    }
    let mut findings = Findings::default();
    let theirs = corroboration::check(&as_other, rival.node, san, &mut findings);
    if findings.effect() == Some(Effect::Deny) {
        return false;
    }
    let theirs: SmallVec<[IndependentSource; 4]> =
        theirs.into_iter().map(|(source, _)| source).collect();
    let only_ours = gives.iter().any(|source| !theirs.contains(source));
    let only_theirs = theirs.iter().any(|source| !gives.contains(source));
    !only_ours || only_theirs
}

fn decide(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    own: Claim,
    rivals: &[Rival<'_>],
    findings: &mut Findings,
) {
    let Some(first) = rivals.first() else {
        return;
    };
    if first.claim.precedes(&own) {
        let why = format!("Node {} was first, so it owns it", first.node.name);
        wait(case, node, san, own, first, &why, Vec::new(), findings);
        return;
    }
    match newest_certificate(case, node, san, own, rivals) {
        Owner::Requestor => {}
        Owner::Rival(rival, issued) => {
            let why = format!(
                "the order of their claims was not seen here, and Node {} has the newest certificate \
                 with it, valid from {issued}, so it owns it",
                rival.node.name
            );
            wait(case, node, san, own, rival, &why, Vec::new(), findings);
        }
        Owner::Nobody(awaits) => {
            let why = "the order of their claims was not seen here, and no kubelet of them shows a \
                       certificate with it, so nobody owns it";
            wait(case, node, san, own, first, why, awaits, findings);
        }
        Owner::Everybody => {
            let why = format!(
                "the order of their claims was not seen here, and more than {MAX_RIVALS} Nodes claim it, so \
                 it is nobody's alone"
            );
            wait(case, node, san, own, first, &why, Vec::new(), findings);
        }
        Owner::Unknown(awaits) => {
            let why = "the order of their claims was not seen here, and their kubelets are being asked \
                       for their certificates";
            wait(case, node, san, own, first, why, awaits, findings);
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn wait(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    own: Claim,
    rival: &Rival<'_>,
    why: &str,
    mut awaits: Vec<Awaited>,
    findings: &mut Findings,
) {
    let (code, claims) = match &rival.claimed {
        Claimed::San(_) => (Code::SanContested, format!("{san} is claimed")),
        Claimed::PodNetwork(network) => (
            Code::SanPodAddress,
            format!("{san} is claimed within the pod network {network}"),
        ),
        Claimed::ProviderId(id) => (
            Code::ProviderIdContested,
            format!("provider ID {id} is claimed"),
        ),
    };
    let since = |claim: Claim| case.now.to_wall(claim.since);
    let contests = |node: &Node| {
        let count = case.evidence.nodes.contested_by(node, MAX_CONTESTED);
        let more = if count >= MAX_CONTESTED {
            " or more"
        } else {
            ""
        };
        format!("Node {} contests {count}{more}", node.name)
    };
    let detail = format!(
        "{claims} by Node {} since {} and by Node {} since {}: {why}. Of other Nodes' names and addresses \
         {} and {}",
        rival.node.name,
        since(rival.claim),
        node.name,
        since(own),
        contests(rival.node),
        contests(node),
    );
    awaits.push(Awaited::Claim(rival.claimed.clone()));
    // What another source gives to this node alone is its own at once.
    if case.evidence.inventory.is_some() {
        awaits.push(Awaited::Source(Source::Inventory.as_str()));
    }
    if let Claimed::ProviderId(id) = &rival.claimed {
        awaits.push(Awaited::Machine(id.clone()));
    }
    let machines = &case.evidence.machines;
    if machines
        .as_ref()
        .is_some_and(|machines| machines.for_node(node).is_empty())
    {
        awaits.push(Awaited::Machine(node.name.shared()));
    }
    findings.wait(code, awaits, detail);
}

/// The claimant whose kubelet has the newest certificate with this SAN. The kubelets are asked, and what
/// is known already counts too. A certificate says whose it is, wherever it is shown.
fn newest_certificate<'a>(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    own: Claim,
    rivals: &'a [Rival<'a>],
) -> Owner<'a> {
    if rivals.len() > MAX_RIVALS {
        return Owner::Everybody;
    }
    let (mut open, mut expiries) = (Vec::new(), Vec::new());
    let others = rivals.iter().map(|rival| (rival.node, rival.claim));
    let others = others.filter(|(other, _)| other.name != node.name);
    for (claimant, claim) in std::iter::once((node, own)).chain(others).take(MAX_ASKED) {
        for ip in addresses_to_ask(case, claimant, claim, san) {
            let question = Question::Certificate(ip);
            match case.evidence.answers.get(&question, case.now.monotonic) {
                Some((Answer::Certificate(_) | Answer::Empty(_) | Answer::Failed(_), until)) => {
                    expiries.push(Awaited::Time(until));
                }
                Some((Answer::Sans(_), _)) | None => open.push(Awaited::Answer(question)),
            }
        }
    }
    if !open.is_empty() {
        return Owner::Unknown(open);
    }
    let issued = |node: &Node| case.evidence.certificates.issued(&node.name, san);
    let own = issued(node);
    let theirs = rivals.iter().filter_map(|rival| {
        let is_other = rival.node.name != node.name;
        let issued = is_other.then(|| issued(rival.node))??;
        Some((issued, rival))
    });
    let theirs = theirs.max_by_key(|(issued, _)| *issued);
    match (own, theirs) {
        (None, None) => Owner::Nobody(expiries),
        (Some(_), None) => Owner::Requestor,
        (None, Some((issued, rival))) => Owner::Rival(rival, issued),
        (Some(own), Some((issued, rival))) => match own.cmp(&issued) {
            Ordering::Greater => Owner::Requestor,
            Ordering::Less => Owner::Rival(rival, issued),
            Ordering::Equal => Owner::Nobody(expiries),
        },
    }
}

/// The addresses at which a claimant's kubelet is asked: the contested one, where its true holder answers,
/// then in the Node's own order. None of them is reserved, protected, of Services, or in a pod network that
/// came before the Node's claim.
fn addresses_to_ask(
    case: &Case<'_>,
    node: &Node,
    claim: Claim,
    contested: &San,
) -> impl Iterator<Item = IpAddr> {
    let evidence = case.evidence;
    let mut addresses: SmallVec<[IpAddr; MAX_ADDRESSES]> = SmallVec::new();
    let contested = node
        .addresses
        .iter()
        .filter(|address| address.san == *contested);
    for address in contested.chain(&node.addresses) {
        let San::Ip(ip) = address.san else {
            continue;
        };
        let is_protected = evidence.protected.find(&address.san).next().is_some()
            || evidence
                .protected
                .find_recent(&address.san, case.now.monotonic)
                .next()
                .is_some()
            || case
                .policy
                .spec
                .protected
                .networks
                .iter()
                .any(|network| network.contains(&ip));
        let of_address = evidence
            .nodes
            .claim(&address.san, &node.name)
            .unwrap_or(claim);
        let is_of_pods = evidence
            .nodes
            .pod_networks(ip)
            .any(|(_, _, network)| network.precedes(&of_address));
        if reserved_kind(ip).is_none() && !is_protected && !is_of_pods && !addresses.contains(&ip) {
            addresses.push(ip);
        }
        if addresses.len() == MAX_ADDRESSES {
            break;
        }
    }
    addresses.into_iter()
}
