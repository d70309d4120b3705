//! Benchmark of one judgment: a request is decoded and judged, for several numbers of Nodes.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{LazyLock, Mutex};

use divan::Bencher;
use jiff::Timestamp;
use judge::csr::Request;
use judge::evidence::Evidence;
use judge::policy::{Policy, default_policy};
use judge::{Decision, judge};
use lab::{fleet, judge_fixtures};
use testkit::forge::Recipe;

fn main() {
    divan::main();
}

/// The requests: the name, the recipe of the forge, and the expected decision.
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
        "{names: [{ip: 10.128.0.9}]}",
        Decision::Wait,
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
    recipe.ip = vec![fleet::address(1).into()];
    let pem = recipe.pem();
    let evidence = evidence(shape.nodes);
    let object = judge_fixtures::object("node-1", &["digital signature", "server auth"], now());
    let run = || {
        let request = Request::read(object.clone(), divan::black_box(pem.as_bytes()));
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

/// Creates the evidence once for each size: 15,000 Nodes take longer than many judgments.
fn evidence(nodes: usize) -> &'static Evidence {
    static MADE: Mutex<BTreeMap<usize, &'static Evidence>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("not poisoned");
    made.entry(nodes).or_insert_with(|| {
        Box::leak(Box::new(
            judge_fixtures::evidence(nodes, now()).expect("evidence"),
        ))
    })
}
