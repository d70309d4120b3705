//! Rows 41 to 46: SANs that no node may have, regardless of its Node.

use std::net::IpAddr;

use super::Case;
use super::names::is_within;
use crate::csr::names::San;
use crate::evidence::{Identity, IdentityKind, Node};
use crate::finding::{Awaited, Code, Findings};

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    for san in case.sans() {
        check_identities(case, san, findings);
        check_policy_list(case, san, findings);
        if let (San::Ip(ip), Some(node)) = (san, case.node) {
            check_pod_networks(case, *ip, node, findings);
        }
    }
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
            let detail = format!(
                "{san} is where an API server listens ({}), and Node {} is not of the control plane",
                endpoint.origin, node.name
            );
            findings.add(Code::SanApiServerEndpoint, detail);
        }
    } else if let Some(identity) = of(IdentityKind::ApiServerIdentity) {
        if !is_own_name(node, san) {
            let detail = format!("the API server is known by {san} ({})", identity.origin);
            findings.add(Code::SanApiServerIdentity, detail);
        }
    } else {
        check_recently_protected(case, node, san, findings);
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
    let may = if of(IdentityKind::Service) {
        false
    } else if of(IdentityKind::ApiServerEndpoint) {
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
        findings.wait(
            Code::SanRecentlyProtected,
            vec![Awaited::Time(until)],
            detail,
        );
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

fn is_allowed(case: &Case<'_>, san: &San) -> bool {
    let allowed = &case.policy.spec.protected.allowed;
    case.requestor.as_ref().is_some_and(|requestor| {
        allowed
            .iter()
            .filter(|entry| entry.node == requestor.as_str())
            .flat_map(|entry| &entry.sans)
            .any(|text| San::from_host_text(text).as_ref() == Some(san))
    })
}

/// Checks the pod networks of all Nodes. A kubelet may be able to write a pod network into its own Node
/// while that has none. So the network of a younger Node never denies an older one.
fn check_pod_networks(case: &Case<'_>, ip: IpAddr, node: &Node, findings: &mut Findings) {
    for (network, owner) in case.evidence.nodes.pod_networks(ip) {
        if owner.created > node.created {
            let detail = format!(
                "IP:{ip} is in the pod network {network} of younger Node {}",
                owner.name
            );
            let awaits = vec![Awaited::Node(owner.name.shared())];
            findings.wait(Code::SanPodAddressContested, awaits, detail);
        } else {
            let detail = format!(
                "IP:{ip} is in the pod network {network} of Node {}",
                owner.name
            );
            findings.add(Code::SanPodAddress, detail);
        }
    }
}
