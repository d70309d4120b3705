//! Verdicts on Nodes of scenes, and the policy lines that are suggested for them.

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Basis, NodeVerdict, NodeVerdicts, Subject, judge_nodes};
use crate::cluster::objects::SlimNode;
use crate::doctor::kubelet_request::KubeletRequests;
use judge::csr::names::San;
use judge::evidence::{Evidence, Fact, IdentityKind, Protection, Source};
use judge::policy::{Policy, SHIPPED, parse};

const VIP: &str = "10.0.0.100";
const SERVICE: &str = "10.96.0.1";

fn now() -> Timestamp {
    "2026-07-24T12:00:00Z".parse().unwrap()
}

/// A Node with its addresses, each as `Type value`, and its pod networks as `PodCIDR value`.
struct Given(&'static str, bool, Vec<String>);

fn worker(name: &'static str, addresses: &[&str]) -> Given {
    Given(
        name,
        false,
        addresses.iter().map(|one| (*one).to_owned()).collect(),
    )
}

fn control_plane(name: &'static str, addresses: &[&str]) -> Given {
    Given(name, true, worker(name, addresses).2)
}

fn object(given: &Given) -> Value {
    let Given(name, control_plane, addresses) = given;
    let split = addresses.iter().map(|one| one.split_once(' ').unwrap());
    let (networks, addresses): (Vec<_>, Vec<_>) = split.partition(|(kind, _)| *kind == "PodCIDR");
    let networks: Vec<&str> = networks.into_iter().map(|(_, network)| network).collect();
    let address = |(kind, address)| json!({"type": kind, "address": address});
    let addresses = addresses.into_iter().map(address);
    let mut labels = json!({});
    if *control_plane {
        labels = json!({"node-role.kubernetes.io/control-plane": ""});
    }
    json!({
        "metadata": {"name": name, "uid": name, "labels": labels,
                     "creationTimestamp": "2026-07-24T11:00:00Z"},
        "spec": {"podCIDRs": networks},
        "status": {"addresses": addresses.collect::<Vec<_>>()},
    })
}

fn protection(origin: &str, kind: IdentityKind, sans: &[&str], networks: &[&str]) -> Fact {
    Fact::Protected(Protection {
        origin: origin.into(),
        kind,
        sans: sans
            .iter()
            .map(|text| San::from_host_text(text).unwrap())
            .collect(),
        networks: networks
            .iter()
            .map(|text| text.parse::<IpNet>().unwrap())
            .collect(),
        certificate: None,
    })
}

fn evidence(nodes: &[Given], policy: &Policy) -> Evidence {
    let mut evidence = Evidence::new(&policy.spec);
    let at = Timestamp::UNIX_EPOCH;
    for given in nodes {
        let node: SlimNode = serde_json::from_value(object(given)).unwrap();
        let node = node.into_evidence(at).unwrap();
        evidence.apply(Fact::ListedNode(Box::new(node)), at);
    }
    let certificate = [
        "kubernetes.default.svc.cluster.corp",
        "kubernetes",
        SERVICE,
        VIP,
        "api.corp.example",
        "cp-1",
        "10.0.0.1",
    ];
    let identity = IdentityKind::ApiServerIdentity;
    for fact in [
        protection("certificate", identity, &certificate, &[]),
        protection("slice", IdentityKind::ApiServerEndpoint, &["10.0.0.1"], &[]),
        protection("cidr", IdentityKind::Service, &[], &["10.96.0.0/12"]),
        Fact::Namespace("prod".into()),
    ] {
        evidence.apply(fact, at);
    }
    for source in Source::ALL {
        evidence.apply(Fact::Synced(source), now());
    }
    evidence
}

fn judged_by(nodes: &[Given], text: &str) -> NodeVerdicts {
    let policy = parse(text).unwrap();
    let requests = KubeletRequests::new().unwrap();
    let subjects: Vec<Subject> = nodes
        .iter()
        .map(|given| {
            let addresses = given.2.iter().map(|one| one.split_once(' ').unwrap());
            Subject {
                node: given.0.to_owned(),
                request: requests.of_node(given.0, addresses, now()),
            }
        })
        .collect();
    let basis = Basis {
        policy: &policy,
        text,
        now: now(),
    };
    judge_nodes(&subjects, &mut evidence(nodes, &policy), basis)
}

fn judged(nodes: &[Given]) -> NodeVerdicts {
    judged_by(nodes, SHIPPED[0].1)
}

fn of<'a>(verdicts: &'a NodeVerdicts, node: &str) -> &'a NodeVerdict {
    verdicts
        .items
        .iter()
        .find(|item| item.node == node)
        .unwrap()
}

/// Node, verdict and codes, in the order of the report.
fn rows(verdicts: &NodeVerdicts) -> Vec<(&str, &str, Vec<&str>)> {
    let items = verdicts.items.iter();
    items
        .map(|item| {
            let verdict = item.verdict.unwrap_or("none");
            (item.node.as_str(), verdict, item.decisive_codes())
        })
        .collect()
}

fn fields(verdicts: &NodeVerdicts) -> Vec<&str> {
    let lines = verdicts.policy_lines.iter();
    lines.map(|line| line.field.as_str()).collect()
}

/// Checks that the suggested policy, loaded as a file, lets these Nodes through and no others.
fn lets_through(nodes: &[Given], verdicts: &NodeVerdicts, names: &[&str]) {
    let text = verdicts.suggested_policy.as_deref().unwrap();
    let again = judged_by(nodes, text);
    let approved = |verdicts: &NodeVerdicts| -> Vec<String> {
        let items = verdicts.items.iter();
        let items = items.filter(|item| item.verdict == Some("Approve"));
        let mut names: Vec<String> = items.map(|item| item.node.clone()).collect();
        names.sort();
        names
    };
    let mut expected = approved(verdicts);
    expected.extend(names.iter().map(|name| (*name).to_owned()));
    expected.sort();
    assert_eq!(approved(&again), expected, "{text}");
    assert_eq!(verdicts.let_through(), names.len());
}

#[test]
fn honest_nodes_need_no_lines() {
    let nodes = [
        control_plane("cp-1", &["Hostname cp-1", "InternalIP 10.0.0.1"]),
        worker(
            "w-1",
            &[
                "Hostname w-1",
                "InternalIP 10.0.0.11",
                "InternalIP fd00::11",
            ],
        ),
        worker("w-2", &["Hostname w-2"]),
    ];
    let verdicts = judged(&nodes);
    assert_eq!(
        rows(&verdicts),
        [
            ("w-2", "none", vec![]),
            ("cp-1", "Approve", vec![]),
            ("w-1", "Approve", vec![])
        ]
    );
    assert_eq!(fields(&verdicts), [""; 0]);
    assert_eq!(verdicts.suggested_policy, None);
}

#[test]
fn a_virtual_address_is_for_control_plane_nodes() {
    let nodes = [
        control_plane("cp-1", &["InternalIP 10.0.0.1", "InternalIP 10.0.0.100"]),
        control_plane("cp-2", &["InternalIP 10.0.0.2"]),
        worker("w-1", &["InternalIP 10.0.0.11", "ExternalIP 10.0.0.100"]),
    ];
    let verdicts = judged(&nodes);
    assert_eq!(
        of(&verdicts, "w-1").decisive_codes(),
        ["SanApiServerIdentity"]
    );
    assert_eq!(
        of(&verdicts, "cp-1").decisive_codes(),
        ["SanApiServerIdentityNotAllowed"]
    );
    assert_eq!(fields(&verdicts), ["protected.allowed"]);
    assert_eq!(verdicts.policy_lines[0].nodes, ["cp-1"]);
    let value = verdicts.policy_lines[0].value.to_string();
    assert!(!value.contains("w-1") && value.contains(VIP), "{value}");
    lets_through(&nodes, &verdicts, &["cp-1"]);
    assert_eq!(verdicts.virtual_addresses[0].nodes, ["cp-1"]);
}

#[test]
fn a_virtual_address_is_on_no_or_on_several_control_plane_nodes() {
    let verdicts = judged(&[control_plane("cp-1", &["InternalIP 10.0.0.1"])]);
    assert_eq!(verdicts.virtual_addresses.len(), 1);
    assert_eq!(verdicts.virtual_addresses[0].address, VIP);
    assert_eq!(verdicts.virtual_addresses[0].nodes, [""; 0]);
    let both = [
        control_plane("cp-1", &["InternalIP 10.0.0.1", "InternalIP 10.0.0.100"]),
        control_plane("cp-2", &["InternalIP 10.0.0.2", "InternalIP 10.0.0.100"]),
    ];
    assert_eq!(judged(&both).virtual_addresses[0].nodes, ["cp-1", "cp-2"]);
    let managed = [worker("w-1", &["InternalIP 10.0.0.11"])];
    assert_eq!(judged(&managed).virtual_addresses, []);
}

#[test]
fn nothing_of_the_api_server_or_of_services_is_suggested_for_a_worker() {
    for address in [
        "InternalIP 10.96.0.1",
        "InternalIP 10.96.7.7",
        "InternalIP 10.0.0.1",
        "InternalIP 10.0.0.100",
        "ExternalDNS api.corp.example",
        "ExternalDNS kubernetes.default.svc.cluster.corp",
        "ExternalDNS kubernetes",
        "ExternalDNS w.svc.cluster.local",
        "ExternalDNS localhost",
        "ExternalDNS *.corp.example",
        "InternalIP 127.0.0.1",
        "InternalIP 169.254.169.254",
    ] {
        let nodes = [
            control_plane("cp-1", &["InternalIP 10.0.0.1"]),
            worker("w-1", &["InternalIP 10.0.0.11", address]),
        ];
        let verdicts = judged(&nodes);
        assert_ne!(of(&verdicts, "w-1").verdict, Some("Approve"), "{address}");
        assert_eq!(fields(&verdicts), [""; 0], "{address}");
    }
    // A Service's address is suggested for no node at all.
    let nodes = [control_plane(
        "cp-1",
        &["InternalIP 10.0.0.1", "InternalIP 10.96.0.1"],
    )];
    assert_eq!(fields(&judged(&nodes)), [""; 0]);
}

#[test]
fn claimants_of_a_contested_address_are_named_instead_of_a_line() {
    let nodes = [
        worker("w-1", &["InternalIP 10.0.0.11"]),
        worker("w-2", &["InternalIP 10.0.0.12", "ExternalIP 10.0.0.11"]),
        worker(
            "w-3",
            &["InternalIP 10.0.0.13", "ExternalDNS w-4.corp.example"],
        ),
        worker("w-4", &["InternalIP 10.0.0.14"]),
    ];
    let verdicts = judged(&nodes);
    assert_eq!(fields(&verdicts), [""; 0]);
    let contested: Vec<(&str, Vec<&str>)> = verdicts
        .contested
        .iter()
        .map(|one| {
            let nodes = one.nodes.iter().map(String::as_str);
            (one.claimed.as_str(), nodes.collect())
        })
        .collect();
    assert_eq!(
        contested,
        [
            ("DNS:w-4.corp.example", vec!["w-3", "w-4"]),
            ("IP:10.0.0.11", vec!["w-1", "w-2"]),
        ]
    );
    assert_eq!(of(&verdicts, "w-4").verdict, Some("Approve"));
    assert_eq!(verdicts.shared_addresses[0].address, "10.0.0.11");
}

/// The cloud provider reports the interface of a Node's own pods.
#[test]
fn an_address_in_the_own_pod_network_is_contested_by_no_other_node() {
    let nodes = [worker(
        "w-1",
        &[
            "InternalIP 10.0.0.11",
            "ExternalIP 10.244.1.1",
            "PodCIDR 10.244.1.0/24",
        ],
    )];
    let verdicts = judged(&nodes);
    assert_eq!(of(&verdicts, "w-1").verdict, Some("Wait"));
    assert!(verdicts.contested.is_empty());
}

/// No line mentions a Node that the judge denies even with the lines.
#[test]
fn only_what_passes_is_in_a_line() {
    let nodes = [
        control_plane(
            "cp-1",
            &[
                "InternalIP 10.0.0.1",
                "InternalIP 10.0.0.100",
                "ExternalDNS kubernetes.default.svc.cluster.corp",
            ],
        ),
        control_plane("cp-2", &["InternalIP 10.0.0.2", "InternalIP 10.0.0.100"]),
        worker("w-1", &["InternalIP 10.0.0.11", "Hostname registry"]),
        worker("w-2", &["InternalIP 10.0.0.12", "Hostname kubernetes"]),
        Given(
            "w-3",
            false,
            (0..300)
                .map(|i| format!("InternalIP 10.3.{}.{}", i / 200, 1 + i % 200))
                .collect(),
        ),
        Given(
            "w-4",
            false,
            (0..65)
                .map(|i| format!("InternalIP 10.4.0.{}", 1 + i))
                .collect(),
        ),
    ];
    let verdicts = judged(&nodes);
    assert_eq!(
        fields(&verdicts),
        ["names.max", "protected.allowed"],
        "{:#?}",
        verdicts.policy_lines
    );
    let max = &verdicts.policy_lines[0];
    assert_eq!(
        (&max.value, &max.nodes[..]),
        (&json!(65), &["w-4".to_owned()][..])
    );
    lets_through(&nodes, &verdicts, &["cp-2", "w-4"]);
}

#[test]
fn an_address_of_a_site_is_shared_and_the_address_of_a_kubelet_never() {
    let site = [
        worker("w-1", &["InternalIP 10.0.0.11", "ExternalIP 192.0.2.1"]),
        worker("w-2", &["InternalIP 10.0.0.12", "ExternalIP 192.0.2.1"]),
        worker("w-3", &["InternalIP 10.0.0.13", "ExternalIP 192.0.2.1"]),
    ];
    let verdicts = judged(&site);
    assert_eq!(verdicts.contested[0].nodes.len(), 3);
    assert_eq!(fields(&verdicts), ["names.shared"]);
    lets_through(&site, &verdicts, &["w-1", "w-2", "w-3"]);
    let liars = [
        worker("w-1", &["InternalIP 10.0.0.11"]),
        worker("w-2", &["InternalIP 10.0.0.12", "ExternalIP 10.0.0.11"]),
        worker("w-3", &["InternalIP 10.0.0.13", "ExternalIP 10.0.0.11"]),
        worker("w-4", &["InternalIP 10.0.0.14", "ExternalIP 10.0.0.11"]),
    ];
    assert_eq!(fields(&judged(&liars)), [""; 0]);
    let two = &site[..2];
    assert_eq!(fields(&judged(two)), [""; 0]);
}

/// One Node could ask for such a line for all.
#[test]
fn names_like_services_are_in_no_line() {
    let nodes = [
        worker("w-1", &["InternalIP 10.0.0.11", "Hostname registry"]),
        worker("w-2", &["InternalIP 10.0.0.12", "ExternalDNS vault.prod"]),
    ];
    assert_eq!(fields(&judged(&nodes)), [""; 0]);
}

/// The endpoint of another control-plane node is not for all of them.
#[test]
fn an_endpoint_is_in_no_line() {
    let nodes = [
        control_plane("cp-1", &["InternalIP 10.0.0.1"]),
        control_plane("cp-2", &["InternalIP 10.0.0.2", "InternalIP 10.0.0.1"]),
    ];
    assert_eq!(fields(&judged(&nodes)), [""; 0]);
}

#[test]
fn names_and_addresses_outside_of_the_policy_extend_its_lists() {
    let text = "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {name: corp}\nspec:\n  \
                names:\n    networks: [10.0.0.0/28]\n    dnsSuffixes: [a.example]\n";
    let nodes = [
        worker("w-1", &["InternalIP 10.0.0.11"]),
        worker("w-2", &["InternalIP 10.9.0.2", "ExternalDNS w-2.b.example"]),
        worker("w-3", &["InternalIP 10.9.0.3", "ExternalDNS w-3.b.example"]),
        worker("w-4", &["InternalIP 10.9.0.4"]),
        worker("w-5", &["InternalIP fd00::5", "ExternalDNS w-5.c.example"]),
    ];
    let verdicts = judged_by(&nodes, text);
    assert_eq!(fields(&verdicts), ["names.dnsSuffixes", "names.networks"]);
    let values: Vec<String> = verdicts
        .policy_lines
        .iter()
        .map(|line| line.value.to_string())
        .collect();
    assert_eq!(
        values,
        [
            r#"["a.example","w-2.b.example","w-3.b.example","w-5.c.example"]"#,
            r#"["10.0.0.0/28","10.9.0.0/24","fd00::5/128"]"#,
        ]
    );
    assert!(
        verdicts
            .suggested_policy
            .as_ref()
            .unwrap()
            .contains("name: corp")
    );
}

#[test]
fn many_addresses_raise_the_limit_up_to_the_schema() {
    let many = |count: usize| -> [Given; 1] {
        let addresses = (0..count).map(|i| format!("InternalIP 10.1.{}.{}", i / 200, 1 + i % 200));
        [Given("w-1", false, addresses.collect())]
    };
    let nodes = many(70);
    let verdicts = judged(&nodes);
    assert!(
        of(&verdicts, "w-1")
            .decisive_codes()
            .contains(&"SanTooMany")
    );
    assert_eq!(fields(&verdicts), ["names.max"]);
    assert_eq!(verdicts.policy_lines[0].value, json!(70));
    lets_through(&nodes, &verdicts, &["w-1"]);
    assert_eq!(fields(&judged(&many(300))), [""; 0]);
}

/// A domain that only the policy names can be left out for Nodes that are named under it. One that an API
/// server's certificate has stays the cluster's.
#[test]
fn a_policy_that_demands_another_source_has_no_lines() {
    let nodes = [worker("w-1", &["Hostname w-1", "InternalIP 10.0.0.11"])];
    let strict = SHIPPED.iter().find(|(name, _)| *name == "strict").unwrap();
    let verdicts = judged_by(&nodes, strict.1);
    assert_eq!(of(&verdicts, "w-1").verdict, Some("Wait"));
    assert_eq!(fields(&verdicts), [""; 0]);
}

#[test]
fn an_address_of_more_nodes_than_are_examined_is_shared() {
    let addresses = |i: usize| format!("InternalIP 10.1.{}.{}", i / 200, 1 + i % 200);
    let names: Vec<String> = (0..1100).map(|i| format!("w-{i:04}")).collect();
    let given = |(i, name): (usize, &String)| {
        let name: &'static str = name.clone().leak();
        worker(name, &[&addresses(i), "ExternalIP 192.0.2.1"])
    };
    let nodes: Vec<Given> = names.iter().enumerate().map(given).collect();
    let verdicts = judged(&nodes);
    let shared = &verdicts.shared_addresses[0];
    assert_eq!((shared.count, shared.nodes.len()), (1100, 10));
    let contested = &verdicts.contested[0];
    assert_eq!((contested.nodes.len(), contested.more), (10, 1090));
    assert!(
        rows(&verdicts)
            .iter()
            .all(|(_, verdict, _)| *verdict == "Wait")
    );
    assert_eq!(fields(&verdicts), ["names.shared"]);
    assert_eq!(verdicts.let_through(), 1100);
}
