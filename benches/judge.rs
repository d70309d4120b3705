//! What one judgement costs: a request is read and judged, with so many Nodes in the evidence.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../tests/forge/mod.rs"]
mod forge;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{LazyLock, Mutex};

use csr_warden::csr::names::{NodeName, San};
use csr_warden::csr::{KUBELET_SERVING_SIGNER, Kept, Object, Request, Requestor};
use csr_warden::evidence::{Evidence, IdentityKind, Node, NodeAddress, Sources};
use csr_warden::policy::{Policy, default_policy};
use csr_warden::{Decision, judge};
use divan::Bencher;
use forge::Recipe;
use jiff::{SignedDuration, Timestamp};

fn main() {
    divan::main();
}

/// What is asked, how the forge says it, and what must come of it.
const SHAPES: [(&str, &str, Decision); 11] = [
    ("genuine P-256", "{}", Decision::Approve),
    ("genuine P-384", "{key: p384}", Decision::Approve),
    ("genuine P-521", "{key: p521}", Decision::Approve),
    ("genuine Ed25519", "{key: ed25519}", Decision::Approve),
    ("genuine RSA-2048", "{key: rsa2048}", Decision::Approve),
    ("genuine RSA-4096", "{key: rsa4096}", Decision::Approve),
    ("Service IP", "{names: [{ip: 10.96.0.1}]}", Decision::Deny),
    (
        "another node's IP",
        "{names: [{ip: 172.16.0.9}]}",
        Decision::Deny,
    ),
    ("CA:TRUE", "{extensions: [san, {ca: true}]}", Decision::Deny),
    ("500 names", "{names: [{many_dns: 500}]}", Decision::Deny),
    ("500 addresses", "{names: [{many_ip: 500}]}", Decision::Deny),
];

const NODES: [usize; 3] = [1_000, 5_000, 15_000];

#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    recipe: &'static str,
    expected: Decision,
    nodes: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} nodes", self.name, self.nodes)
    }
}

fn shapes() -> Vec<Shape> {
    let all = SHAPES.iter().flat_map(|&(name, recipe, expected)| {
        NODES.map(|nodes| Shape {
            name,
            recipe,
            expected,
            nodes,
        })
    });
    all.collect()
}

#[divan::bench(args = shapes())]
fn read_and_judge(bencher: Bencher<'_, '_>, shape: Shape) {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| default_policy().expect("built in"));
    let mut recipe = Recipe::from_yaml(shape.recipe).expect("a recipe");
    recipe.dns = vec!["node-1".into()];
    recipe.ip = vec![address(1).into()];
    let pem = recipe.pem();
    let evidence = evidence(shape.nodes);
    let run = || {
        let request = Request::read(object(), divan::black_box(pem.as_bytes()));
        judge(&request, &POLICY, evidence, now())
    };
    let judged = run();
    let found = judged.verdict.decision();
    assert_eq!(found, shape.expected, "{shape}: {:?}", judged.codes());
    bencher.bench(run);
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

fn object() -> Object {
    Object {
        name: "csr-x7k2p".into(),
        uid: "2f0f3c9e-6d3a-4a39-9a2c-0f6f0a1b2c3d".into(),
        resource_version: "12345".into(),
        created: now(),
        terminating: false,
        signer: KUBELET_SERVING_SIGNER.into(),
        requestor: Requestor {
            username: "system:node:node-1".into(),
            uid: String::new(),
            groups: vec!["system:nodes".into(), "system:authenticated".into()],
            credential_ids: vec![format!("X509SHA256={}", "3f".repeat(32))],
        },
        usages: vec!["digital signature".into(), "server auth".into()],
        expiration_seconds: None,
        settled: None,
        kept: Kept::default(),
    }
}

/// Made once for each size: 15,000 Nodes take longer than many judgements.
fn evidence(nodes: usize) -> &'static Evidence {
    static MADE: Mutex<BTreeMap<usize, &'static Evidence>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("not poisoned");
    made.entry(nodes)
        .or_insert_with(|| Box::leak(Box::new(make(nodes))))
}

fn make(nodes: usize) -> Evidence {
    let mut evidence = Evidence {
        sources: Sources::all_synced(now()),
        ..Evidence::default()
    };
    for index in 1..=nodes {
        let name = format!("node-{index}");
        let ip = address(index).to_string();
        evidence.nodes.apply(Node {
            name: NodeName::parse(&name).expect("a name"),
            uid: format!("uid-of-{name}"),
            // The one that asks came last.
            created: ago(if index == 1 { 30 } else { 60 }),
            terminating: false,
            lost: false,
            control_plane: false,
            uninitialized: false,
            addresses: [("Hostname", name.as_str()), ("InternalIP", ip.as_str())]
                .into_iter()
                .filter_map(|(kind, text)| NodeAddress::parse(kind, text))
                .collect(),
            addresses_since: ago(30),
            pod_cidrs: vec![
                format!("10.{}.{}.0/24", index / 256 % 64, index % 256)
                    .parse()
                    .expect("a network"),
            ],
            provider_id: None,
        });
    }
    let protected = &mut evidence.protected;
    let service = San::from_host_text("10.96.0.1").expect("an address");
    protected.set_sans(
        "Service default/kubernetes",
        IdentityKind::Service,
        vec![service],
    );
    let networks = vec!["10.96.0.0/12".parse().expect("a network")];
    protected.set_networks("ServiceCIDR kubernetes", IdentityKind::Service, networks);
    evidence
}

/// The address of a Node: 172.16.0.1 and on.
fn address(index: usize) -> IpAddr {
    let index = u32::try_from(index).expect("a few thousand Nodes");
    Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 0).to_bits() + index).into()
}
