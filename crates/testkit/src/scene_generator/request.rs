//! Changes to the request, its object and its requestor.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::SignedDuration;

use super::pools::{Pools, age, any_age, one};
use crate::cluster::FirstSeenSpec;
use crate::forge::Recipe;
use crate::forge::attribute::Attribute;
use crate::forge::extension::{Critical, Extension};
use crate::forge::general_name::{GeneralName, RawName};
use crate::forge::keys::KeyKind;
use crate::forge::octets::{IpOctets, Octets};
use crate::forge::pem::PemRecipe;
use crate::forge::signature::SignatureRecipe;
use crate::forge::subject::{NameAttribute, StringType};
use crate::random::Random;
use crate::vector::{SettledSpec, Vector};

pub(super) fn first_seen(random: &mut Random) -> Option<FirstSeenSpec> {
    Some(FirstSeenSpec {
        ago: age(random),
        version: *one(&[1, 9, 10, 11, 100], random),
        listed: random.once_in(3),
    })
}

pub(super) fn object(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let object = &mut vector.object;
    let usage = |random: &mut Random| {
        let all = [
            "digital signature",
            "key encipherment",
            "server auth",
            "client auth",
            "Server Auth",
        ];
        (*one(&all, random)).to_owned()
    };
    match random.below(12) {
        0 => object.usages.push(usage(random)),
        1 => drop(object.usages.pop()),
        2 => object
            .usages
            .insert(1.min(object.usages.len()), "key encipherment".into()),
        3 => object.expiration_seconds = Some(*one(&[600, 86_400, 31_536_000, 31_536_001], random)),
        4..=6 => object.age = any_age(random),
        7 | 8 => object.first_seen = first_seen(random),
        9 => {
            let name = *one(&["csr-2", "a.b", "csr 1", "csr?x", "", "CSR", "-a"], random);
            object.name = name.to_owned();
        }
        10 => object.terminating = random.once_in(3),
        _ if random.once_in(4) => {
            let all = [
                SettledSpec::Approved,
                SettledSpec::Denied,
                SettledSpec::Failed,
                SettledSpec::Issued,
            ];
            object.settled = Some(*one(&all, random));
        }
        _ if random.once_in(3) => {
            object.signer = (*one(
                &[
                    "kubernetes.io/kube-apiserver-client-kubelet",
                    "Kubernetes.io/kubelet-serving",
                    "example.com/x",
                ],
                random,
            ))
            .to_owned();
        }
        _ => object.usages.reverse(),
    }
}

pub(super) fn requestor(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let requestor = &mut vector.requestor;
    match random.below(9) {
        0 => requestor.username = format!("system:node:{}", pools.text(random)),
        1 => {
            let all = [
                "system:node:",
                "system:nodes:node-1",
                "admin",
                "system:serviceaccount:a:b",
                "System:node:node-1",
            ];
            requestor.username = (*one(&all, random)).to_owned();
        }
        2 => requestor.uid = "1234".to_owned(),
        3 => drop(requestor.groups.pop()),
        4 => requestor.groups.reverse(),
        5 | 6 => {
            let all = [
                "system:masters",
                "system:bootstrappers",
                "system:nodes",
                "example",
            ];
            requestor.groups.push((*one(&all, random)).to_owned());
        }
        7 => requestor.credential_ids.clear(),
        _ => {
            let all = ["X509SHA256=00", "JTI=1", "", "x509sha256=00"];
            requestor
                .credential_ids
                .push((*one(&all, random)).to_owned());
        }
    }
}

/// True if the recipe can be changed without a fault in a place that then is missing.
fn is_plain(recipe: &Recipe) -> bool {
    let is_made = recipe.raw_der.is_none() && recipe.fixture.is_none();
    is_made
        && recipe.faults.is_empty()
        && recipe.pem == PemRecipe::default()
        && recipe.signature == SignatureRecipe::default()
}

fn plain(vector: &mut Vector) -> &mut Recipe {
    if !is_plain(&vector.request) {
        let node = vector.request.node.clone();
        let old = std::mem::take(&mut vector.request);
        vector.request = Recipe {
            node,
            dns: old.dns,
            ip: old.ip,
            ..Recipe::default()
        };
    }
    &mut vector.request
}

fn push(recipe: &mut Recipe, text: &str) {
    match text.parse::<IpAddr>() {
        Ok(ip) => recipe.ip.push(IpOctets::from(ip)),
        Err(_) => recipe.dns.push(Octets::from(text)),
    }
}

pub(super) fn names(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let recipe = plain(vector);
    let text = pools.text(random);
    match random.below(10) {
        0 if !recipe.dns.is_empty() => drop(recipe.dns.remove(random.below(recipe.dns.len()))),
        1 if !recipe.ip.is_empty() => drop(recipe.ip.remove(random.below(recipe.ip.len()))),
        2 => recipe
            .dns
            .iter_mut()
            .for_each(|name| name.0.make_ascii_uppercase()),
        3 if !recipe.dns.is_empty() => {
            let index = random.below(recipe.dns.len());
            recipe.dns[index].0.push(b'.');
        }
        4 => recipe.dns.push(Octets::from(text.as_str())),
        5 => {
            // Replaces all of a kind.
            match text.parse::<IpAddr>() {
                Ok(_) => recipe.ip.clear(),
                Err(_) => recipe.dns.clear(),
            }
            push(recipe, &text);
        }
        _ => push(recipe, &text),
    }
}

/// More names than a policy allows, or than are read.
pub(super) fn many_names(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let recipe = plain(vector);
    let count = match random.below(8) {
        0 => 508 + random.below(8),
        _ => 60 + random.below(8),
    };
    for index in 0..count {
        let ip = IpAddr::from([10, 20, (index / 250) as u8, (index % 250) as u8 + 1]);
        recipe.ip.push(IpOctets::from(ip));
    }
    // The last one may not be read.
    push(recipe, &pools.text(random));
}

/// The Node of the requestor as it is at last.
fn own_node(vector: &Vector) -> Option<&crate::cluster::NodeSpec> {
    let name = vector.requestor.username.strip_prefix("system:node:")?;
    let nodes = vector.nodes.iter().chain(&vector.others);
    nodes
        .filter(|node| node.name == name)
        .min_by_key(|node| node.watched.unwrap_or(SignedDuration::MAX))
}

/// Asks for what the Node lists.
pub(super) fn names_of_node(vector: &mut Vector, _: &Pools, random: &mut Random) {
    let Some(node) = own_node(vector) else { return };
    let (name, addresses) = (node.name.clone(), node.addresses.clone());
    let values = addresses.iter().flat_map(BTreeMap::values);
    let leaves_out = random.once_in(4);
    let mut recipe = Recipe {
        node: name,
        ..Recipe::default()
    };
    for text in values {
        if !(leaves_out && random.once_in(3)) {
            push(&mut recipe, text);
        }
    }
    recipe.dns.sort_by(|a, b| a.0.cmp(&b.0));
    recipe.dns.dedup();
    recipe.ip.dedup();
    vector.request = recipe;
}

/// A request of another Node of the cluster.
pub(super) fn another_node(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let name = pools.node(random);
    vector.requestor.username = format!("system:node:{name}");
    names_of_node(vector, pools, random);
    plain(vector).node = name;
}

pub(super) fn genuine(vector: &mut Vector, _: &Pools, _: &mut Random) {
    vector.request = crate::vector::genuine();
    vector.object = Default::default();
    vector.requestor = Default::default();
}

pub(super) fn recipe(vector: &mut Vector, pools: &Pools, random: &mut Random) {
    let recipe = plain(vector);
    match random.below(14) {
        0 => recipe.org.push(Octets::from("system:nodes")),
        1 => recipe.org = vec![Octets::from("system:masters")],
        2 => recipe.org.clear(),
        3 => {
            recipe.cn = Some(vec![Octets::from(
                format!("system:node:{}", pools.text(random)).as_str(),
            )])
        }
        4 => {
            let own = format!("system:node:{}", recipe.node);
            recipe.cn = Some(vec![Octets::from(own.as_str()); random.below(3)]);
        }
        5 => {
            let kinds = [
                StringType::Utf8,
                StringType::Ia5,
                StringType::T61,
                StringType::Printable,
            ];
            let mut cn = NameAttribute::new("CN", format!("system:node:{}", recipe.node).as_str());
            cn.string = *one(&kinds, random);
            let mut org = NameAttribute::new("O", "system:nodes");
            org.string = *one(&kinds, random);
            recipe.subject = Some(match random.below(3) {
                0 => vec![vec![org, cn]],
                1 => vec![vec![cn], vec![org]],
                _ => vec![vec![org], vec![cn], vec![NameAttribute::new("OU", "x")]],
            });
        }
        6 => recipe.attributes = Some(vec![Attribute::ExtensionRequest; random.below(3)]),
        7 => recipe.extensions = Some(vec![Extension::San; random.below(3)]),
        8 => {
            let more = [
                Extension::Ca(true),
                Extension::KeyUsage(vec![0]),
                Extension::ExtKeyUsage(vec![]),
            ];
            recipe.extensions = Some(vec![Extension::San, one(&more, random).clone()]);
        }
        9 => recipe.san_critical = *one(&[Critical::True, Critical::False], random),
        10 | 11 => {
            let text = Octets::from(pools.text(random).as_str());
            recipe.names.push(match random.below(5) {
                0 => GeneralName::Email(text),
                1 => GeneralName::Uri(text),
                2 => GeneralName::EdiParty(text),
                3 => GeneralName::Directory(vec![]),
                _ => GeneralName::Raw(RawName {
                    tag: *one(&[0x87, 0x82, 0xa3, 0x89], random),
                    content: text,
                }),
            });
        }
        12 => {
            let kinds = [
                KeyKind::P384,
                KeyKind::P521,
                KeyKind::Ed25519,
                KeyKind::Ed25519,
                KeyKind::Rsa1024,
                KeyKind::Rsa2048,
            ];
            recipe.key = *one(&kinds, random);
        }
        _ => recipe.key_seed = Some(pools.node(random)),
    }
}

pub(super) fn clock(vector: &mut Vector, _: &Pools, random: &mut Random) {
    vector.clock_skew = any_age(random);
}
