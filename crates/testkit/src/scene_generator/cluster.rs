//! Changes to the Nodes.

use serde_json::json;

use super::pools::{Pools, age, any_age, network, one};
use super::request::first_seen as event;
use crate::cluster::{AnswerSpec, CertificateSpec, NodeSpec, QuestionSpec};
use crate::random::Random;
use crate::strategies::{DNS_TYPES, IP_TYPES, address};
use crate::vector::Vector;

/// Two of three times the requestor's Node, which stands first.
fn node<'a>(vector: &'a mut Vector, random: &mut Random) -> Option<&'a mut NodeSpec> {
    let count = vector.nodes.len() + vector.others.len();
    if count == 0 {
        return None;
    }
    let index = if random.once_in(2) {
        random.below(count)
    } else {
        0
    };
    vector.nodes.iter_mut().chain(&mut vector.others).nth(index)
}

fn typed(text: &str, random: &mut Random) -> std::collections::BTreeMap<String, String> {
    let is_ip = text.parse::<std::net::IpAddr>().is_ok();
    let types = if is_ip { IP_TYPES } else { DNS_TYPES };
    let kind = *one(&types[..], random);
    address(kind, text)
}

pub(super) fn add_address(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let text = pools.text(random);
    if let Some(node) = node(vector, random) {
        let at = random.below(node.addresses.len() + 1);
        node.addresses.insert(at, typed(&text, random));
    }
}

pub(super) fn drop_address(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let Some(node) = node(vector, random) else {
        return;
    };
    if !node.addresses.is_empty() {
        node.addresses.remove(random.below(node.addresses.len()));
    }
}

pub(super) fn state(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let Some(node) = node(vector, random) else {
        return;
    };
    match random.below(5) {
        0 => node.terminating = !node.terminating,
        1 => node.lost = !node.lost,
        2 => node.uninitialized = !node.uninitialized,
        3 => node.uid = Some((*one(&["uid-a", "uid-b"], random)).to_owned()),
        _ => node.control_plane = !node.control_plane,
    }
}

pub(super) fn control_plane(vector: &mut Vector, _: &Pools, random: &mut Random) {
    if let Some(node) = node(vector, random) {
        node.control_plane = !node.control_plane;
    }
}

pub(super) fn ages(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let Some(node) = node(vector, random) else {
        return;
    };
    match random.below(3) {
        0 => node.age = any_age(random),
        1 => node.stable = Some(age(random)),
        _ => {
            node.age = age(random);
            node.stable = None;
        }
    }
}

pub(super) fn first_seen(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let seen = event(random);
    if let Some(node) = node(vector, random) {
        node.first_seen = seen;
    }
}

fn is_known(vector: &Vector, name: &str) -> bool {
    let mut nodes = vector.nodes.iter().chain(&vector.others);
    nodes.any(|node| node.name == name)
}

/// Adds a Node, or a later state of one that is known.
fn push(vector: &mut Vector, mut node: NodeSpec, random: &mut Random) {
    let is_known = is_known(vector, &node.name);
    if (is_known || random.once_in(3)) && node.watched.is_none() {
        node.watched = Some(age(random));
    }
    vector.others.push(node);
}

pub(super) fn add_node(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let name = pools.node(random);
    let mut addresses: Vec<_> = (0..random.below(4))
        .map(|_| typed(&pools.text(random), random))
        .collect();
    if random.once_in(2) {
        addresses.push(typed(&name, random));
    }
    let node = NodeSpec {
        name,
        addresses,
        control_plane: random.once_in(4),
        age: age(random),
        ..NodeSpec::default()
    };
    push(vector, node, random);
}

/// A Node with the addresses of another one.
pub(super) fn copy_node(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let name = pools.node(random);
    let Some(node) = node(vector, random).cloned() else {
        return;
    };
    let copy = NodeSpec {
        name,
        watched: node.watched.map(|_| age(random)),
        ..node
    };
    push(vector, copy, random);
}

/// A watch event with a changed state of a Node.
pub(super) fn later_event(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let Some(mut later) = node(vector, random).cloned() else {
        return;
    };
    later.watched = Some(age(random));
    match random.below(6) {
        0 => later.addresses.clear(),
        1 => later.addresses.reverse(),
        2 => later.uid = Some("uid-later".to_owned()),
        3 => later.pod_cidrs.push(network(random)),
        _ => later.addresses.push(typed(&pools.text(random), random)),
    }
    vector.others.push(later);
}

pub(super) fn pod_cidr(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let Some(node) = node(vector, random) else {
        return;
    };
    match random.below(4) {
        0 => node.pod_cidrs.clear(),
        _ => node.pod_cidrs.push(network(random)),
    }
    node.pod_cidrs.sort();
    node.pod_cidrs.dedup();
}

pub(super) fn provider_id(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let Some(node) = node(vector, random) else {
        return;
    };
    let id = one(&["test://1", "test://1", "test://2", ""], random);
    node.provider_id = Some((*id).to_owned()).filter(|_| !random.once_in(5));
}

pub(super) fn drop_node(vector: &mut Vector, _: &Pools, random: &mut Random) {
    match random.below(3) {
        0 => vector.nodes.clear(),
        1 => drop(vector.others.pop()),
        _ => vector.others.clear(),
    }
}

/// Nodes that all list one more name or address of the requestor's Node, around the limits of the claimants that
/// are asked, compared, and examined.
pub(super) fn crowd(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let text = pools.san(random);
    let watched = random.once_in(2).then(|| age(random));
    let count = match random.below(60) {
        0 => 1022 + random.below(5),
        1..=10 => 62 + random.below(5),
        _ => 1 + random.below(5),
    };
    let mut nodes = vector.nodes.iter().chain(&vector.others);
    if nodes.any(|node| node.name.starts_with("crowd-")) {
        return;
    }
    let Some(own) = vector.nodes.first_mut() else {
        return;
    };
    own.addresses.push(typed(&text, random));
    // Rules all others out.
    if vector.inventory.is_none() && random.once_in(3) {
        let is_ip = text.parse::<std::net::IpAddr>().is_ok();
        let list = if is_ip { "addresses" } else { "names" };
        vector.inventory = Some(json!({"nodes": [{"name": own.name, list: [text]}]}));
    }
    super::request::names_of_node(vector, pools, random);
    let is_answered = count < 10 && random.once_in(2);
    for index in 0..count {
        let name = format!("crowd-{index}");
        let ip = std::net::IpAddr::from([10, 20, (index / 250) as u8, (index % 250) as u8 + 1]);
        if is_answered && !random.once_in(8) {
            let certificate = CertificateSpec {
                node: name.clone(),
                age: age(random),
                sans: vec![text.clone()],
            };
            vector.answers.push(AnswerSpec {
                to: QuestionSpec::Certificate(ip),
                sans: None,
                empty: None,
                certificate: Some(certificate),
                failed: None,
                holds: age(random),
            });
        }
        vector.others.push(NodeSpec {
            name,
            addresses: vec![address("InternalIP", &ip.to_string()), typed(&text, random)],
            watched,
            ..NodeSpec::default()
        });
    }
}
