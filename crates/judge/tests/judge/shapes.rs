//! Tests of the judge against the forge's catalog of shapes: a hostile shape is denied with a code of
//! its row, and a harmless one is approved.

use std::collections::{BTreeMap, BTreeSet};

use judge::Decision::{self, Approve, Deny, Wait};
use judge::finding::Code;
use serde::Deserialize;
use testkit::cluster::{KeySpec, NodeSpec};
use testkit::policies::BasePolicy;
use testkit::vector::{Outcome, Vector};

/// One entry of `shapes.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    row: u8,
    name: String,
    recipe: testkit::forge::Recipe,
}

/// Rows with harmless shapes.
const GOES_ON: [u8; 6] = [0, 23, 29, 37, 55, 56];

/// Shapes with the code of another row, or with another verdict than the rest of their row.
const OTHERWISE: &[(&str, Decision, Option<Code>)] = &[
    // Text that is not one PEM block has one code.
    ("pem-end-label", Deny, Some(Code::PemNotExact)),
    ("pem-no-content", Deny, Some(Code::PemNotExact)),
    ("pem-padding-stripped", Deny, Some(Code::PemNotExact)),
    ("pem-padding-extra", Deny, Some(Code::PemNotExact)),
    ("pem-padding-dirty", Deny, Some(Code::PemNotExact)),
    ("pem-base64-junk", Deny, Some(Code::PemNotExact)),
    // The verifier refuses a wrong encoding of the signature.
    ("der-signature-r-padded", Deny, Some(Code::SignatureInvalid)),
    (
        "der-signature-null-parameters",
        Deny,
        Some(Code::SignatureAlgorithmRefused),
    ),
    ("key-off-curve", Deny, Some(Code::SignatureInvalid)),
    ("key-rsa-exponent-1", Deny, Some(Code::SignatureInvalid)),
    // Go signs with PSS only on request, and no kubelet requests it.
    ("key-rsa-pss", Deny, Some(Code::SignatureAlgorithmRefused)),
    ("subject-cn-missing", Deny, Some(Code::CommonNameMissing)),
    ("subject-empty", Deny, Some(Code::CommonNameMissing)),
    // The signer encodes the subject and the SAN again, in its own order and not critical.
    ("subject-order", Approve, None),
    ("extension-san-critical", Approve, None),
    (
        "extension-san-critical-false",
        Deny,
        Some(Code::DerNotCanonical),
    ),
    ("request-no-extension", Deny, Some(Code::SanMissing)),
    (
        "san-trailing-after-value",
        Deny,
        Some(Code::DerNotCanonical),
    ),
    ("names-san-not-a-sequence", Deny, Some(Code::SanMalformed)),
    // The strict parser does not support this kind of name, so it has no list of names.
    ("name-x400", Deny, Some(Code::SanMalformed)),
    ("name-tag-unknown", Deny, Some(Code::SanMalformed)),
    ("name-dns-constructed", Deny, Some(Code::SanMalformed)),
    ("name-dns-segmented", Deny, Some(Code::SanMalformed)),
    ("dns-utf8", Deny, Some(Code::SanMalformed)),
    // Well-formed, but not this Node's.
    ("dns-punycode", Wait, Some(Code::SanNotOfNode)),
    ("dns-look-alike", Wait, Some(Code::SanNotOfNode)),
    ("names-dns-only", Wait, Some(Code::SanWithoutIp)),
    ("names-ip-first", Approve, None),
];

fn shapes() -> Vec<Shape> {
    serde_saphyr::from_str(include_str!("../../../testkit/src/forge/shapes.yaml")).unwrap()
}

/// The shape as a request of its node, in a cluster with `node-1` and an older `node-2`.
fn outcome(shape: &Shape) -> Outcome {
    let address = |kind: &str, value: &str| BTreeMap::from([(kind.into(), value.into())]);
    let node = |name: &str, ips: &[&str], hours| NodeSpec {
        name: name.into(),
        addresses: std::iter::once(address("Hostname", name))
            .chain(ips.iter().map(|ip| address("InternalIP", ip)))
            .collect(),
        age: jiff::SignedDuration::from_hours(hours),
        ..NodeSpec::default()
    };
    let asking = match shape.recipe.node.as_str() {
        "node-2" => "node-1",
        other => other,
    };
    let mut vector = Vector::genuine();
    vector.requestor.username = format!("system:node:{}", shape.recipe.node);
    vector.request = shape.recipe.clone();
    vector.nodes = vec![node(asking, &["10.0.0.1", "fd00::1"], 1)];
    vector.others = vec![node("node-2", &["10.0.0.2"], 2)];
    vector.keys = vec![KeySpec {
        node: "node-1".into(),
        seed: "node-1".into(),
    }];
    vector.outcome(BasePolicy::Default)
}

#[test]
fn every_shape_has_the_verdict_of_its_row() {
    let mut wrong = Vec::new();
    for shape in shapes() {
        let found = outcome(&shape);
        let code = |code: &Option<Code>| match code {
            Some(code) => found.codes.contains(code),
            None => found.codes.is_empty(),
        };
        let right = match OTHERWISE.iter().find(|(name, ..)| *name == shape.name) {
            Some((_, decision, expected)) => found.verdict == *decision && code(expected),
            None if GOES_ON.contains(&shape.row) => found.verdict == Approve,
            None => found.verdict == Deny && found.codes.iter().any(|c| c.row() == shape.row),
        };
        if !right {
            wrong.push(format!("{} {}: {found}", shape.row, shape.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_exception_is_needed() {
    let names: BTreeSet<String> = shapes().into_iter().map(|shape| shape.name).collect();
    for (name, _, code) in OTHERWISE {
        assert!(names.contains(*name), "there is no shape `{name}`");
        let row = shapes().into_iter().find(|s| s.name == *name).unwrap().row;
        assert!(
            code.is_none_or(|code| code.row() != row) || row == 36,
            "{name}"
        );
    }
}
