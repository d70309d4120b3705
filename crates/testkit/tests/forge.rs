//! Tests of the forge: each recipe must produce the request that it describes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use der::{Decode, Encode};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;
use testkit::forge::{Recipe, fault::Fault, fixture::Fixture};
use x509_parser::prelude::{FromDer, X509CertificationRequest};

/// One entry of `shapes.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    row: u8,
    name: String,
    recipe: Recipe,
}

fn shapes() -> Vec<Shape> {
    serde_saphyr::from_str(include_str!("../src/forge/shapes.yaml")).unwrap()
}

fn genuine() -> Recipe {
    Recipe::genuine("node-1", &["node-1"], &["10.0.0.1".parse().unwrap()])
}

/// Verifies the signature of a P-256 request with ring, over the octets that x509-parser parsed.
fn verifies(request: &X509CertificationRequest<'_>) -> bool {
    let info = &request.certification_request_info;
    UnparsedPublicKey::new(
        &ECDSA_P256_SHA256_ASN1,
        &info.subject_pki.subject_public_key.data,
    )
    .verify(info.raw, &request.signature_value.data)
    .is_ok()
}

/// The result of `openssl req -verify`; `None` without openssl.
fn openssl_verifies(pem: &str) -> Option<bool> {
    let child = Command::new("openssl")
        .args(["req", "-verify", "-noout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("no openssl here: its opinion is not asked");
        return None;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(pem.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    // Some releases exit with 0 after a failed verification, so the output decides.
    let words = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&words).contains("verify OK"))
}

#[test]
fn genuine_request_is_der_for_both_parsers() {
    let der = genuine().der();
    let (rest, request) = X509CertificationRequest::from_der(&der).unwrap();
    assert!(rest.is_empty() && verifies(&request));
    let request = x509_cert::request::CertReq::from_der(&der).unwrap();
    assert_eq!(request.to_der().unwrap(), der);
    assert_eq!(
        request.info.subject.to_string(),
        "CN=system:node:node-1,O=system:nodes"
    );
}

#[test]
fn yaml_and_rust_build_the_same_request() {
    let yaml = Recipe::from_yaml("{node: node-1, dns: [node-1], ip: [10.0.0.1]}").unwrap();
    assert_eq!(yaml, genuine());
    assert_eq!(yaml.pem(), genuine().pem(), "a request is repeatable");
}

#[test]
fn unknown_field_is_rejected() {
    assert!(Recipe::from_yaml("{node: node-1, sans: [node-1]}").is_err());
}

#[test]
fn openssl_verifies_every_key_and_algorithm() {
    let pairs = [
        ("p256", "ecdsa-sha1"),
        ("p256", "ecdsa-sha256"),
        ("p256", "ecdsa-sha384"),
        ("p256", "ecdsa-sha512"),
        ("p384", "ecdsa-sha256"),
        ("p384", "ecdsa-sha384"),
        ("p521", "ecdsa-sha512"),
        ("ed25519", "ed25519"),
        ("rsa1024", "rsa-sha1"),
        ("rsa1024", "rsa-sha256"),
        ("rsa2048", "rsa-sha1"),
        ("rsa2048", "rsa-sha256"),
        ("rsa2048", "rsa-sha384"),
        ("rsa2048", "rsa-pss-sha256"),
        ("rsa2048", "rsa-pss-sha384"),
        ("rsa2048", "rsa-pss-sha512"),
        ("rsa3072", "rsa-sha256"),
        ("rsa4096", "rsa-sha512"),
    ];
    for (key, algorithm) in pairs {
        let yaml = format!("{{dns: [node-1], key: {key}, signature: {{algorithm: {algorithm}}}}}");
        let pem = Recipe::from_yaml(&yaml).unwrap().pem();
        assert_ne!(openssl_verifies(&pem), Some(false), "{yaml}");
    }
}

#[test]
fn keys_of_different_seeds_differ() {
    for key in ["p256", "p384", "p521", "ed25519"] {
        let of = |node: &str| {
            let yaml = format!("{{key: {key}, key_seed: {node}}}");
            Recipe::from_yaml(&yaml)
                .unwrap()
                .signing_key()
                .spki(false)
                .tlv()
        };
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }
}

#[test]
fn fixtures_are_requests() {
    for fixture in Fixture::ALL {
        let recipe = Recipe {
            fixture: Some(*fixture),
            ..Recipe::default()
        };
        assert_eq!(
            recipe.pem(),
            fixture.pem(),
            "PEM is written as openssl writes it"
        );
        assert_ne!(openssl_verifies(fixture.pem()), Some(false), "{fixture:?}");
    }
}

#[test]
fn shapes_differ_from_each_other() {
    let mut seen = BTreeSet::new();
    let mut names = BTreeSet::new();
    for shape in shapes() {
        assert!(
            names.insert(shape.name.clone()),
            "two shapes are called `{}`",
            shape.name
        );
        assert!(
            seen.insert(shape.recipe.pem()),
            "`{}` is the same text as another",
            shape.name
        );
    }
}

#[test]
fn shapes_cover_every_row() {
    let rows: BTreeSet<u8> = shapes().iter().map(|s| s.row).collect();
    // Rows 38 to 47 are about the cluster, not about the request; 45 has a shape for its addresses.
    let expected = (18..=37).chain(48..=56);
    assert_eq!(
        expected
            .filter(|row| !rows.contains(row))
            .collect::<Vec<_>>(),
        Vec::<u8>::new()
    );
}

/// A shape that a lenient parser accepts must have a valid signature, unless the signature is its fault.
/// Otherwise it would be refused for the signature, and its own rule would not be tested.
#[test]
fn hostile_shapes_have_valid_signatures() {
    // Faults of the key or of the signature, for which no valid signature exists.
    let untrue = [
        "signature-",
        "der-signature-",
        "ber-segmented-signature",
        "key-",
        "der-long-length-canonical",
    ];
    let mut checked = 0;
    for shape in shapes()
        .iter()
        .filter(|s| !untrue.iter().any(|u| s.name.starts_with(u)))
    {
        let der = shape.recipe.der();
        let Ok((_, request)) = X509CertificationRequest::from_der(&der) else {
            continue;
        };
        assert!(verifies(&request), "{}", shape.name);
        checked += 1;
    }
    assert!(checked > 90, "only {checked} shapes were readable");
}

#[test]
fn broken_signatures_do_not_verify() {
    for shape in shapes().iter().filter(|s| s.row == 21) {
        let made_true = [
            "signature-ecdsa-sha1",
            "signature-rsa-sha1",
            "signature-rsa-md5",
        ]
        .contains(&shape.name.as_str());
        let verdict = openssl_verifies(&shape.recipe.pem());
        assert!(verdict.is_none_or(|ok| ok == made_true), "{}", shape.name);
    }
}

#[test]
fn faults_encode_as_described() {
    let hex = |fault: Fault| {
        let recipe = genuine().fault(fault);
        recipe
            .der()
            .iter()
            .map(|o| format!("{o:02x}"))
            .collect::<String>()
    };
    let at = Fault::at;
    let plain = genuine()
        .der()
        .iter()
        .map(|o| format!("{o:02x}"))
        .collect::<String>();
    let yaml = |text: &str| hex(serde_saphyr::from_str(text).unwrap());

    // The version is `02 01 00`, at the start of the info.
    assert!(yaml("{at: version, prepend: {hex: '00'}}").contains("02020000"));
    assert!(yaml("{at: version, length: {long: 0}}").contains("02810100"));
    assert!(
        yaml("{at: version, length: {long: 2}}")
            .contains("0283000001 00".replace(' ', "").as_str())
    );
    assert!(yaml("{at: version, tag: 0x04}").contains("040100"));
    assert!(yaml("{at: version, tag: [0x1f, 0x02]}").contains("1f020100"));
    assert!(yaml("{at: version, constructed: bit}").contains("220100"));
    assert!(yaml("{at: version, after: {hex: '0500'}}").contains("0201000500"));
    // dNSName `82 06 node-1` in segments.
    assert!(yaml("{at: names.0, constructed: segments}").contains("a20a04036e6f640403652d31"));
    // The outer element.
    assert!(yaml("{at: request, length: indefinite}").starts_with("3080"));
    assert!(yaml("{at: request, length: indefinite}").ends_with("0000"));
    assert_eq!(
        yaml("{at: request, after: {hex: '0500'}}"),
        plain.clone() + "0500"
    );
    assert!(yaml("{at: request, length: {claim: 5}}").starts_with("3005"));
    // A fault after the signed part leaves the signature alone.
    let unused = hex(Fault {
        tag: Some(testkit::forge::fault::Tag::One(0x04)),
        ..at("signature")
    });
    assert_eq!(unused.len(), plain.len());
}

#[test]
#[should_panic(expected = "no element `sann`")]
fn mistyped_path_is_reported() {
    genuine().fault(Fault::at("sann")).der();
}

#[test]
#[should_panic(expected = "changes nothing")]
fn idle_fault_is_reported() {
    genuine().fault(Fault::at("san")).der();
}

#[test]
fn base64_is_standard() {
    for (octets, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
    ] {
        assert_eq!(testkit::forge::pem::base64(octets.as_bytes()), text);
    }
}

#[test]
fn readme_examples_are_recipes() {
    let rows = include_str!("../src/forge/README.md")
        .lines()
        .filter(|l| l.starts_with("| `"));
    let mut read = 0;
    for row in rows {
        // Field, default, example; an example is the first span in backticks that names the field.
        let field = row.split('`').nth(1).unwrap();
        let Some(example) = row
            .split('`')
            .find(|span| span.starts_with(&format!("{field}:")))
        else {
            assert_eq!(field, "key", "{row}");
            continue;
        };
        let recipe = Recipe::from_yaml(example).unwrap_or_else(|e| panic!("{example}: {e}"));
        assert!(!recipe.pem().contains('\0'));
        read += 1;
    }
    assert_eq!(read, 18);
}
