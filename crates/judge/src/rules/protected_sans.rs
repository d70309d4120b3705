//! Rows 41 to 44: SANs that no node may have, regardless of its Node.

use super::{Case, names, own_identities};
use crate::csr::names::San;
use crate::evidence::{Claimed, Identity, IdentityKind, Node};
use crate::finding::{Awaited, Code, Findings};

/// The exception for a node without the label of the control plane, such as a load balancer.
const BY_NAME: &str =
    "; the policy's protected.allowed lets such a node have it by its exact name, not by a pattern";
/// Maximum number of origins in one finding.
const MAX_ORIGINS: usize = 3;

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    for san in case.sans() {
        check_san(case, san, findings);
    }
}

/// Checks one SAN, which need not be among those of the request.
pub(super) fn check_san(case: &Case<'_>, san: &San, findings: &mut Findings) {
    check_identities(case, san, findings);
    check_policy_list(case, san, findings);
}

fn check_identities(case: &Case<'_>, san: &San, findings: &mut Findings) {
    let identities: Vec<Identity> = case.evidence.protected.find(san).collect();
    let of = |kind| {
        identities
            .iter()
            .find(move |identity| identity.kind == kind)
    };
    if let Some(service) = of(IdentityKind::Service) {
        let detail = format!("{san} is an address of Services ({})", service.origin);
        findings.add(Code::SanServiceAddress, detail);
        return;
    }
    // Only the Node says if this is a control-plane node, which may have its own identities.
    let Some(node) = case.node else {
        return;
    };
    if is_allowed(case, san) {
        return;
    }
    if let Some(endpoint) = of(IdentityKind::ApiServerEndpoint) {
        // A control-plane node that does not have the address yet waits by another rule.
        if !node.control_plane {
            check_endpoint(case, node, san, &endpoint.origin, findings);
        } else if own_identities::is_of_other_machine(case, node, san) {
            wait_for_own_endpoint(case, node, san, &endpoint.origin, findings);
        }
    } else if of(IdentityKind::ApiServerIdentity).is_some() {
        if !own_identities::has(case, node, san, &identities) {
            check_identity(case, node, san, &identities, findings);
        }
    } else {
        check_recently_protected(case, node, san, findings);
    }
}

/// Row 42: an API server's endpoint, asked for by a Node without the label of the control plane. A node
/// that joins the control plane gets its label after its API server has started.
fn check_endpoint(case: &Case<'_>, node: &Node, san: &San, origin: &str, findings: &mut Findings) {
    let owners = earlier_claimants(case, node, san)
        .filter(|other| other.control_plane && other.address(san).is_some());
    let owner = live_or_first(owners);
    if let Some(owner) = owner
        && is_live(owner)
    {
        let detail = format!(
            "{san} is where an API server listens ({origin}), on control-plane Node {}, and Node {} is not \
             a control-plane node",
            owner.name, node.name
        );
        findings.add(Code::SanApiServerEndpoint, detail);
    } else {
        let detail = format!(
            "{san} is where an API server listens ({origin}), and Node {} does not have the label \
             node-role.kubernetes.io/control-plane{BY_NAME}",
            node.name
        );
        // A new machine may have the address of a control-plane node that is gone.
        let owner = owner.map(|owner| Awaited::Node(owner.name.shared()));
        let own = Awaited::Node(node.name.shared());
        let awaits = std::iter::once(own).chain(owner).collect();
        findings.wait(Code::SanApiServerEndpointUnowned, awaits, detail);
    }
}

/// The claimants of a SAN, without those that claimed it after this Node: their word denies nothing.
fn earlier_claimants<'a>(
    case: &Case<'a>,
    node: &Node,
    san: &'a San,
) -> impl Iterator<Item = &'a Node> {
    let own = case.evidence.nodes.claim(san, &node.name);
    let claimants = case.evidence.nodes.claimants(san);
    let earlier =
        claimants.take_while(move |(_, claim)| own.is_none_or(|own| !own.precedes(claim)));
    earlier.map(|(other, _)| other)
}

fn is_live(node: &Node) -> bool {
    !node.lost && !node.terminating
}

/// The first of these Nodes that is live, or else the first one.
fn live_or_first<'a>(nodes: impl Iterator<Item = &'a Node>) -> Option<&'a Node> {
    let mut first = None;
    for node in nodes {
        if is_live(node) {
            return Some(node);
        }
        first = first.or(Some(node));
    }
    first
}

/// Row 42: an API server's endpoint whose certificate is another control-plane node's.
fn wait_for_own_endpoint(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    origin: &str,
    findings: &mut Findings,
) {
    let detail = format!(
        "{san} is where an API server listens ({origin}): expected a certificate with the name of Node {} \
         there, found one with the name of another Node, or the name in the certificate of another API server; the policy's \
         protected.allowed lets the node have it nevertheless",
        node.name
    );
    let mut awaits = vec![Awaited::Policy, Awaited::ProtectedIdentities];
    awaits.extend(own_identities::nodes_named_at(case, san));
    findings.wait(Code::SanApiServerIdentityNotAllowed, awaits, detail);
}

/// Row 44: a name or address of the API server that is not this machine's alone.
fn check_identity(
    case: &Case<'_>,
    node: &Node,
    san: &San,
    identities: &[Identity],
    findings: &mut Findings,
) {
    let origins: Vec<&str> = identities
        .iter()
        .map(|identity| identity.origin.as_str())
        .take(MAX_ORIGINS)
        .collect();
    let known_by = format!("the API server is known by {san} ({})", origins.join(", "));
    if node.control_plane {
        let detail = format!(
            "{known_by}. A control-plane node has it if its own API server listens there, or alone has it \
             in its certificate, or if the policy's protected.allowed lists it, for this node, for a \
             pattern or with `nodes: ControlPlane`"
        );
        let contested = own_identities::contested_endpoints(case, node, identities).into_iter();
        let contested = contested.map(|endpoint| Awaited::Claim(Claimed::San(endpoint)));
        let named = identities
            .iter()
            .flat_map(|identity| own_identities::named_instead(case, node, identity));
        let awaits = [Awaited::Policy, Awaited::ProtectedIdentities]
            .into_iter()
            .chain(contested)
            .chain(named.map(|other| Awaited::Node(other.name.shared())));
        findings.wait(
            Code::SanApiServerIdentityNotAllowed,
            awaits.collect(),
            detail,
        );
        return;
    }
    let is_of_the_cluster = match san {
        San::Dns(name) => names::is_of_the_cluster(case, name),
        San::Ip(_) => false,
    };
    let owners = earlier_claimants(case, node, san)
        .filter(|other| own_identities::has(case, other, san, identities));
    let owner = live_or_first(owners);
    if let Some(owner) = owner.filter(|owner| is_live(owner)) {
        let detail = format!(
            "{known_by}, and control-plane Node {} has it{BY_NAME}",
            owner.name
        );
        findings.add(Code::SanApiServerIdentity, detail);
    } else if !is_of_the_cluster && own_identities::may_be_of_a_machine(san, identities) {
        let detail = format!(
            "{known_by}, and Node {} does not have the label node-role.kubernetes.io/control-plane{BY_NAME}",
            node.name
        );
        let owner = owner.map(|owner| Awaited::Node(owner.name.shared()));
        let own = Awaited::Node(node.name.shared());
        let awaits = [own, Awaited::ProtectedIdentities].into_iter().chain(owner);
        findings.wait(Code::SanApiServerIdentityUnowned, awaits.collect(), detail);
    } else {
        findings.add(Code::SanApiServerIdentity, format!("{known_by}{BY_NAME}"));
    }
}

/// Checks recently protected identities. An API server that is restarted or replaced is missing from
/// the EndpointSlice for a while, but its identities are not free.
fn check_recently_protected(case: &Case<'_>, node: &Node, san: &San, findings: &mut Findings) {
    let recent = || case.evidence.protected.find_recent(san, case.now.monotonic);
    let of = |kind| recent().any(|(identity, _)| identity.kind == kind);
    let is_endpoint = of(IdentityKind::ApiServerEndpoint) && !of(IdentityKind::Service);
    let may = if of(IdentityKind::Service) {
        false
    } else if is_endpoint {
        node.control_plane && !own_identities::is_of_other_machine(case, node, san)
    } else {
        own_identities::is_own_name(node, san)
    };
    if may {
        return;
    }
    if let Some((identity, until)) = recent().max_by_key(|(_, until)| *until) {
        let detail = format!(
            "{san} was protected until recently ({}), and is reserved until {}",
            identity.origin,
            case.now.to_wall(until)
        );
        let mut awaits = vec![Awaited::Time(until)];
        if is_endpoint {
            // A node that joins the control plane gets its label later.
            awaits.push(Awaited::Node(node.name.shared()));
            if node.control_plane {
                awaits.push(Awaited::ProtectedIdentities);
                awaits.extend(own_identities::nodes_named_at(case, san));
            }
        } else if identity.kind != IdentityKind::Service {
            // The API server of this node may come back.
            awaits.push(Awaited::ProtectedIdentities);
        }
        findings.wait(Code::SanRecentlyProtected, awaits, detail);
    }
}

fn check_policy_list(case: &Case<'_>, san: &San, findings: &mut Findings) {
    // Without a Node it is not known whether protected.allowed lets it have the SAN.
    if case.node.is_none() {
        return;
    }
    let protected = &case.policy.spec.protected;
    let listed = match san {
        San::Dns(name) => protected
            .names
            .iter()
            .any(|domain| names::is_within(name, domain)),
        San::Ip(ip) => protected
            .networks
            .iter()
            .any(|network| network.contains(ip)),
    };
    if listed && !is_allowed(case, san) {
        let detail = format!(
            "{san} is protected by the policy's protected.names or protected.networks, and its \
             protected.allowed does not let this node have it"
        );
        findings.add(Code::SanProtected, detail);
    }
}

/// Returns true if the policy allows the requestor this SAN by name.
pub(super) fn is_allowed(case: &Case<'_>, san: &San) -> bool {
    let mut allowed = case.policy.spec.protected.allowed.iter();
    case.node
        .is_some_and(|node| allowed.any(|entry| entry.allows(node, san)))
}
