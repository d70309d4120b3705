//! Addresses that are not one Node's alone, and Nodes under the cluster's own domain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{MAX_NAMED, Refused, SharedAddress, VirtualAddress};
use judge::csr::names::{DnsName, San};
use judge::evidence::{Evidence, IdentityKind, Node, reserved_kind};
use judge::finding::Code;
use judge::policy::Policy;

/// Properties of the cluster's addresses and names.
pub(super) struct Addresses {
    pub(super) virtual_ones: Vec<VirtualAddress>,
    pub(super) shared: Vec<SharedAddress>,
    pub(super) under_cluster_domain: Vec<String>,
}

pub(super) fn addresses(
    evidence: &Evidence,
    policy: &Policy,
    refused: &[Refused<'_>],
) -> Addresses {
    let mut holders: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
    for node in evidence.nodes().iter() {
        for address in &node.addresses {
            if let San::Ip(ip) = address.san {
                holders.entry(ip).or_default().insert(node.name.as_str());
            }
        }
    }
    let shared = holders.iter().filter(|(_, nodes)| nodes.len() > 1);
    Addresses {
        virtual_ones: virtual_ones(evidence, &holders, refused),
        shared: shared
            .map(|(ip, nodes)| SharedAddress {
                address: ip.to_string(),
                count: nodes.len(),
                nodes: named(nodes.iter().copied()),
                allowed: is_allowed(*ip, policy),
            })
            .collect(),
        under_cluster_domain: evidence
            .nodes()
            .iter()
            .filter(|node| is_under_cluster_domain(node, evidence, policy))
            .map(|node| node.name.to_string())
            .collect(),
    }
}

fn is_allowed(ip: IpAddr, policy: &Policy) -> bool {
    let mut shared = policy.spec.names.shared.iter();
    shared.any(|shared| shared.contains(&San::Ip(ip)))
}

/// The addresses in API servers' certificates and in `cluster-info` that no control-plane node has, or
/// several have, or one has without being allowed to. Where there are no control-plane nodes, none can be told from
/// a machine's own.
fn virtual_ones(
    evidence: &Evidence,
    holders: &BTreeMap<IpAddr, BTreeSet<&str>>,
    refused: &[Refused<'_>],
) -> Vec<VirtualAddress> {
    let not_allowed: BTreeSet<&San> = refused
        .iter()
        .flat_map(|one| &one.sans)
        .filter(|(_, codes)| codes.contains(&Code::SanApiServerIdentityNotAllowed))
        .map(|(san, _)| san)
        .collect();
    let is_control_plane = |name: &str| {
        let node = evidence.nodes().get(name);
        node.is_some_and(|node| node.control_plane)
    };
    if !evidence.nodes().iter().any(|node| node.control_plane) {
        return Vec::new();
    }
    let texts = evidence.protected().iter().map(|(_, text)| text);
    let ips: BTreeSet<IpAddr> = texts
        .filter_map(|text| text.strip_prefix("IP:")?.parse().ok())
        .collect();
    let is_of_api_server = |ip: &IpAddr| {
        let kinds: BTreeSet<IdentityKind> = evidence
            .protected()
            .find(&San::Ip(*ip))
            .map(|identity| identity.kind)
            .collect();
        kinds.contains(&IdentityKind::ApiServerIdentity)
            && !kinds.contains(&IdentityKind::Service)
            && !kinds.contains(&IdentityKind::ApiServerEndpoint)
            && reserved_kind(*ip).is_none()
    };
    let ips = ips.into_iter().filter(is_of_api_server);
    ips.filter_map(|ip| {
        let nodes: Vec<&str> = holders
            .get(&ip)
            .into_iter()
            .flatten()
            .copied()
            .filter(|name| is_control_plane(name))
            .collect();
        (nodes.len() != 1 || not_allowed.contains(&San::Ip(ip))).then(|| VirtualAddress {
            address: ip.to_string(),
            nodes: named(nodes.into_iter()),
        })
    })
    .collect()
}

fn named<'a>(nodes: impl Iterator<Item = &'a str>) -> Vec<String> {
    nodes.take(MAX_NAMED).map(str::to_owned).collect()
}

fn is_under_cluster_domain(node: &Node, evidence: &Evidence, policy: &Policy) -> bool {
    let Ok(name) = DnsName::parse(node.name.as_str().as_bytes()) else {
        return false;
    };
    let discovered = evidence.protected().cluster_domains();
    let discovered = discovered.map(|(domain, _)| domain.clone());
    let of_policy = policy.spec.protected.cluster_domains.iter();
    let of_policy = of_policy.filter_map(|domain| DnsName::parse(domain.as_bytes()).ok());
    discovered
        .chain(of_policy)
        .any(|domain| name.is_within(&domain))
}
