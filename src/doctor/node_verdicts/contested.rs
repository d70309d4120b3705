//! Names and addresses that several Nodes claim, with their claimants.

use std::collections::{BTreeMap, BTreeSet};

use super::lift::{Lift, lift};
use super::{Contested, MAX_NAMED, Refused};
use judge::csr::names::San;
use judge::evidence::Evidence;
use judge::finding::Code;

/// All that keeps a request waiting because another Node claims it too.
pub(super) fn contested(refused: &[Refused<'_>], evidence: &Evidence) -> Vec<Contested> {
    let mut all: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for one in refused {
        for (san, codes) in &one.sans {
            if codes.contains(&Code::ProviderIdContested)
                && let Some(node) = evidence.nodes().get(one.node)
                && let Some(id) = &node.provider_id
            {
                let claimants = evidence.nodes().with_provider_id(id);
                let names = claimants.map(|(node, _)| node.name.as_str());
                all.entry(format!("provider ID {id}"))
                    .or_insert_with(|| names.collect());
            }
            let of_san =
                |code: &Code| lift(*code) == Lift::Contested && *code != Code::ProviderIdContested;
            if codes.iter().any(of_san) {
                let known = all
                    .entry(san.to_string())
                    .or_insert_with(|| claimants(san, evidence));
                known.insert(one.node);
            }
        }
    }
    all.into_iter()
        // An address can be in the pod network of its own Node.
        .filter(|(_, nodes)| nodes.len() > 1)
        .map(|(claimed, nodes)| Contested {
            claimed,
            more: nodes.len().saturating_sub(MAX_NAMED),
            nodes: nodes
                .into_iter()
                .take(MAX_NAMED)
                .map(str::to_owned)
                .collect(),
        })
        .collect()
}

/// The Nodes that claim a SAN: by an address, by their name, or by a pod network.
fn claimants<'a>(san: &San, evidence: &'a Evidence) -> BTreeSet<&'a str> {
    let nodes = evidence.nodes();
    let mut names: BTreeSet<&str> = nodes
        .claimants(san)
        .map(|(node, _)| node.name.as_str())
        .collect();
    names.extend(nodes.with_own_name(san).map(|node| node.name.as_str()));
    match san {
        San::Dns(name) => {
            names.extend(nodes.named_alike(name).map(|node| node.name.as_str()));
        }
        San::Ip(ip) => {
            let networks = nodes.pod_networks(*ip);
            names.extend(networks.map(|(_, node, _)| node.name.as_str()));
        }
    }
    names
}
