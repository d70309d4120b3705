//! The benchmark of the judge: the time to decode and judge one request.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::report::{JudgeBenchmark, Judged};
use crate::cluster::clock::Clock;
use judge::csr::Request;
use judge::evidence::Evidence;
use judge::policy::{Policy, default_policy};
use judge::{Decision, judge};
use lab::latency::Latencies;
use lab::request::{Extra, Template};
use lab::{fleet, judge_fixtures};

/// The duration of each measurement.
const SPAN: Duration = Duration::from_millis(300);
/// The number of names in a request with very many names.
const MANY: u32 = 500;

/// A request and its expected decision.
struct Shape {
    name: &'static str,
    key: &'static rcgen::SignatureAlgorithm,
    ips: Vec<IpAddr>,
    extra: Option<Extra>,
    expected: Decision,
}

/// Measures each shape with each number of Nodes.
pub(super) fn measure(nodes: &[usize]) -> Result<JudgeBenchmark> {
    let now = Clock::of_machine().wall();
    let policy = default_policy()?;
    let mut all = Vec::new();
    for &nodes in nodes {
        let evidence = judge_fixtures::evidence(nodes, now)?;
        for shape in shapes() {
            all.push(judged(&shape, nodes, &evidence, &policy, now)?);
        }
    }
    Ok(JudgeBenchmark { judged: all })
}

fn shapes() -> Vec<Shape> {
    let own = fleet::address(1);
    let shape = |name, ips: &[IpAddr], expected| Shape {
        name,
        key: &PKCS_ECDSA_P256_SHA256,
        ips: ips.to_vec(),
        extra: None,
        expected,
    };
    let service = Ipv4Addr::new(10, 96, 0, 1).into();
    let first = Ipv4Addr::new(172, 16, 0, 0).to_bits();
    let many: Vec<IpAddr> = (0..MANY)
        .map(|index| Ipv4Addr::from_bits(first + index).into())
        .collect();
    vec![
        shape("genuine, P-256", &[own], Decision::Approve),
        Shape {
            key: &PKCS_ECDSA_P384_SHA384,
            ..shape("genuine, P-384", &[own], Decision::Approve)
        },
        Shape {
            key: &PKCS_ED25519,
            ..shape("genuine, Ed25519", &[own], Decision::Approve)
        },
        shape("Service address", &[own, service], Decision::Deny),
        Shape {
            extra: Some(Extra::Authority),
            ..shape("CA:TRUE", &[own], Decision::Deny)
        },
        shape("500 addresses", &many, Decision::Deny),
    ]
}

fn judged(
    shape: &Shape,
    nodes: usize,
    evidence: &Evidence,
    policy: &Policy,
    now: Timestamp,
) -> Result<Judged> {
    let name = fleet::name(1);
    let template = Template {
        node: name.clone(),
        dns: vec![name.clone()],
        ips: shape.ips.clone(),
        extra: shape.extra.clone(),
    };
    let pem = template.pem(&KeyPair::generate_for(shape.key)?)?;
    let object = judge_fixtures::object(&name, &["digital signature", "server auth"], now);
    let run = || {
        let request = Request::read(object.clone(), black_box(pem.as_bytes()));
        judge(&request, policy, evidence, now)
    };
    let found = run().verdict.decision();
    ensure!(
        found == shape.expected,
        "{}: expected {}, found {found}",
        shape.name,
        shape.expected
    );
    let begun = Instant::now();
    let mut took = Vec::new();
    while begun.elapsed() < SPAN {
        let one = Instant::now();
        black_box(run());
        took.push(one.elapsed());
    }
    let count = took.len();
    let seconds = begun.elapsed().as_secs_f64();
    let took: Latencies = took.into_iter().collect();
    Ok(Judged {
        request: shape.name,
        verdict: shape.expected.as_str(),
        nodes,
        median: took.percentile(50).into(),
        p99: took.percentile(99).into(),
        per_second: f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds,
    })
}
