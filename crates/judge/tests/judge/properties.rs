//! Properties that hold for every request and every cluster, tested with random ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use judge::Decision::{Approve, Deny, Ignore};
use judge::evidence::Source;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use testkit::cluster::{NodeSpec, ProtectedKind, SourceSpec};
use testkit::forge::fault::Fault;
use testkit::forge::general_name::GeneralName;
use testkit::forge::octets::Octets;
use testkit::forge::{Recipe, octets::IpOctets};
use testkit::policies::BasePolicy;
use testkit::strategies::{
    Address, DNS, DNS_TYPES, IP_TYPES, address, any_vector, config, genuine_ip, names, other,
    request,
};
use testkit::vector::{Vector, request_pem};

/// The canonical form of a name, computed without the judge's own parser.
fn canonical(name: &GeneralName) -> String {
    match name {
        GeneralName::Dns(text) => canonical_text(std::str::from_utf8(&text.0).unwrap()),
        GeneralName::Ip(octets) => match octets.0.as_slice() {
            four @ [_, _, _, _] => IpAddr::from(<[u8; 4]>::try_from(four).unwrap()).to_string(),
            more => IpAddr::from(<[u8; 16]>::try_from(more).unwrap()).to_string(),
        },
        other => panic!("not asked for here: {other:?}"),
    }
}

fn canonical_text(text: &str) -> String {
    match text.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => text.strip_suffix('.').unwrap_or(text).to_lowercase(),
    }
}

/// The names and addresses that other Nodes contest. A worker does not contest an address of the API
/// server, which it cannot get.
fn contested(nodes: &[NodeSpec]) -> BTreeSet<String> {
    let (control_plane, workers): (Vec<NodeSpec>, Vec<NodeSpec>) =
        nodes.iter().cloned().partition(|node| node.control_plane);
    let mut contested = claims(&workers);
    contested.retain(|name| name != "10.0.0.100");
    contested.extend(claims(&control_plane));
    contested
}

fn claims(nodes: &[NodeSpec]) -> BTreeSet<String> {
    let addresses = nodes.iter().flat_map(|node| &node.addresses);
    addresses
        .flat_map(BTreeMap::values)
        .map(|value| canonical_text(value))
        .collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn approved_names_are_the_nodes_alone(vector in any_vector()) {
        let own = claims(&vector.nodes);
        // A Node's own name is its alone.
        let mut others = contested(&vector.others);
        others.remove("node-1");
        let names: Vec<String> = vector.request.names.iter().map(canonical).collect();
        for base in BasePolicy::ALL {
            if vector.outcome(base).verdict == Approve {
                for name in &names {
                    prop_assert!(own.contains(name), "{name} is not among {own:?}");
                    prop_assert!(!others.contains(name), "{name} is another node's too");
                }
            }
        }
    }

    /// The same property, with one wrong name in an otherwise correct request.
    #[test]
    fn an_additional_name_is_never_approved(extra in select(&DNS[..]), kind in select(&IP_TYPES[..])) {
        let mut vector = Vector::genuine();
        vector.nodes[0].addresses = vec![address("Hostname", "node-1"), address(kind, "10.0.0.1")];
        vector.request = request(names(&["node-1", extra], &["10.0.0.1"]));
        let lacking = canonical_text(extra) != "node-1";
        for base in BasePolicy::ALL {
            prop_assert!(!lacking || vector.outcome(base).verdict != Approve, "{extra}");
        }
    }

    #[test]
    fn another_nodes_claim_never_helps(vector in any_vector(), rival in other("node-3")) {
        let mut more = vector.clone();
        more.others.push(rival);
        for base in BasePolicy::ALL {
            if vector.outcome(base).verdict != Approve {
                prop_assert_ne!(more.outcome(base).verdict, Approve);
            }
        }
    }

    #[test]
    fn order_never_matters(
        vector in any_vector(),
        groups in subsequence(vec!["system:nodes", "system:authenticated", "system:masters"], 1..=3),
        usages in subsequence(vec!["digital signature", "server auth", "key encipherment", "client auth"], 1..=4),
        by in any::<u64>(),
    ) {
        let mut first = vector;
        first.requestor.groups = groups.into_iter().map(str::to_owned).collect();
        first.object.usages = usages.into_iter().map(str::to_owned).collect();
        let mut second = first.clone();
        shuffle(&mut second.requestor.groups, by);
        shuffle(&mut second.object.usages, by);
        shuffle(&mut second.request.names, by);
        shuffle(&mut second.nodes[0].addresses, by);
        shuffle(&mut second.protected, by);
        second.nodes.append(&mut second.others);
        shuffle(&mut second.nodes, by);
        for base in BasePolicy::ALL {
            prop_assert_eq!(first.outcome(base), second.outcome(base));
        }
    }

    /// Less proof: without the Node, without one of the requested addresses, or with a source that has
    /// not synced.
    #[test]
    fn less_proof_neither_approves_nor_denies(
        vector in any_vector(),
        what in 0..3_usize,
        which in any::<proptest::sample::Index>(),
    ) {
        let mut less = vector.clone();
        match what {
            0 => less.nodes.clear(),
            1 if !vector.request.names.is_empty() => {
                let lost = canonical(which.get(&vector.request.names));
                // Another Node's name was denied if this one never claimed it.
                prop_assume!(vector.others.iter().all(|other| other.name != lost));
                let keep = |address: &Address| address.values().all(|value| canonical_text(value) != lost);
                less.nodes[0].addresses.retain(keep);
            }
            _ => {
                let unread = SourceSpec { synced: false, failing: None };
                less.sources.insert(which.get(&Source::REQUIRED).as_str().into(), unread);
            }
        }
        for base in BasePolicy::ALL {
            let (before, after) = (vector.outcome(base).verdict, less.outcome(base).verdict);
            prop_assert!(before == Approve || after != Approve, "{before} became {after}");
            // A request that is ignored because its Node is being deleted may also be wrong.
            prop_assert!(before == Deny || before == Ignore || after != Deny, "{before} became {after}");
        }
    }

    /// Less doubt: without another Node, or without the identities of one origin.
    #[test]
    fn less_doubt_never_denies(vector in any_vector(), which in any::<proptest::sample::Index>()) {
        let mut less = vector.clone();
        let at = which.index(vector.others.len() + vector.protected.len());
        if at < vector.others.len() {
            less.others.remove(at);
        } else {
            let removed = less.protected.remove(at - vector.others.len());
            // The EndpointSlice also proves that a control-plane node may have the address.
            let is_proof = vector.nodes[0].control_plane && removed.kind == ProtectedKind::ApiServerEndpoint;
            prop_assume!(!is_proof);
        }
        for base in BasePolicy::ALL {
            let (before, after) = (vector.outcome(base).verdict, less.outcome(base).verdict);
            prop_assert!(before == Deny || after != Deny, "{before} became {after}");
        }
    }

    /// A request for all of the Node's addresses, or for some of them including an IP address.
    #[test]
    fn genuine_requests_are_approved(
        dns in proptest::collection::btree_set("([a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\\.){0,3}[a-z]{3,9}-?[0-9]\\.?", 0..6),
        ips in proptest::collection::btree_set(genuine_ip(), 1..8),
        kinds in proptest::collection::vec((0..3_usize, any::<bool>(), any::<bool>()), 16),
        others in proptest::collection::btree_set(genuine_ip(), 0..3),
    ) {
        let mut vector = Vector::genuine();
        let mut node = NodeSpec { addresses: Vec::new(), ..NodeSpec::default() };
        let mut asked = Vec::new();
        let spelt = |name: &String, upper: bool| if upper { name.to_uppercase() } else { name.clone() };
        for (name, (kind, upper, is_asked)) in dns.iter().zip(&kinds) {
            let name = spelt(name, *upper);
            node.addresses.push(address(DNS_TYPES[*kind], &name));
            if *is_asked {
                asked.push(GeneralName::Dns(Octets::from(&name)));
            }
        }
        for (index, (ip, (kind, upper, is_asked))) in ips.iter().zip(&kinds).enumerate() {
            node.addresses.push(address(IP_TYPES[*kind], &spelt(&ip.to_string(), *upper)));
            if *is_asked || index == 0 {
                asked.push(GeneralName::Ip(IpOctets::from(*ip)));
            }
        }
        let elsewhere = others.difference(&ips).map(|ip| address("InternalIP", &ip.to_string()));
        vector.policy = Some(serde_json::json!({"names": {"serviceLike": "Allow"}}));
        vector.others = vec![NodeSpec { name: "other".into(), addresses: elsewhere.collect(), ..NodeSpec::default() }];
        vector.nodes = vec![node];
        vector.request = request(asked);
        let found = vector.outcome(BasePolicy::Default);
        prop_assert_eq!(found.verdict, Approve, "{}", found);
        prop_assert_ne!(vector.outcome(BasePolicy::Strict).verdict, Deny);
    }

    /// Every byte of the text and of the DER matters.
    #[test]
    fn a_changed_byte_is_never_approved(
        at in any::<proptest::sample::Index>(),
        to in any::<u8>(),
        how in select(vec![Change::Replace, Change::Insert, Change::Remove]),
    ) {
        let vector = Vector::genuine();
        let (text, der) = (request_pem(&vector.request), vector.request.der());
        let changed = how.apply(text.as_bytes(), at, to);
        if changed != text.as_bytes() {
            prop_assert_ne!(vector.outcome_of(&changed, BasePolicy::Default).verdict, Approve);
        }
        let changed = how.apply(&der, at, to);
        if changed != der {
            let wrapped = vector.request.pem.text(&changed);
            prop_assert_ne!(vector.outcome_of(wrapped.as_bytes(), BasePolicy::Default).verdict, Approve);
        }
    }

    /// The same with a valid signature, as an attacker with the key can create it. The signed
    /// content must be that of the genuine request, except for the case of a name.
    #[test]
    fn a_changed_and_signed_byte_is_never_approved(
        at in any::<proptest::sample::Index>(),
        to in any::<u8>(),
        how in select(vec![Change::Replace, Change::Insert, Change::Remove]),
    ) {
        let mut vector = Vector::genuine();
        let genuine = info(&vector.request.der());
        let changed = how.apply(&genuine, at, to);
        if !changed.eq_ignore_ascii_case(&genuine) {
            vector.request = vector.request.fault(Fault {
                content: Some(Octets(changed)),
                ..Fault::at("info")
            });
            prop_assert_ne!(vector.outcome(BasePolicy::Default).verdict, Approve);
        }
    }

    /// The PEM of a genuine request of any length is canonical.
    #[test]
    fn genuine_requests_of_any_length_are_exact(name in "[a-z]{1,63}") {
        let mut vector = Vector::genuine();
        vector.requestor.username = format!("system:node:{name}");
        vector.request = Recipe::genuine(&name, &[&name], &["10.0.0.1".parse().unwrap()]);
        vector.nodes[0].name.clone_from(&name);
        vector.nodes[0].addresses[0] = address("Hostname", &name);
        prop_assert!(request_pem(&vector.request).ends_with("-----END CERTIFICATE REQUEST-----\n"));
        let found = vector.outcome(BasePolicy::Default);
        let special = ["kubernetes", "localhost", "svc"].contains(&name.as_str());
        prop_assert!(found.verdict == Approve || special, "{}", found);
    }
}

/// The content of CertificationRequestInfo, which is the first element of a request.
fn info(request: &[u8]) -> Vec<u8> {
    use der::{Decode, Reader, SliceReader, asn1::AnyRef};
    let outer = AnyRef::from_der(request).unwrap();
    let mut inside = SliceReader::new(outer.value()).unwrap();
    let info: AnyRef<'_> = inside.decode().unwrap();
    info.value().to_vec()
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Replace,
    Insert,
    Remove,
}

impl Change {
    fn apply(self, bytes: &[u8], at: proptest::sample::Index, to: u8) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let at = at.index(bytes.len());
        match self {
            Change::Replace => bytes[at] = to,
            Change::Insert => bytes.insert(at, to),
            Change::Remove => drop(bytes.remove(at)),
        }
        bytes
    }
}

/// A permutation that depends on `by` alone.
fn shuffle<T>(items: &mut [T], mut by: u64) {
    for last in (1..items.len()).rev() {
        by = by
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        items.swap(last, usize::try_from(by >> 33).unwrap() % (last + 1));
    }
}
