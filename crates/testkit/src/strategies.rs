//! Proptest strategies: random clusters and requests, for properties that hold for all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::RngSeed;

use crate::cluster::NodeSpec;
use crate::forge::Recipe;
use crate::forge::general_name::GeneralName;
use crate::forge::octets::{IpOctets, Octets};
use crate::vector::Vector;

pub const DNS: [&str; 14] = [
    "node-1",
    "NODE-1.",
    "node-1.example",
    "a.example",
    "A.example",
    "b.example.",
    "node-2",
    "node-10",
    "cp-1",
    "kubernetes",
    "Kubernetes.Default.Svc.",
    "web.default.svc.cluster.local",
    "api.cluster.example",
    "localhost",
];
pub const IPS: [&str; 14] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.9",
    "203.0.113.1",
    "fd00::1",
    "fd00::2",
    "2001:db8::7",
    "10.96.0.1",
    "10.100.0.1",
    "10.0.0.100",
    "10.0.0.200",
    "10.244.2.7",
    "127.0.0.1",
    "fe80::1",
];
pub const DNS_TYPES: [&str; 3] = ["Hostname", "InternalDNS", "ExternalDNS"];
pub const IP_TYPES: [&str; 3] = ["Hostname", "InternalIP", "ExternalIP"];

pub type Address = BTreeMap<String, String>;

/// Configuration with a fixed seed, unless `PROPTEST_RNG_SEED` sets another. A change thus never
/// fails on a random case that it did not cause.
pub fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    ProptestConfig {
        failure_persistence: None,
        rng_seed,
        ..asked
    }
}

pub fn address(kind: &str, value: &str) -> Address {
    BTreeMap::from([(kind.to_owned(), value.to_owned())])
}

/// Up to `most` values of a pool, usually from its first half, so that not every request is denied.
fn pick(pool: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![
        4 => subsequence(&pool[..pool.len() / 2], 0..=most),
        1 => subsequence(pool, 0..=most),
    ]
}

fn addresses(most: usize) -> impl Strategy<Value = Vec<Address>> {
    let typed = |types: &'static [&'static str], values: Vec<&'static str>| {
        values
            .into_iter()
            .map(|value| select(types).prop_map(move |kind| address(kind, value)))
            .collect::<Vec<_>>()
    };
    let dns = pick(&DNS, most).prop_flat_map(move |values| typed(&DNS_TYPES, values));
    let ips = pick(&IPS, most).prop_flat_map(move |values| typed(&IP_TYPES, values));
    (dns, ips).prop_map(|(dns, ips)| [dns, ips].concat())
}

pub fn other(name: &'static str) -> impl Strategy<Value = NodeSpec> {
    let pods = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec!["10.244.2.0/24".parse().unwrap()]),
        1 => Just(vec!["10.0.0.0/16".parse().unwrap()]),
    ];
    let flags = (
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.2),
        any::<bool>(),
    );
    (addresses(2), 1..7200_i64, flags, pods).prop_map(
        move |(addresses, age, (terminating, lost, control_plane), pod_cidrs)| NodeSpec {
            name: name.into(),
            addresses,
            age: SignedDuration::from_secs(age),
            terminating,
            lost,
            control_plane,
            pod_cidrs,
            ..NodeSpec::default()
        },
    )
}

fn others() -> impl Strategy<Value = Vec<NodeSpec>> {
    (
        other("node-2"),
        other("node-10"),
        other("cp-1"),
        0..=3_usize,
    )
        .prop_map(|(a, b, c, keep)| {
            let mut all = vec![a, b, c];
            all.truncate(keep);
            all
        })
}

/// The SANs of a request, in this order.
pub fn names(dns: &[&str], ips: &[&str]) -> Vec<GeneralName> {
    let ip = |ip: &&str| GeneralName::Ip(IpOctets::from(ip.parse::<IpAddr>().unwrap()));
    let dns = dns.iter().map(|name| GeneralName::Dns(Octets::from(*name)));
    dns.chain(ips.iter().map(ip)).collect()
}

/// The DNS names and IP addresses that a kubelet requests for these addresses of its Node, as text.
fn expected_names(addresses: &[Address]) -> (Vec<&str>, Vec<&str>) {
    let values = addresses
        .iter()
        .flat_map(BTreeMap::values)
        .map(String::as_str);
    values.partition(|value| value.parse::<IpAddr>().is_err())
}

/// A request of `node-1` in a random cluster, judged by a random policy. Half of the requests ask for
/// some or all addresses of the Node, and half for any.
pub fn any_vector() -> impl Strategy<Value = Vector> {
    let policy = prop_oneof![
        3 => Just(None),
        1 => Just(Some(serde_json::json!({"proof": {"ipAddresses": {"anyOf": []}, "nodeName": {"anyOf": []}, "dnsNames": {"anyOf": []}}}))),
        1 => Just(Some(serde_json::json!({"names": {"dnsOnly": "Allow", "incomplete": "Allow"}}))),
    ];
    let node = (
        addresses(4),
        1..7200_i64,
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.3),
    );
    (
        node,
        others(),
        policy,
        pick(&DNS, 3),
        pick(&IPS, 3),
        any::<bool>(),
        any::<proptest::sample::Index>(),
    )
        .prop_map(
            |(
                (addresses, age, terminating, control_plane),
                others,
                policy,
                dns,
                ips,
                own,
                index,
            )| {
                let asked = if own && !addresses.is_empty() {
                    let (dns, ips) = expected_names(&addresses);
                    let mut all = names(&dns, &ips);
                    all.truncate(1 + index.index(all.len()));
                    all.dedup();
                    all
                } else {
                    names(&dns, &ips)
                };
                let mut vector = Vector::genuine();
                vector.request = request(asked);
                vector.policy = policy;
                vector.others = others;
                vector.nodes = vec![NodeSpec {
                    addresses,
                    age: SignedDuration::from_secs(age),
                    terminating,
                    control_plane,
                    ..NodeSpec::default()
                }];
                vector
            },
        )
}

pub fn request(names: Vec<GeneralName>) -> Recipe {
    Recipe {
        names,
        ..Recipe::default()
    }
}

/// Any address that an ordinary node can have.
pub fn genuine_ip() -> impl Strategy<Value = IpAddr> {
    let v4 = prop_oneof![
        (0..16_u8, any::<u8>(), 1..255_u8).prop_map(|(a, b, c)| IpAddr::from([10, a, b, c])),
        (16..32_u8, any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| IpAddr::from([172, a, b, c])),
        (any::<u8>(), any::<u8>()).prop_map(|(a, b)| IpAddr::from([192, 168, a, b])),
        (64..128_u8, any::<u8>()).prop_map(|(a, b)| IpAddr::from([100, a, b, 7])),
        (any::<u8>(), any::<u8>()).prop_map(|(a, b)| IpAddr::from([203, 0, a, b])),
    ];
    let v6 = (
        select(&[0xfd00_u16, 0xfd12, 0x2001, 0x2a01][..]),
        any::<[u16; 7]>(),
    )
        .prop_map(|(first, rest)| {
            let [a, b, c, d, e, f, g] = rest;
            IpAddr::from([first, a, b, c, d, e, f, g])
        });
    let protected: [IpAddr; 2] = [IpAddr::from([10, 0, 0, 100]), IpAddr::from([10, 0, 0, 200])];
    prop_oneof![v4, v6].prop_filter("the API server's", move |ip| !protected.contains(ip))
}
