//! Changes to the policy.

use judge::policy::{self, SHIPPED};
use serde_json::{Value, json};

use super::pools::{Pools, network, one, some};
use crate::policies::{BasePolicy, machine_kinds, merge};
use crate::random::Random;
use crate::vector::Vector;

const SOURCES: [&str; 6] = [
    "Inventory",
    "Machine",
    "MachineExists",
    "DNS",
    "ServingCertificate",
    "Renewal",
];

/// Changes one field, if the policy stays valid.
pub(super) fn change(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let change = match random.below(5) {
        0 | 1 => names(pools, random),
        2 => protected(pools, random),
        3 => proof(random),
        _ => other(random),
    };
    let before = vector.policy.clone();
    let mut policy = before.clone().unwrap_or_else(|| json!({}));
    match policy.get("apiVersion").is_some() {
        true => merge(&mut policy["spec"], &change),
        false => merge(&mut policy, &change),
    }
    vector.policy = Some(policy);
    let is_valid = |base: &BasePolicy| {
        let written = base.written(vector.policy.as_ref());
        policy::parse(&written.to_string()).is_ok()
    };
    if !BasePolicy::ALL.iter().all(is_valid) {
        vector.policy = before;
    }
}

/// Replaces the policy by a shipped one.
pub(super) fn shipped(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let (_, text) = one(SHIPPED, random);
    vector.policy = serde_saphyr::from_str(text).ok();
}

/// Machines are watched if the policy has kinds of them.
pub(super) fn complete(vector: &mut Vector, base: BasePolicy) {
    let written = base.written(vector.policy.as_ref());
    let kinds = written
        .pointer("/spec/sources/machines")
        .and_then(Value::as_array);
    if kinds.is_some_and(|kinds| !kinds.is_empty()) {
        vector.machines.get_or_insert_default();
    }
}

fn names(pools: &Pools, random: &mut Random) -> Value {
    let field = match random.below(8) {
        0 => json!({"max": one(&[1, 2, 3, 4, 256], random)}),
        1 => json!({"dnsOnly": one(&["Allow", "Wait"], random)}),
        2 => json!({"incomplete": one(&["Allow", "Wait"], random)}),
        3 => json!({"serviceLike": one(&["Allow", "Wait", "WaitAlways"], random)}),
        4 => json!({"dnsSuffixes": [one(&["example", "example.com", "corp.example"], random)]}),
        5 => json!({"networks": [network(random).to_string()]}),
        6 => json!({"shared": [network(random).to_string()]}),
        _ => json!({"shared": pools.sans(2, random)}),
    };
    json!({"names": field})
}

fn protected(pools: &Pools, random: &mut Random) -> Value {
    let mut sans = pools.sans(2, random);
    sans.push(pools.san(random));
    sans.sort();
    sans.dedup();
    let field = match random.below(6) {
        0 => json!({"clusterDomains": [one(&["cluster.local", "corp", "example"], random)]}),
        1 => json!({"names": [one(&["example", "node-1", "api.corp.example", "victim"], random)]}),
        2 => json!({"networks": [network(random).to_string()]}),
        3 => json!({"allowed": [{"nodes": "ControlPlane", "sans": sans}]}),
        4 => json!({"allowed": [{"node": one(&["node-*", "cp-*", "*"], random), "sans": sans}]}),
        _ => json!({"allowed": [
            {"node": pools.node(random), "sans": sans},
            {"node": "node-1", "sans": [pools.san(random)]},
        ]}),
    };
    json!({"protected": field})
}

fn proof(random: &mut Random) -> Value {
    let kinds = ["ipAddresses", "nodeName", "dnsNames"];
    let list = |random: &mut Random| some(&SOURCES, 4, random);
    let mut field = json!({});
    for kind in some(&kinds, 2, random) {
        field[kind] = json!({"allOf": some(&SOURCES, 6, random), "anyOf": list(random)});
    }
    if random.once_in(4) {
        field["addressesStableFor"] = json!(one(&["0s", "30s", "5m"], random));
    }
    let reverse = one(&["Optional", "Required"], random);
    json!({"proof": field, "sources": {
        "machines": machine_kinds(),
        "dns": {"suffixes": ["nodes.example.com", "example"], "reverse": reverse},
        "servingCertificate": {"port": 10250},
    }})
}

fn other(random: &mut Random) -> Value {
    match random.below(7) {
        0 => json!({"requestor": {"others": one(&["Ignore", "Deny"], random)}}),
        1 => json!({"requestor": {"credentialId": one(&["Optional", "Required"], random)}}),
        2 => json!({"requestor": {"uid": one(&["Allow", "Deny"], random)}}),
        3 => json!({"requestor": {"groups": ["system:bootstrappers"]}}),
        4 => json!({"request": {"maxExpiration": one(&["10m", "24h", "8760h"], random)}}),
        5 => json!({"request": {"maxAge": one(&["1m", "5m", "15m"], random)}}),
        _ => json!({"proof": {"addressesStableFor": one(&["0s", "30s", "1m", "10m"], random)}}),
    }
}
