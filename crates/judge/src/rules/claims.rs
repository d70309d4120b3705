//! Rows 46, 47, 63, 75 and 83 to 85: the owner of a name or address that several Nodes claim.
//!
//! The first claimant is the owner, regardless of later claims. Where no order was observed, the newest
//! serving certificate decides. A claim of another Node never denies.
//!
//! A claimant counts as a rival only if the judge would grant it the SAN but for the rivalry. Only
//! names, protection, the policy and other sources rule a rival out. Its state never does: the owner of
//! an address stays its owner while it is rebooting.

use std::cell::LazyCell;
use std::net::IpAddr;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::corroboration::{self, Corroborated};
use super::kubelets::{Asked, may_be_asked};
use super::{Case, ownership, protected_sans, service_names};
use crate::csr::names::{NodeName, San};
use crate::evidence::{Claim, Claimed, Evidence, Node, Source};
use crate::finding::{Awaited, Code, Effect, Findings};
use crate::policy::IndependentSource;

/// Maximum number of claimants whose kubelets are asked for their certificates.
const MAX_ASKED: usize = 4;
/// Limit of the number of other Nodes that a claimant contests, as findings tell it.
const MAX_CONTESTED: usize = 100;
/// Number of other Nodes with an address in a pod network from which on it is one of machines.
const MACHINES: usize = 3;
/// Maximum number of claimants that are examined for one SAN.
const MAX_EXAMINED: usize = 1024;
/// Maximum number of rivals of equal rank. No Node alone owns what more Nodes claim.
const MAX_RIVALS: usize = 64;

/// A claim on the SAN by a Node, or by the Node's pod network.
struct Rival<'a> {
    node: &'a Node,
    claim: Claim,
    claimed: Claimed,
}

/// The result of asking for certificates.
enum Owner<'a> {
    /// The requesting node presents the newest certificate.
    Requestor,
    /// This rival presents the newest certificate, issued at this time. If the requesting node's kubelet has
    /// not answered, it may have a newer one: when to ask again, and the reasons.
    Rival(&'a Rival<'a>, Timestamp, Option<(Vec<Awaited>, String)>),
    /// No kubelet presents one, or two are equally new: when to ask again, and why kubelets presented none.
    Undecided(Vec<Awaited>, String),
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
        // A Node's own DNS name is bound to its credential, and without a claim of its own the request
        // waits by another rule.
        let own = case.evidence.nodes.claim(san, &node.name);
        if let Some(own) = own.filter(|_| !node.is_own_name(san)) {
            let rivals = rivals(case, node, san, own);
            decide(case, node, san, own, &rivals, findings);
        }
        check_provider_id(case, node, san, findings);
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
    let is_compared = || {
        let mut machines = machines.for_node(node).into_iter();
        machines.any(|machine| machine.checks_provider_id)
    };
    let vouches = || {
        let by = corroboration::check(case, node, san, &mut Findings::default());
        by.vouched.iter().any(|(source, _)| source.is_of_machines())
    };
    if !rivals.is_empty() && is_compared() && vouches() {
        decide(case, node, san, own, &rivals, findings);
    }
}

/// The rivals for a SAN whose claims did not begin after the node's own: the first owner alone, or all
/// of equal rank.
fn rivals<'a>(case: &Case<'a>, node: &Node, san: &San, own: Claim) -> Vec<Rival<'a>> {
    let nodes = &case.evidence.nodes;
    let is_shared = is_listed_as_shared(case, san) && !is_protected(case, san);
    // The name of a Node is its alone, also if it is an address.
    let named_by = is_shared.then(|| nodes.named_by(san)).flatten();
    let all = (!is_shared).then(|| nodes.claimants(san));
    let by_address = all
        .into_iter()
        .flatten()
        .chain(named_by)
        // In the order of claims: those after the node's own do not matter.
        .take_while(|(_, claim)| !own.precedes(claim))
        .filter(|(other, _)| other.name != node.name)
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
    // Most SANs have one claimant.
    let gives = LazyCell::new(|| {
        let by = corroboration::check(case, node, san, &mut Findings::default());
        deciding(&by)
    });
    let is_rival = |rival: &Rival<'_>| is_rival(case, rival, san, &gives);
    let mut rivals = first_or_equal(by_address, own, is_rival);
    rivals.extend(first_or_equal(by_network.into_iter(), own, is_rival));
    // An owner decides alone.
    rivals.sort_by(|one, other| one.claim.order(&other.claim));
    rivals
}

/// Returns true if the policy lets several Nodes have the SAN.
fn is_listed_as_shared(case: &Case<'_>, san: &San) -> bool {
    let mut shared = case.policy.spec.names.shared.iter();
    shared.any(|shared| shared.contains(san))
}

fn is_protected(case: &Case<'_>, san: &San) -> bool {
    case.evidence.protected.find(san).next().is_some()
}

/// The first rival if its claim began before the node's own, otherwise all of equal rank.
fn first_or_equal<'a>(
    candidates: impl Iterator<Item = Rival<'a>>,
    own: Claim,
    is_rival: impl Fn(&Rival<'a>) -> bool,
) -> Vec<Rival<'a>> {
    let mut rivals = Vec::new();
    let candidates = candidates.take(MAX_EXAMINED + MAX_RIVALS + 1);
    for (examined, candidate) in candidates.enumerate() {
        // Unknown never approves: those that are not examined count as rivals, and so many make all wait.
        if examined >= MAX_EXAMINED || is_rival(&candidate) {
            let is_owner = candidate.claim.precedes(&own);
            rivals.push(candidate);
            if is_owner {
                break;
            }
        }
    }
    rivals
}

/// The sources that vouch and say whose the SAN is.
fn deciding(by: &Corroborated) -> SmallVec<[IndependentSource; 4]> {
    let sources = by.vouched.iter().map(|(source, _)| *source);
    sources.filter(|source| source.decides_claims()).collect()
}

/// Returns true if the judge would grant the SAN to the claimant but for the rivalry. `gives` lists the
/// sources that vouch for the requesting node.
fn is_rival(case: &Case<'_>, rival: &Rival<'_>, san: &San, gives: &[IndependentSource]) -> bool {
    if let Claimed::PodNetwork(network) = &rival.claimed {
        // Pods have their addresses regardless of what nodes are granted. No pod has one of the API server.
        let nodes = &case.evidence.nodes;
        let is_of_machines = nodes.is_of_machines(network, rival.node, rival.claim, MACHINES)
            || case.evidence.protected.has_endpoint_in(network);
        return gives.is_empty()
            && !is_of_machines
            && !is_protected(case, san)
            && !protected_sans::is_allowed(case, san);
    }
    let as_other = case.as_asked_by(rival.node);
    // A virtual address moves between the nodes that may have it.
    if protected_sans::is_allowed(case, san) && protected_sans::is_allowed(&as_other, san) {
        return false;
    }
    let mut refusals = Findings::default();
    protected_sans::check_san(&as_other, san, &mut refusals);
    service_names::check_san(&as_other, san, &mut refusals);
    if !refusals.is_empty() || ownership::is_like_name_of_other(&as_other, rival.node, san) {
        return false;
    }
    let mut findings = Findings::default();
    corroboration::check(&as_other, rival.node, san, &mut findings);
    if findings.effect() == Some(Effect::Deny) {
        return false;
    }
    let by = corroboration::check_contest(&as_other, rival.node, san);
    let theirs = deciding(&by);
    let only_ours = gives.iter().any(|source| !theirs.contains(source));
    let only_theirs = theirs.iter().any(|source| !gives.contains(source));
    // Unknown never approves: DNS may give it to the claimant too.
    !only_ours || only_theirs || by.dns_unknown.is_some()
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
    let mut wait = |rival, why: &str, awaits| {
        wait(case, node, san, own, rival, why, awaits, findings);
    };
    if first.claim.precedes(&own) {
        let why = format!("Node {} claimed it first, so it owns it", first.node.name);
        wait(first, &why, Vec::new());
        return;
    }
    let (rival, why, awaits) = match newest_certificate(case, node, san, own, rivals) {
        Owner::Requestor => return,
        Owner::Rival(rival, issued, None) => {
            let why = format!(
                "Node {} has the newest certificate with it, valid from {issued}, so it owns it",
                rival.node.name
            );
            (rival, why, Vec::new())
        }
        Owner::Rival(rival, issued, Some((again, reasons))) => {
            let why = format!(
                "Node {} has the newest known certificate with it, valid from {issued}, and the kubelet of \
                 Node {} has not answered{}",
                rival.node.name,
                node.name,
                in_parentheses(&reasons)
            );
            (rival, why, again)
        }
        Owner::Undecided(awaits, reasons) => {
            let why = format!(
                "no kubelet presents the newest certificate with it, so its owner is unknown{}",
                in_parentheses(&reasons)
            );
            (first, why, awaits)
        }
        Owner::Everybody => {
            let why = format!("more than {MAX_RIVALS} Nodes claim it, so no Node owns it alone");
            (first, why, Vec::new())
        }
        Owner::Unknown(awaits) => {
            let why = "the certificates of their kubelets are not known yet".to_owned();
            (first, why, awaits)
        }
    };
    let why = format!("the order of their claims was not observed, and {why}");
    wait(rival, &why, awaits);
}

fn in_parentheses(reasons: &str) -> String {
    match reasons.is_empty() {
        true => String::new(),
        false => format!(" ({reasons})"),
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
    let code = match &rival.claimed {
        Claimed::San(_) => Code::SanContested,
        Claimed::PodNetwork(_) => Code::SanPodAddress,
        Claimed::ProviderId(_) => Code::ProviderIdContested,
    };
    if findings.is_full(code) {
        return;
    }
    let claims = match &rival.claimed {
        Claimed::San(_) => format!("{san} is claimed"),
        Claimed::PodNetwork(network) => {
            format!("{san} is claimed within the pod network {network}")
        }
        Claimed::ProviderId(id) => format!("provider ID {id} is claimed"),
    };
    // Where no order was seen, the time is that of the list.
    let is_ordered = rival.claim.order(&own).is_ne();
    let since = |claim: Claim| {
        let seconds = case.now.to_wall(claim.since).as_second();
        let time = Timestamp::from_second(seconds).unwrap_or_default();
        if is_ordered {
            format!(" since {time}")
        } else {
            String::new()
        }
    };
    let contests = |node: &Node| {
        let count = case.evidence.nodes.contested_by(node, MAX_CONTESTED);
        let more = if count >= MAX_CONTESTED {
            " or more"
        } else {
            ""
        };
        let nodes = if count == 1 { "Node" } else { "Nodes" };
        format!("Node {} contests {count}{more} other {nodes}", node.name)
    };
    let mut detail = if rival.node.name == node.name {
        format!(
            "{claims} by Node {} itself{}, and as its own address{}: {why}. An address of pods or of their \
             network interface is not an address of the node",
            node.name,
            since(rival.claim),
            since(own),
        )
    } else {
        let shared = match &rival.claimed {
            Claimed::San(_) => {
                ". If several Nodes are meant to have it, list it in the policy's names.shared"
            }
            Claimed::PodNetwork(_) | Claimed::ProviderId(_) => "",
        };
        format!(
            "{claims} by Node {}{}{} and by Node {}{}: {why}. {}, {}{shared}",
            rival.node.name,
            state(rival, san),
            since(rival.claim),
            node.name,
            since(own),
            contests(rival.node),
            contests(node),
        )
    };
    awaits.insert(0, Awaited::Claim(rival.claimed.clone()));
    if let Claimed::San(_) = &rival.claimed {
        let as_other = case.as_asked_by(rival.node);
        let by = corroboration::check_contest(&as_other, rival.node, san);
        if let Some(unknown) = by.dns_unknown {
            let silence = format!(". DNS has not answered about Node {}", rival.node.name);
            detail.push_str(&silence);
            awaits.extend(unknown);
        }
        awaits.extend(corroboration::awaited_of_dns(&as_other, rival.node, san));
    }
    if is_listed_as_shared(case, san) && is_protected(case, san) {
        awaits.push(Awaited::ProtectedIdentities);
    }
    // A SAN that another source gives to this node alone is its own at once.
    if case.evidence.inventory.is_some() {
        awaits.push(Awaited::Source(Source::Inventory.as_str()));
    }
    if let Claimed::ProviderId(id) = &rival.claimed {
        awaits.push(Awaited::Machine(id.clone()));
    }
    if let Some(machines) = &case.evidence.machines
        && !machines
            .for_node(node)
            .iter()
            .any(|own| own.addresses.contains(san))
    {
        awaits.push(Awaited::Machine(node.name.shared()));
    }
    findings.wait(code, awaits, detail);
}

/// The state of a rival, for the finding.
fn state(rival: &Rival<'_>, san: &San) -> &'static str {
    if rival.node.terminating {
        " (which is being deleted)"
    } else if rival.node.lost {
        " (which the control plane has lost contact with)"
    } else if rival.node.named_address().as_ref() == Some(san) {
        " (which is named by it)"
    } else {
        " (which is live)"
    }
}

/// The claimant whose kubelet has the newest certificate with this SAN. A certificate names its node,
/// regardless of the address at which it is presented.
///
/// Silence proves nothing. So the requestor owns an address only if its certificate is presented at that
/// address itself, or was issued while csr-warden watched, or a kubelet of every rival has answered. A name
/// has no port of its own, and any claimant could block it by silence: there the newest one decides.
fn newest_certificate<'a>(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    own: Claim,
    rivals: &'a [Rival<'a>],
) -> Owner<'a> {
    let certificates = &case.evidence.certificates;
    let others: Vec<&Rival<'_>> = rivals
        .iter()
        .filter(|rival| rival.node.name != node.name)
        .collect();
    // An owner that is known already needs no further answer.
    let mut asked = Asked::default();
    asked.ask(case, contested_address(case, node, own, san).into_iter());
    let is_shown_there = asked
        .certificates
        .iter()
        .any(|shown| shown.node == node.name && shown.sans.contains(san));
    let newest = newest(case, node, san);
    // Of two certificates of the same time, only what both have proves anything for the node.
    let is_newest = newest == Some(&node.name) && certificates.issued(&node.name, san).is_some();
    if is_newest && (is_shown_there || certificates.was_watched(&node.name, san)) {
        return Owner::Requestor;
    }
    if others.len() > MAX_RIVALS {
        return Owner::Everybody;
    }
    let is_name = matches!(san, San::Dns(_));
    let mut all_answered = others.len() < MAX_ASKED;
    let has_answered = asked.ask_node(case, node);
    for rival in others.iter().take(MAX_ASKED - 1) {
        all_answered &= asked.ask_node(case, rival.node);
    }
    if !asked.open.is_empty() {
        return Owner::Unknown(asked.open);
    }
    let rival = others.iter().find(|rival| newest == Some(&rival.node.name));
    match rival.and_then(|rival| Some((rival, certificates.issued(&rival.node.name, san)?))) {
        Some((rival, issued)) => {
            let silence = (!has_answered).then(|| {
                let (again, reasons) = asked.ended();
                (again.into_iter().collect(), reasons)
            });
            Owner::Rival(rival, issued, silence)
        }
        None if is_newest && (all_answered || is_name) => Owner::Requestor,
        None => {
            let (again, reasons) = asked.ended();
            Owner::Undecided(again.into_iter().collect(), reasons)
        }
    }
}

/// The claimant with the newest certificate that has the SAN; `None` without a certificate, or if two are
/// equally new. All claimants count, since only known certificates are compared.
fn newest<'a>(case: &Case<'a>, node: &Node, san: &San) -> Option<&'a NodeName> {
    let Evidence {
        certificates,
        nodes,
        ..
    } = case.evidence;
    let is_claimant = |name: &NodeName| *name == node.name || nodes.claim(san, name).is_some();
    let mut holders = certificates
        .holders(san)
        .filter(|(_, name)| is_claimant(name));
    let (issued, newest) = holders.next()?;
    let is_alone = holders.next().is_none_or(|(next, _)| next < issued);
    is_alone.then_some(newest)
}

/// The contested address, if a kubelet may be asked there: its true holder answers.
fn contested_address(case: &Case<'_>, node: &Node, claim: Claim, san: &San) -> Option<IpAddr> {
    let San::Ip(ip) = san else {
        return None;
    };
    may_be_asked(case, node, claim, *ip).then_some(*ip)
}
