//! Rows 41 to 44: SANs that no node may have, regardless of its Node.

use super::Case;
use super::names::is_within;
use crate::csr::names::San;
use crate::evidence::{Identity, IdentityKind, Node};
use crate::finding::{Awaited, Code, Findings};

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
        }
    } else if let Some(identity) = of(IdentityKind::ApiServerIdentity) {
        if !is_own_name(node, san) {
            check_identity(node, san, &identity.origin, findings);
        }
    } else {
        check_recently_protected(case, node, san, findings);
    }
}

/// Row 42: an API server's endpoint, asked for by a Node without the label of the control plane. A node
/// that joins the control plane gets its label after its API server has started.
fn check_endpoint(case: &Case<'_>, node: &Node, san: &San, origin: &str, findings: &mut Findings) {
    let mut claimants = case.evidence.nodes.claimants(san);
    let owner = claimants.find(|(other, _)| other.control_plane && other.address(san).is_some());
    if let Some((owner, _)) = owner
        && !owner.lost
        && !owner.terminating
    {
        let detail = format!(
            "{san} is where an API server listens ({origin}), on control-plane Node {}, and Node {} is not \
             of the control plane",
            owner.name, node.name
        );
        findings.add(Code::SanApiServerEndpoint, detail);
    } else {
        let detail = format!(
            "{san} is where an API server listens ({origin}), and Node {} does not have the label \
             node-role.kubernetes.io/control-plane",
            node.name
        );
        // A new machine may have the address of a control-plane node that is gone.
        let owner = owner.map(|(owner, _)| Awaited::Node(owner.name.shared()));
        let own = Awaited::Node(node.name.shared());
        let awaits = std::iter::once(own).chain(owner).collect();
        findings.wait(Code::SanApiServerEndpointUnowned, awaits, detail);
    }
}

/// Row 44: a name or address of the API server that is not one machine's.
fn check_identity(node: &Node, san: &San, origin: &str, findings: &mut Findings) {
    let known_by = format!("the API server is known by {san} ({origin})");
    if node.control_plane {
        let detail =
            format!("{known_by}; the policy's protected.allowed lets a control-plane node have it");
        findings.wait(
            Code::SanApiServerIdentityNotAllowed,
            vec![Awaited::Policy],
            detail,
        );
    } else {
        findings.add(Code::SanApiServerIdentity, known_by);
    }
}

/// Returns true for the name of a control-plane node: the serving certificate that kubeadm creates has
/// the name of its node.
fn is_own_name(node: &Node, san: &San) -> bool {
    match san {
        San::Dns(name) => node.control_plane && name.as_str() == node.name.as_str(),
        San::Ip(_) => false,
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
        node.control_plane
    } else {
        is_own_name(node, san)
    };
    if may {
        return;
    }
    if let Some((identity, until)) = recent().max_by_key(|(_, until)| *until) {
        let detail = format!(
            "{san} was protected until lately ({}), and is nobody's before {}",
            identity.origin,
            case.now.to_wall(until)
        );
        let mut awaits = vec![Awaited::Time(until)];
        if is_endpoint {
            // A node that joins the control plane gets its label later.
            awaits.push(Awaited::Node(node.name.shared()));
        }
        findings.wait(Code::SanRecentlyProtected, awaits, detail);
    }
}

fn check_policy_list(case: &Case<'_>, san: &San, findings: &mut Findings) {
    let protected = &case.policy.spec.protected;
    let listed = match san {
        San::Dns(name) => protected.names.iter().any(|domain| is_within(name, domain)),
        San::Ip(ip) => protected
            .networks
            .iter()
            .any(|network| network.contains(ip)),
    };
    if listed && !is_allowed(case, san) {
        let detail = format!("{san} is protected by the policy");
        findings.add(Code::SanProtected, detail);
    }
}

/// Returns true if the policy allows the requestor this SAN by name.
pub(super) fn is_allowed(case: &Case<'_>, san: &San) -> bool {
    let allowed = &case.policy.spec.protected.allowed;
    case.requestor.as_ref().is_some_and(|requestor| {
        allowed
            .iter()
            .filter(|entry| entry.node == requestor.as_str())
            .flat_map(|entry| &entry.sans)
            .any(|text| San::from_host_text(text).as_ref() == Some(san))
    })
}
