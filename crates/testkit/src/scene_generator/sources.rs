//! Changes to everything else that is known of the cluster.

use judge::csr::names::San;
use judge::evidence::{Inventory, Machine, Source};
use serde_json::{Value, json};

use super::pools::{Pools, age, network, one, some};
use crate::cluster::{
    AnswerSpec, CertificateSpec, KeySpec, MachineSpec, ProtectedKind, ProtectedSpec, QuestionSpec,
    ServedCertificateSpec, SourceSpec,
};
use crate::random::Random;
use crate::vector::Vector;

/// An origin that the scene does not have.
fn origin(vector: &Vector) -> String {
    let count = vector.protected.len() + vector.also_protected.len();
    let mut origins = vector.protected.iter().chain(&vector.also_protected);
    let mut name = format!("origin {count}");
    while origins.any(|spec| spec.origin == name) {
        name.push('x');
    }
    name
}

pub(super) fn protect(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let kinds = [
        ProtectedKind::Service,
        ProtectedKind::ApiServerEndpoint,
        ProtectedKind::ApiServerEndpoint,
        ProtectedKind::ApiServerIdentity,
    ];
    let kind = *one(&kinds, random);
    let sans = match kind {
        ProtectedKind::ApiServerIdentity => pools.sans(3, random),
        ProtectedKind::Service | ProtectedKind::ApiServerEndpoint => {
            vec![pools.ip(random).to_string()]
        }
    };
    let is_network = kind == ProtectedKind::Service && random.once_in(2);
    vector.also_protected.push(ProtectedSpec {
        origin: origin(vector),
        kind,
        sans: if is_network { Vec::new() } else { sans },
        networks: if is_network {
            vec![network(random)]
        } else {
            Vec::new()
        },
        until: random.once_in(4).then(|| age(random)),
        certificate: None,
    });
}

/// An endpoint with its certificate, or a certificate alone.
pub(super) fn api_server(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let endpoint = pools.ip(random).to_string();
    if !random.once_in(3) {
        vector.also_protected.push(ProtectedSpec {
            origin: origin(vector),
            kind: ProtectedKind::ApiServerEndpoint,
            sans: vec![endpoint.clone()],
            until: random.once_in(5).then(|| age(random)),
            ..ProtectedSpec::default()
        });
    }
    let mut sans = pools.sans(3, random);
    if random.once_in(2) {
        let node = pools.node(random);
        sans.extend(Some(node).filter(|name| San::from_host_text(name).is_some()));
    }
    if !random.once_in(3) {
        sans.push(endpoint.clone());
    }
    let host = match random.below(6) {
        0 => None,
        1 => Some(pools.san(random)),
        _ => Some(endpoint),
    };
    vector.also_protected.push(ProtectedSpec {
        origin: origin(vector),
        kind: ProtectedKind::ApiServerIdentity,
        sans,
        networks: Vec::new(),
        until: random.once_in(5).then(|| age(random)),
        certificate: Some(ServedCertificateSpec {
            host,
            der: (*one(&["cp-1", "cp-2", "cp-3"], random)).to_owned(),
        }),
    });
}

pub(super) fn unprotect(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let mut all: Vec<_> = vector
        .protected
        .iter_mut()
        .chain(&mut vector.also_protected)
        .collect();
    if !all.is_empty() {
        let index = random.below(all.len());
        all[index].until = Some(age(random)).filter(|_| !random.once_in(4));
    }
}

pub(super) fn drop_origin(vector: &mut Vector, _: &Pools, random: &mut Random) {
    match random.below(3) {
        0 => drop(vector.also_protected.pop()),
        _ if vector.protected.is_empty() => {}
        _ => drop(
            vector
                .protected
                .remove(random.below(vector.protected.len())),
        ),
    }
}

pub(super) fn key(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let seed = pools.node(random);
    // A key has one owner.
    vector.keys.retain(|key| key.seed != seed);
    vector.keys.push(KeySpec {
        node: pools.node(random),
        seed,
    });
}

pub(super) fn failing(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let source = one(&Source::ALL, random).as_str().to_owned();
    let spec = SourceSpec {
        synced: !random.once_in(5),
        failing: Some(age(random)).filter(|_| !random.once_in(5)),
    };
    vector.sources.insert(source, spec);
}

pub(super) fn inventory(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let mut file = vector.inventory.clone().unwrap_or_else(|| json!({}));
    let texts = |kind: bool, random: &mut Random| {
        let mut sans = pools.sans(3, random);
        sans.retain(|san| san.parse::<std::net::IpAddr>().is_ok() == kind);
        sans.dedup();
        sans
    };
    let (list, entry) = match random.below(3) {
        0 => {
            let patterns = ["node-*", "*", "cp-*", "node-1", "*.example"];
            let suffixes = some(&["example", "example.com"], 3, random);
            let networks: Vec<String> = (0..random.below(2))
                .map(|_| network(random).to_string())
                .collect();
            let entry = json!({"nodes": one(&patterns, random), "networks": networks, "dnsSuffixes": suffixes});
            ("patterns", entry)
        }
        _ => {
            let (addresses, names) = (texts(true, random), texts(false, random));
            let entry = json!({"name": pools.node(random), "addresses": addresses, "names": names});
            ("nodes", entry)
        }
    };
    let entries = file
        .as_object_mut()
        .and_then(|file| file.entry(list).or_insert_with(|| json!([])).as_array_mut());
    if let Some(entries) = entries {
        let is_same =
            |other: &Value| other.get("name").is_some() && other.get("name") == entry.get("name");
        entries.retain(|other| !is_same(other));
        entries.push(entry);
    }
    let before = vector.inventory.replace(file);
    let file = vector.inventory_file().unwrap_or_default();
    if Inventory::parse(&file.to_string()).is_err() {
        vector.inventory = before;
    }
}

fn machine_addresses(pools: &Pools, random: &mut Random) -> Vec<String> {
    let mut all = pools.sans(3, random);
    for text in &mut all {
        if random.once_in(6) && text.contains('.') {
            text.push_str("/24");
        }
    }
    all.retain(|text| Machine::parse_address(text).is_some());
    all
}

pub(super) fn machine(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let kind = *one(&["Machine", "Machine", "Instance", "Server"], random);
    let provider_id = (*one(&["test://1", "test://2"], random)).to_owned();
    let machines = vector.machines.get_or_insert_default();
    machines.push(MachineSpec {
        name: format!("m{}", machines.len()),
        node: Some(pools.node(random)).filter(|_| !random.once_in(6)),
        kind: kind.to_owned(),
        by_provider_id: kind == "Instance",
        provider_id: Some(provider_id).filter(|_| !random.once_in(6)),
        checks_provider_id: kind != "Server",
        addresses: machine_addresses(pools, random),
        age: age(random),
        terminating: random.once_in(6),
    });
}

/// The provider ID or the Machine of the requestor's Node.
pub(super) fn change_machine(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let first = vector.nodes.first_mut();
    let machines = vector
        .machines
        .get_or_insert_with(|| vec![MachineSpec::default()]);
    if let Some(node) = first {
        node.provider_id
            .get_or_insert_with(|| "test://1".to_owned());
    }
    if machines.is_empty() {
        return;
    }
    let index = random.below(machines.len());
    let machine = &mut machines[index];
    match random.below(5) {
        0 => machine.addresses = machine_addresses(pools, random),
        1 => machine.addresses.extend(machine_addresses(pools, random)),
        2 => machine.age = age(random),
        3 => machine.terminating = !machine.terminating,
        _ => machine.node = Some(pools.node(random)),
    }
}

pub(super) fn namespace(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let all = ["prod", "example", "com", "corp", "node-1"];
    vector.namespaces.push((*one(&all, random)).to_owned());
}

fn certificate(vector: &Vector, pools: &Pools, random: &mut Random) -> CertificateSpec {
    let mut sans = pools.sans(2, random);
    // Often one that proves the request.
    if random.once_in(2) {
        let asked = vector
            .nodes
            .iter()
            .flat_map(|node| node.addresses.iter().flatten());
        sans.extend(
            asked
                .map(|(_, value)| value.clone())
                .filter(|text| San::from_host_text(text).is_some()),
        );
    }
    CertificateSpec {
        node: pools.node(random),
        age: age(random),
        sans,
    }
}

pub(super) fn issued(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    vector.issued.push(certificate(vector, pools, random));
}

pub(super) fn answer(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let mut answer = AnswerSpec {
        to: QuestionSpec::Certificate(pools.ip(random)),
        sans: None,
        empty: None,
        certificate: None,
        failed: None,
        holds: age(random),
    };
    let is_dns = random.once_in(3);
    if is_dns {
        answer.to = match random.below(2) {
            0 => QuestionSpec::Names(pools.ip(random)),
            _ => {
                let name = pools.node(random);
                let suffix = one(&["", ".example", ".nodes.example.com"], random);
                QuestionSpec::Addresses(format!("{name}{suffix}"))
            }
        };
    }
    match random.below(6) {
        0 => answer.failed = Some("timeout".to_owned()),
        1 => answer.empty = Some("nothing".to_owned()),
        _ if is_dns => {
            let by_name = matches!(answer.to, QuestionSpec::Addresses(_));
            let mut sans = pools.sans(3, random);
            sans.retain(|san| san.parse::<std::net::IpAddr>().is_ok() == by_name);
            // An answer without any is an empty one.
            match sans.is_empty() {
                true => answer.empty = Some("nothing".to_owned()),
                false => answer.sans = Some(sans),
            }
        }
        _ => answer.certificate = Some(certificate(vector, pools, random)),
    }
    let asked = format!("{:?}", answer.to);
    vector
        .answers
        .retain(|other| format!("{:?}", other.to) != asked);
    vector.answers.push(answer);
}
