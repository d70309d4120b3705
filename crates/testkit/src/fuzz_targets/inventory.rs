//! Text of an inventory: it is refused, or its lookups survive serialization, no SAN belongs to two
//! nodes, and a SAN of one node is denied to all others.

use std::sync::LazyLock;

use judge::Decision;
use judge::csr::Request;
use judge::csr::names::{NodeName, San};
use judge::evidence::{Fact, Inventory, InventoryFile, InventoryMatch};

use crate::now;
use crate::policies::BasePolicy;
use crate::vector::{Vector, request_pem};

/// Maximum number of entries of one inventory that are compared pairwise.
const MAX_COMPARED: usize = 32;

/// Checks any text as an inventory.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(inventory) = Inventory::parse(text) else {
        return;
    };
    let file: InventoryFile = serde_saphyr::from_str(text).expect("it has been read");
    let written = serde_json::to_string(&file).expect("what was read can be written");
    let again = Inventory::parse(&written).unwrap_or_else(|why| panic!("{why} in:\n{written}"));

    let listed = listed(&file);
    for (owner, san) in &listed {
        assert!(
            matches!(inventory.lookup(owner, san), InventoryMatch::Listed(_)),
            "{san} is not {owner}'s"
        );
        for (other, _) in &listed {
            let says = inventory.lookup(other, san);
            assert_eq!(says, again.lookup(other, san), "written as:\n{written}");
            let is_denied = matches!(says, InventoryMatch::Conflict(_));
            assert!(other == owner || is_denied, "{san} of {owner} for {other}");
        }
    }
    let stranger = NodeName::parse("a-node-that-no-inventory-names").expect("a name");
    for (_, san) in &listed {
        let says = inventory.lookup(&stranger, san);
        let is_own = listed.iter().any(|(owner, _)| *owner == stranger);
        assert!(
            is_own || matches!(says, InventoryMatch::Conflict(_)),
            "{san}"
        );
    }
    judged(inventory);
}

/// Each node with each of its names and addresses.
fn listed(file: &InventoryFile) -> Vec<(NodeName, San)> {
    let mut all = Vec::new();
    for node in &file.nodes {
        let name = NodeName::parse(&node.name).expect("it has been checked");
        let addresses = node
            .addresses
            .iter()
            .filter_map(|text| San::from_ip_text(text));
        let names = node
            .names
            .iter()
            .filter_map(|text| San::from_dns_text(text));
        all.extend(addresses.chain(names).map(|san| (name.clone(), san)));
    }
    all.truncate(MAX_COMPARED);
    all
}

/// Judges the genuine request of the vectors. A policy that requires the inventory approves it only if
/// the inventory lists the node's address.
fn judged(inventory: Inventory) {
    static GENUINE: LazyLock<(Request, NodeName, San)> = LazyLock::new(|| {
        let vector = Vector::genuine();
        let request = Request::read(vector.object(), request_pem(&vector.request).as_bytes());
        let node = NodeName::parse("node-1").expect("a name");
        (
            request,
            node,
            San::from_ip_text("10.0.0.1").expect("an address"),
        )
    });
    let (request, node, address) = &*GENUINE;
    let says = inventory.lookup(node, address);
    let mut evidence = Vector::genuine().evidence();
    evidence.apply(Fact::Inventory(Box::new(inventory)), now());
    let of = |base: BasePolicy| {
        let judged = judge::judge(request, &base.with(None), &evidence, now());
        judged.verdict.decision()
    };
    match says {
        InventoryMatch::Listed(_) => {}
        InventoryMatch::Conflict(_) => assert_eq!(of(BasePolicy::Default), Decision::Deny),
        InventoryMatch::Unlisted => assert_ne!(of(BasePolicy::Strict), Decision::Approve),
    }
}

/// The inventories of all vectors, and the example.
pub fn seeds() -> Vec<Vec<u8>> {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/inventory.yaml");
    let mut texts = vec![std::fs::read_to_string(example).unwrap()];
    for vector in Vector::all() {
        if let Some(inventory) = vector.inventory_file() {
            texts.push(inventory.to_string());
            texts.push(serde_saphyr::to_string(&inventory).unwrap());
        }
    }
    texts.sort_unstable();
    texts.dedup();
    texts.into_iter().map(String::into_bytes).collect()
}
