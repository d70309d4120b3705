//! The addresses at which kubelets are asked for their certificates. A kubelet chooses what its Node lists,
//! so none may send csr-warden to an address of others.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::SignedDuration;
use judge::Verdict;
use judge::finding::{Awaited, Question};
use serde_json::json;
use testkit::cluster::{AnswerSpec, NodeSpec, ProtectedKind, ProtectedSpec, QuestionSpec};
use testkit::forge::Recipe;
use testkit::now;
use testkit::policies::BasePolicy;
use testkit::strategies::address;
use testkit::vector::Vector;

/// The address that both Nodes list.
const CONTESTED: &str = "203.0.113.1";

fn node(name: &str, ips: &[&str]) -> NodeSpec {
    let ips = ips.iter().map(|ip| address("InternalIP", ip));
    NodeSpec {
        name: name.to_owned(),
        addresses: std::iter::once(address("Hostname", name))
            .chain(ips)
            .collect(),
        ..NodeSpec::default()
    }
}

/// A request of `node-1` for an address that this other Node has claimed in the same list.
fn contest(other: &[&str]) -> Vector {
    let mut vector = Vector::genuine();
    let ips = ["10.0.0.1", CONTESTED].map(|ip| ip.parse().unwrap());
    vector.request = Recipe::genuine("node-1", &["node-1"], &ips);
    vector.nodes = vec![node("node-1", &["10.0.0.1", CONTESTED])];
    vector.others = vec![node("node-2", &[other, &[CONTESTED]].concat())];
    vector
}

fn asked(vector: &Vector) -> BTreeSet<String> {
    let judged = vector.judgment(BasePolicy::Default);
    let Verdict::Wait(awaited) = &judged.verdict else {
        panic!("{judged:?}");
    };
    let ip = |awaited: &Awaited| -> Option<IpAddr> {
        match awaited.question()? {
            Question::Certificate(ip) => Some(*ip),
            Question::Addresses(_) | Question::Names(_) => None,
        }
    };
    awaited
        .iter()
        .filter_map(ip)
        .map(|ip| ip.to_string())
        .collect()
}

/// The addresses at which `node-2` is asked, besides the contested one.
fn asked_of_other(vector: &Vector) -> Vec<String> {
    let mut asked = asked(vector);
    for own in ["10.0.0.1", CONTESTED] {
        assert!(asked.remove(own), "{own} is not asked");
    }
    asked.into_iter().collect()
}

#[test]
fn the_claimants_are_asked_at_the_contested_address_and_at_their_own() {
    assert_eq!(asked_of_other(&contest(&["10.0.0.2"])), ["10.0.0.2"]);
}

#[test]
fn reserved_service_and_protected_addresses_are_never_asked() {
    for hostile in [
        "127.0.0.1",
        "169.254.169.254",
        "10.96.0.77",
        "10.96.0.1",
        "10.0.0.100",
        "10.0.0.200",
    ] {
        let vector = contest(&[hostile, "10.0.0.2"]);
        assert_eq!(asked_of_other(&vector), ["10.0.0.2"], "{hostile}");
    }
    let mut vector = contest(&["10.9.0.2", "10.0.0.2"]);
    vector.policy = Some(json!({"protected": {"networks": ["10.9.0.0/16"]}}));
    assert_eq!(asked_of_other(&vector), ["10.0.0.2"]);
}

#[test]
fn an_address_that_was_protected_recently_is_not_asked() {
    for kind in [ProtectedKind::Service, ProtectedKind::ApiServerEndpoint] {
        let mut vector = contest(&["10.0.0.2", "10.0.0.3"]);
        vector.also_protected.push(ProtectedSpec {
            origin: "another".into(),
            kind,
            sans: vec!["10.0.0.2".into()],
            until: Some(SignedDuration::from_mins(5)),
            ..ProtectedSpec::default()
        });
        assert_eq!(asked_of_other(&vector), ["10.0.0.3"], "{kind:?}");
    }
}

#[test]
fn a_control_plane_node_is_asked_where_its_api_server_listens() {
    let mut vector = contest(&["10.0.0.100", "10.96.0.77"]);
    vector.others[0].control_plane = true;
    assert_eq!(asked_of_other(&vector), ["10.0.0.100"]);
}

#[test]
fn an_address_in_an_earlier_pod_network_is_not_asked() {
    let mut vector = contest(&["10.0.0.3"]);
    let mut later = vector.others[0].clone();
    later.addresses.insert(1, address("InternalIP", "10.0.0.2"));
    later.watched = Some(SignedDuration::from_mins(5));
    let mut pods = node("node-3", &["10.0.0.4"]);
    pods.pod_cidrs = vec!["10.0.0.2/32".parse().unwrap()];
    vector.others.extend([later, pods.clone()]);
    assert_eq!(asked_of_other(&vector), ["10.0.0.3"]);
    // A network that came later is no reason.
    let mut vector = contest(&["10.0.0.2"]);
    pods.watched = Some(SignedDuration::from_mins(5));
    vector.others.push(pods);
    assert_eq!(asked_of_other(&vector), ["10.0.0.2"]);
}

#[test]
fn a_few_addresses_and_a_few_claimants_are_asked() {
    let many = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
    assert_eq!(asked_of_other(&contest(&many)), many[..4]);
    let mut vector = contest(&["10.0.1.2"]);
    for index in 3..8 {
        let own = format!("10.0.1.{index}");
        vector
            .others
            .push(node(&format!("node-{index}"), &[&own, CONTESTED]));
    }
    assert_eq!(asked_of_other(&vector).len(), 3);
}

#[test]
fn dns_is_asked_about_a_claimant_that_another_source_rules_out() {
    let contested = |asked_for: &str| {
        let mut vector = Vector::genuine();
        vector.policy = Some(json!({
            "sources": {"dns": {"suffixes": ["example.com"]}},
            "proof": {
                "ipAddresses": {"anyOf": ["Inventory"]},
                "nodeName": {"anyOf": []},
                "dnsNames": {"anyOf": []},
                asked_for: {"anyOf": ["DNS", "Inventory"]},
            },
        }));
        vector.inventory =
            Some(json!({"patterns": [{"nodes": "node-*", "networks": ["10.0.0.0/24"]}]}));
        vector.nodes[0].watched = Some(SignedDuration::from_mins(20));
        vector.others = vec![node("liar", &["10.0.0.1"])];
        vector
    };
    let mut vector = contested("ipAddresses");
    let question = || Question::Addresses("liar.example.com".into());
    let awaited = |vector: &Vector| match vector.judgment(BasePolicy::Default).verdict {
        Verdict::Wait(awaited) => awaited,
        other => panic!("{other:?}"),
    };
    assert!(awaited(&vector).contains(&Awaited::Answer(question())));
    // An answer is looked at again when it expires.
    vector.answers = vec![AnswerSpec {
        to: QuestionSpec::Addresses("liar.example.com".into()),
        sans: Some(vec!["10.0.0.1".into()]),
        empty: None,
        certificate: None,
        failed: None,
        holds: SignedDuration::from_mins(5),
    }];
    let until = now() + SignedDuration::from_mins(5);
    assert!(awaited(&vector).contains(&Awaited::Time(until)));
    // It is not asked about what the policy does not ask it for.
    let other = contested("dnsNames").judgment(BasePolicy::Default);
    assert!(matches!(other.verdict, Verdict::Approve(_)), "{other:?}");
}
