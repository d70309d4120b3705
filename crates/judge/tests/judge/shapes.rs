//! The forge's catalogue of shapes, held against the judge: what is hostile is denied with a code of
//! its row, and what its row lets go on is approved.

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

/// Rows whose shapes go on.
const GOES_ON: [u8; 6] = [0, 23, 29, 37, 55, 56];

/// Shapes that are judged by the code of another row, or otherwise than the rest of their row.
const OTHERWISE: &[(&str, Decision, Option<Code>)] = &[
    // What cannot be read as one PEM block is not distinguished any further.
    ("pem-end-label", Deny, Some(Code::PemNotExact)),
    ("pem-no-content", Deny, Some(Code::PemNotExact)),
    ("pem-padding-stripped", Deny, Some(Code::PemNotExact)),
    ("pem-padding-extra", Deny, Some(Code::PemNotExact)),
    ("pem-padding-dirty", Deny, Some(Code::PemNotExact)),
    ("pem-base64-junk", Deny, Some(Code::PemNotExact)),
    // The signature's own encoding is the verifier's to refuse.
    ("der-signature-r-padded", Deny, Some(Code::SignatureInvalid)),
    (
        "der-signature-null-parameters",
        Deny,
        Some(Code::SignatureAlgorithmRefused),
    ),
    ("key-off-curve", Deny, Some(Code::SignatureInvalid)),
    ("key-rsa-exponent-1", Deny, Some(Code::SignatureInvalid)),
    // Go signs a request with PSS only when told to, and no kubelet tells it.
    ("key-rsa-pss", Deny, Some(Code::SignatureAlgorithmRefused)),
    ("subject-cn-missing", Deny, Some(Code::CommonNameMissing)),
    ("subject-empty", Deny, Some(Code::CommonNameMissing)),
    // The signer writes the subject and the SAN anew, in its own order and not critical.
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
    // The strict reader knows no such name, so there is no list of names to speak of.
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
fn every_shape_is_judged_as_its_row_says() {
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
fn exceptions_are_shapes_that_need_one() {
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
