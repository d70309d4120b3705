//! Row 43: identities of the API server that are one control-plane machine's alone.
//!
//! Some distributions list every address of a machine in the certificate of its API server, and in no
//! other one. Such an address is the machine's own, like the one at which the API server listens.

use super::{Case, protected_sans};
use crate::csr::Fingerprint;
use crate::csr::names::San;
use crate::evidence::{Identity, IdentityKind, Node, ServedCertificate};
use crate::finding::Awaited;

/// Returns true if this identity of the API server is the Node's own. `identities` are all that protect
/// the SAN.
pub(super) fn has(case: &Case<'_>, node: &Node, san: &San, identities: &[Identity]) -> bool {
    is_own_name(node, san) || is_of_own_api_server(case, node, san, identities)
}

/// Returns true for the name of a control-plane node: the serving certificate that kubeadm creates has
/// the name of its node.
pub(super) fn is_own_name(node: &Node, san: &San) -> bool {
    match san {
        San::Dns(name) => node.control_plane && name.as_str() == node.name.as_str(),
        San::Ip(_) => false,
    }
}

/// Returns true if all that protects the SAN could belong to one machine. A node that joins the control
/// plane gets its label after other API servers' certificates list it. What clients are told to connect to
/// is the control plane's.
pub(super) fn may_be_of_a_machine(san: &San, identities: &[Identity]) -> bool {
    identities.iter().all(|identity| {
        let certificate = identity.certificate.as_ref();
        certificate.is_some_and(|certificate| certificate.host.as_ref() != Some(san))
    })
}

/// Returns true if the SAN is only in certificates that are served at endpoints of this Node. What is read
/// through a Service or a load balancer may be the same certificate.
fn is_of_own_api_server(case: &Case<'_>, node: &Node, san: &San, identities: &[Identity]) -> bool {
    if !node.control_plane || !may_be_of_a_machine(san, identities) {
        return false;
    }
    let mut own: Vec<Fingerprint> = Vec::new();
    let mut elsewhere: Vec<Fingerprint> = Vec::new();
    for identity in identities {
        let Some(certificate) = &identity.certificate else {
            return false;
        };
        let endpoints = case.evidence.protected.endpoints_of(identity);
        if endpoints.is_empty() {
            elsewhere.push(certificate.sha256);
        } else if !named_instead(case, node, identity).is_empty() {
            return false;
        } else if endpoints.iter().all(|at| owns_endpoint(case, node, at)) {
            own.push(certificate.sha256);
        } else {
            return false;
        }
    }
    // A SAN of another API server's certificate that cannot be read, or that had it recently, does not belong to
    // this machine alone.
    let recent = case.evidence.protected.find_recent(san, case.now.monotonic);
    let is_own = |certificate: &ServedCertificate| {
        let host = certificate.host.as_ref();
        own.contains(&certificate.sha256) || host.is_some_and(|at| owns_endpoint(case, node, at))
    };
    let mut recent =
        recent.filter(|(identity, _)| identity.kind != IdentityKind::ApiServerEndpoint);
    let was_shared = recent.any(|(identity, _)| !identity.certificate.as_ref().is_some_and(is_own));
    !own.is_empty()
        && elsewhere.iter().all(|sha256| own.contains(sha256))
        && !was_shared
        && case.evidence.protected.has_all_certificates()
}

/// The other Nodes whose names a certificate has instead of this Node's. A Node can claim the endpoint of a
/// load balancer.
pub(super) fn named_instead<'a>(
    case: &Case<'a>,
    node: &Node,
    identity: &Identity,
) -> Vec<&'a Node> {
    let sans = || case.evidence.protected.sans_of(identity);
    if sans().any(|san| node.is_own_name(san)) {
        return Vec::new();
    }
    sans()
        .filter_map(|san| case.other_named(node, san))
        .collect()
}

/// The endpoints that the Node claims and does not own. Their certificates become its own when the claims of
/// other Nodes end.
pub(super) fn contested_endpoints(
    case: &Case<'_>,
    node: &Node,
    identities: &[Identity],
) -> Vec<San> {
    let endpoints = identities
        .iter()
        .flat_map(|identity| case.evidence.protected.endpoints_of(identity));
    endpoints
        .filter(|at| case.evidence.nodes.claim(at, &node.name).is_some())
        .filter(|at| !is_of_other_machine(case, node, at) && !owns_endpoint(case, node, at))
        .collect()
}

/// Returns true if the certificate at this endpoint is another machine's. Where certificates have the names
/// of nodes, a control-plane node has only endpoints whose certificates have its own. The certificate of an
/// API server that is being restarted stays the one at its endpoint.
pub(super) fn is_of_other_machine(case: &Case<'_>, node: &Node, endpoint: &San) -> bool {
    let is_other_node = |san: &San| case.other_named(node, san).is_some();
    let protected = &case.evidence.protected;
    let now = case.now.monotonic;
    San::from_host_text(node.name.as_str())
        .is_some_and(|name| protected.is_of_other_name(endpoint, &name, is_other_node, now))
}

/// The Nodes whose names are in the certificate at an endpoint: without them it is no other machine's.
pub(super) fn nodes_named_at(case: &Case<'_>, endpoint: &San) -> Vec<Awaited> {
    let names = case
        .evidence
        .protected
        .served_at(endpoint, case.now.monotonic);
    let nodes = names.into_iter();
    let nodes = nodes.filter_map(|san| case.evidence.nodes.with_own_name(san));
    nodes
        .map(|node| Awaited::Node(node.name.shared()))
        .collect()
}

/// Returns true if no other Node of the control plane, or that the policy allows it, can have this endpoint.
/// One that is asked for too is decided on by the rules of claims.
fn owns_endpoint(case: &Case<'_>, node: &Node, endpoint: &San) -> bool {
    let nodes = &case.evidence.nodes;
    let Some(own) = nodes.claim(endpoint, &node.name) else {
        return false;
    };
    if is_of_other_machine(case, node, endpoint) {
        return false;
    }
    let requestor = case.request.object.requestor.node();
    if requestor.as_ref() == Some(&node.name) && case.sans().contains(endpoint) {
        return true;
    }
    let mut claimants = nodes.claimants(endpoint);
    claimants.all(|(other, claim)| {
        let may_have_it =
            other.control_plane || protected_sans::is_allowed(&case.as_asked_by(other), endpoint);
        other.name == node.name || !may_have_it || own.precedes(&claim)
    })
}
