//! Names, addresses, networks and times to draw from: those of the scene, and others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::SignedDuration;
use judge::csr::names::San;

use crate::random::Random;
use crate::strategies::{DNS, IPS};
use crate::vector::Vector;

/// Names that mean something to a rule, besides those of [`DNS`].
const MORE_DNS: [&str; 26] = [
    "node-1.example.com",
    "node-1.nodes.example.com",
    "cp-1.example",
    "cp-2",
    "worker-1",
    "vault.prod",
    "registry",
    "x.kube-system",
    "a.b.prod",
    "kubernetes.default.svc.cluster.local",
    "kubernetes.default.svc.corp",
    "api.corp.example",
    "x.svc",
    "x.pod",
    "x.cluster.local",
    "localhost4",
    "2130706433",
    "0x7f.1",
    "metadata.google.internal",
    "*.example",
    "node_1",
    "10.0.0.1",
    "a..b",
    "2001-db8--7.example",
    "victim",
    "victim.corp.example",
];
const MORE_IPS: [&str; 16] = [
    "10.0.0.3",
    "10.0.0.101",
    "10.0.0.102",
    "10.0.0.201",
    "10.244.1.7",
    "10.244.3.7",
    "10.96.7.7",
    "169.254.169.254",
    "100.100.100.200",
    "240.0.0.1",
    "192.0.2.1",
    "fd00::100",
    "fd00:ec2::254",
    "::1",
    "2001:db8:1::7",
    "0.0.0.0",
];
const NETWORKS: [&str; 12] = [
    "10.244.1.0/24",
    "10.244.2.0/24",
    "10.0.0.0/24",
    "10.0.0.0/16",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "10.0.0.1/32",
    "10.0.0.2/32",
    "10.0.0.96/27",
    "fd00::/64",
    "fd00::/32",
    "203.0.113.0/24",
];
const NODES: [&str; 8] = [
    "node-1",
    "node-2",
    "node-10",
    "cp-1",
    "cp-2",
    "victim",
    "10.0.0.2",
    "node-1.example",
];
/// Around the limits of rules, in seconds.
const AGES: [i64; 24] = [
    0, 1, 5, 6, 10, 29, 30, 31, 59, 60, 61, 120, 299, 300, 301, 600, 899, 900, 901, 3599, 3600,
    3601, 7200, 86_400,
];

/// Objects that the scene already has.
pub(super) struct Pools {
    /// Names and addresses as text.
    sans: Vec<String>,
    /// The names of Nodes.
    nodes: Vec<String>,
}

pub(super) fn one<'a, T>(from: &'a [T], random: &mut Random) -> &'a T {
    &from[random.below(from.len())]
}

/// Each value with a probability of 1 in `times`.
pub(super) fn some<T: Clone>(from: &[T], times: usize, random: &mut Random) -> Vec<T> {
    let taken = from.iter().filter(|_| random.once_in(times));
    taken.cloned().collect()
}

impl Pools {
    pub(super) fn of(vector: &Vector) -> Pools {
        let nodes = || vector.nodes.iter().chain(&vector.others);
        let listed = nodes().flat_map(|node| node.addresses.iter().flat_map(BTreeMap::values));
        let protected = vector.protected.iter().chain(&vector.also_protected);
        let protected = protected.flat_map(|spec| &spec.sans);
        let asked = vector.request.dns.iter();
        let asked = asked.map(|name| String::from_utf8_lossy(&name.0).into_owned());
        let mut names: Vec<String> = nodes().map(|node| node.name.clone()).collect();
        names.dedup();
        Pools {
            sans: listed.chain(protected).cloned().chain(asked).collect(),
            nodes: names,
        }
    }

    /// A name or address as text, usually of the scene. It can be malformed.
    pub(super) fn text(&self, random: &mut Random) -> String {
        match random.below(10) {
            0 => (*one(&MORE_DNS, random)).to_owned(),
            1 => (*one(&DNS, random)).to_owned(),
            2 => (*one(&MORE_IPS, random)).to_owned(),
            3 | 4 => (*one(&IPS, random)).to_owned(),
            5 => self.node(random),
            _ if self.sans.is_empty() => "10.0.0.1".to_owned(),
            _ => one(&self.sans, random).clone(),
        }
    }

    /// A valid name or address.
    pub(super) fn san(&self, random: &mut Random) -> String {
        let text = self.text(random);
        match San::from_host_text(&text) {
            Some(_) => text,
            None => "10.0.0.1".to_owned(),
        }
    }

    pub(super) fn sans(&self, most: usize, random: &mut Random) -> Vec<String> {
        (0..random.below(most + 1))
            .map(|_| self.san(random))
            .collect()
    }

    pub(super) fn ip(&self, random: &mut Random) -> IpAddr {
        let parsed = self.text(random).parse();
        parsed.unwrap_or_else(|_| one(&IPS, random).parse().unwrap())
    }

    /// The name of a Node, usually of one that exists.
    pub(super) fn node(&self, random: &mut Random) -> String {
        match random.below(3) {
            0 => (*one(&NODES, random)).to_owned(),
            _ if self.nodes.is_empty() => "node-1".to_owned(),
            _ => one(&self.nodes, random).clone(),
        }
    }
}

pub(super) fn network(random: &mut Random) -> IpNet {
    one(&NETWORKS, random).parse().unwrap()
}

pub(super) fn age(random: &mut Random) -> SignedDuration {
    SignedDuration::from_secs(*one(&AGES, random))
}

/// An age that can be in the future.
pub(super) fn any_age(random: &mut Random) -> SignedDuration {
    let age = age(random);
    if random.once_in(6) { -age } else { age }
}
